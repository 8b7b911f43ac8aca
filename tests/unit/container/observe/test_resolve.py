"""Paths of another process: none of its links leads to a file of the host."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.held import Held
from postroj.container.observe import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Held]:
    """Start a process with links in its working directory, which stands in for a root."""
    home = tmp_path / "home"
    (home / "etc").mkdir(parents=True)
    (home / "etc" / "mine").write_text("theirs")
    (tmp_path / "secret").write_text("ours")
    for name, target in {
        "absolute": "/etc/passwd",
        "upward": "../../../../../../etc/passwd",
        "beside": "../secret",
        "magic": "/proc/self/root/etc/passwd",
        "within": "/etc/mine",
    }.items():
        (home / name).symlink_to(target)
    child = subprocess.Popen(["sleep", "60"], cwd=home)
    yield Held(child.pid)
    child.kill()
    child.wait()


@contextmanager
def opened(process: Held, path: str) -> Iterator[str]:
    descriptor = resolve.open_path(process, path)
    try:
        yield str(Path(f"/proc/self/fd/{descriptor}").readlink())
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["absolute", "upward", "beside", "magic", "nowhere"])
def test_links_do_not_lead_out_of_the_process(process: Held, path: str) -> None:
    with pytest.raises(OSError, match=path):
        resolve.open_path(process, path)


def test_links_are_followed_within_the_process(process: Held, tmp_path: Path) -> None:
    with opened(process, "within") as found:
        assert found == str(tmp_path / "home" / "etc" / "mine")


def test_an_absolute_path_begins_at_the_root(process: Held, tmp_path: Path) -> None:
    with opened(process, str(tmp_path / "secret")) as found:
        assert found == str(tmp_path / "secret")


def test_open_path_of_an_ended_process_fails(process: Held) -> None:
    process.kill()
    assert process.has_ended(5)
    with pytest.raises(ProcessLookupError):
        resolve.open_path(process, "/etc")
