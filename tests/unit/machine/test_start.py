"""What is set up on the host for a machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj import user
from postroj.machine import qemu, start

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("uid", "owner"), [(0, start.NOBODY), (1000, 4711)])
def test_network_folder_belongs_to_whom_passt_runs_as(
    uid: int, owner: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "UID", uid)
    owners = {"net": 4711}
    monkeypatch.setattr(os, "chown", lambda path, one, two: owners.update({path.name: one}))
    start.make_network_folder(tmp_path)
    assert (tmp_path / qemu.NET).parent.is_dir()
    assert owners == {"net": owner}
