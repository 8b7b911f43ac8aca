"""Terminals: whether postroj has one, and how it opens a pty in a guest that may be hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from postroj.container.enter import terminal
from tests.support import here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mknod take root")
STAND_IN = "import os, sys; os.chroot(sys.argv[1]); print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("stdin", "stdout", "both"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_is_interactive_needs_a_terminal_on_stdin_and_stdout(
    monkeypatch: pytest.MonkeyPatch, stdin: bool, stdout: bool, both: bool
) -> None:
    monkeypatch.setattr("os.isatty", {0: stdin, 1: stdout}.__getitem__)
    assert terminal.is_interactive() is both


@contextmanager
def rooted(tree: Path) -> Iterator[int]:
    """Start a process with `tree` as its root directory, as the leader of a guest."""
    argv = [sys.executable, "-c", STAND_IN, str(tree)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        yield process.pid


def refusal(tree: Path) -> str:
    with rooted(tree) as pid:
        leader = here.of(pid)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(OSError) as caught:  # noqa: PT011
            terminal.open_pty(leader)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    return str(caught.value)


@as_root
class TestTheWalk:
    @pytest.mark.parametrize("link", ["dev", "dev/pts", "dev/pts/ptmx"])
    def test_follows_no_link_out_of_the_guest(self, tmp_path: Path, link: str) -> None:
        path = tmp_path / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(f"/{link}")
        assert refusal(tmp_path)

    def test_refuses_what_is_not_a_pty(self, tmp_path: Path) -> None:
        (tmp_path / "dev/pts").mkdir(parents=True)
        assert "No such file" in refusal(tmp_path)
        ptmx = tmp_path / "dev/pts/ptmx"
        ptmx.write_text("")
        assert refusal(tmp_path) == "the guest's /dev/pts/ptmx is not a pty"
        ptmx.unlink()
        os.mkfifo(ptmx)
        assert refusal(tmp_path) == "the guest's /dev/pts/ptmx is not a pty"
        ptmx.unlink()
        try:
            os.mknod(ptmx, 0o20666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no device may be made here")
        assert refusal(tmp_path) == "the guest's /dev/pts/ptmx is not a pty"


@as_root
def test_open_pty_in_our_own_devpts() -> None:
    """The devpts of this process stands in for that of a guest."""
    master, slave = terminal.open_pty(here.of())
    try:
        assert os.isatty(slave)
        os.write(slave, b"hello")
        assert os.read(master, 100) == b"hello"
    finally:
        os.close(master)
        os.close(slave)


def test_open_pty_of_an_ended_leader_fails() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        leader = here.of(child.pid)
        child.kill()
        child.wait()
        with pytest.raises(OSError, match="/proc/"):
            terminal.open_pty(leader)
