"""Terminals: whether postroj has one, how it opens a guest's pty, and what it carries between."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from postroj.container.enter import terminal
from tests.support import here
from tests.support.terminal import converse

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
        with pytest.raises(ProcessLookupError):
            terminal.open_pty(leader)


CONNECT = """
import os, sys
from postroj import process
from postroj.container.enter import terminal

master, slave = os.openpty()
argv = ["setsid", "--ctty", "--wait", "sh", "-c", sys.argv[1]]
with process.spawn(argv, stdio=(slave, slave, slave), env=process.environment()) as child:
    os.close(slave)
    sys.exit(terminal.converse(child, master))
"""


ENDLESS = """
import os, sys
from contextlib import nullcontext
from postroj import process
from postroj.container.enter import terminal

terminal._resizing = lambda master: nullcontext()
with process.spawn(["sleep", "0.1"], stdio=process.STDIO, env=process.environment()) as child:
    sys.exit(terminal.converse(child, os.open("/dev/zero", os.O_RDWR)))
"""


def on_a_pty(script: str, *keys: tuple[bytes, bytes]) -> tuple[bytes, int]:
    """Run a script on a pty that is connected to a terminal on which `keys` are typed."""
    return converse([sys.executable, "-c", CONNECT, script], keys)


def test_converse_passes_ctrl_c_to_a_program_that_prints_without_end() -> None:
    _, status = on_a_pty("trap 'exit 7' INT; yes", (b"y\r\n" * 20_000, b"\x03"))
    assert status == 7


def test_converse_notices_the_end_of_a_command_while_others_print_without_end() -> None:
    _, status = converse([sys.executable, "-c", ENDLESS], [])
    assert status == 0


def test_converse_shows_the_output_of_a_program_that_reads_none_of_many_keys() -> None:
    """In raw mode the kernel discards no keys, so that a pty is full with them."""
    script = "stty raw -echo; printf ready; sleep 1; seq 20000; printf 'the end'; exit 5"
    screen, status = on_a_pty(script, (b"ready", b"x" * 200_000))
    assert (status, screen[-7:], screen.count(b"\n")) == (5, b"the end", 20000)


def test_converse_shows_all_that_a_program_has_printed_before_its_end() -> None:
    screen, status = on_a_pty("stty -opost; seq 3000; exit 6")
    assert (status, screen.splitlines()[-1], screen.count(b"\n")) == (6, b"3000", 3000)


def test_converse_goes_on_when_nothing_more_can_be_typed() -> None:
    argv = [sys.executable, "-c", CONNECT, "sleep 0.2; echo done; exit 4"]
    script = f"exec 3<&0; {shlex.join(argv)}"
    screen, status = converse(["sh", "-c", script], [])
    assert (status, b"done" in screen) == (4, True)
