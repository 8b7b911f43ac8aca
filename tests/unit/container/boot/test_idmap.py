"""Users of a guest: numbers that nobody else on the host has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from postroj.container.boot import idmap


@pytest.mark.parametrize("digits", ["00000000", "ffffffff", "0a1b2c3d"])
def test_users_of_a_guest_are_those_of_no_other_program(digits: str) -> None:
    base = idmap.base(f"postroj-{digits}")
    assert base >= 0x00080000
    assert base + idmap.IDS - 1 <= 0x6FFFFFFF
    assert base % idmap.IDS == 0


def test_guests_have_different_users() -> None:
    assert len({idmap.base(f"postroj-{number:08x}") for number in range(1000)}) == 1000


def test_it_runs_alone_and_tells_what_it_cannot() -> None:
    """Without site-packages, as the launch script starts it."""
    argv = [sys.executable, "-IS", idmap.__file__, str(idmap.FIRST), "/no/such/mount"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OSError" in done.stderr
