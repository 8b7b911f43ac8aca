"""After the whole suite: nothing of postroj is on this host. `make test` runs it last, alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import eventually, host_state, postroj


@pytest.fixture(scope="module", autouse=True)
def _next_command() -> None:
    """What a SIGKILL in some test has left is removed by the next command."""
    assert postroj("run", "--no-boot", "--", "true").returncode == 0


def test_no_process_mount_loop_device_namespace_or_control_group_is_left() -> None:
    eventually(lambda: not host_state(), seconds=5)
    assert host_state() == set()


def test_no_run_directory_and_nothing_half_made_is_left() -> None:
    locks = {".lock", ".naming"}
    assert {path.name for path in Path("/run/postroj").iterdir()} <= locks
    cache = Path(os.environ.get("POSTROJ_CACHE_DIR", "/var/cache/postroj"))
    for folder in ("partial", "downloads"):
        assert [path.name for path in (cache / folder).glob("*")] in ([], [".lock"])
