"""The layer that a guest is given before it begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj.container.boot import seed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("emulated", [False, True])
def test_write_seed(tmp_path: Path, emulated: bool) -> None:
    umask = os.umask(0o077)
    try:
        seed.write_seed(tmp_path, "postroj-1", "nameserver 192.0.2.1\n", emulated=emulated)
    finally:
        os.umask(umask)
    root = tmp_path / "seed"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    settings = {f"etc/systemd/system/{unit}.d/qemu-user.conf" for unit in seed.EMULATED}
    own = {f"etc/{name}" for name in ("hostname", "hosts", "machine-id", "resolv.conf")}
    assert files == (own | settings if emulated else own)
    assert (root / "etc/hostname").read_text() == "postroj-1\n"
    assert "127.0.1.1 postroj-1.postroj.test postroj-1\n" in (root / "etc/hosts").read_text()
    assert all(oct(path.stat().st_mode)[-3:] in ("644", "755") for path in root.rglob("*"))
    if emulated:
        hostnamed = root / "etc/systemd/system/systemd-hostnamed.service.d/qemu-user.conf"
        assert hostnamed.read_text() == "[Service]\nPrivateNetwork=no\n"
