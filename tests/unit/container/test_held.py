"""What is held is one process: nothing reaches another one that got its PID."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from postroj.container.held import Held

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a PID namespace")

STRANGER = """
import os, subprocess
from pathlib import Path

from postroj import process
from postroj.container.enter.nsenter import enter_argv
from postroj.container.guest import Command
from tests.support import here

def show(call):
    try:
        print("reached:", call())
    except ProcessLookupError:
        print("refused")

with subprocess.Popen(["sleep", "60"]) as child:
    held = here.of(child.pid)
    held.kill()
Path("/proc/sys/kernel/ns_last_pid").write_text(str(held.pid - 1))
with subprocess.Popen(["sleep", "60"]) as stranger:
    assert stranger.pid == held.pid, "the PID was not given again"
    argv = enter_argv(Command(argv=("echo", "entered")), held, "/proc/version")
    show(lambda: held.read("comm"))
    show(lambda: held.open("root", os.O_PATH))
    show(lambda: process.run(argv, folder=held.folder).text)
    show(lambda: list(held.path(Path("/")).iterdir()))
    held.kill()
    print(stranger.poll())
    stranger.kill()
"""
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@as_root
@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="no PID can be given again here")
def test_a_process_with_the_same_pid_is_neither_read_nor_entered_nor_killed() -> None:
    """As after the end of a guest: its PID is a program's of the host."""
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable]
    done = subprocess.run(
        [*argv, "-c", STRANGER], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.splitlines() == [*["refused"] * 4, "None"], done.stderr


ROOT = Path(__file__).parents[3]


def test_a_child_that_was_not_reaped_has_ended_and_is_not_read() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        held = Held(child.pid)
        assert held.has_ended()
        with pytest.raises(ProcessLookupError):
            held.read("status")
    with pytest.raises(ProcessLookupError):
        Held(child.pid)


def test_numbers_and_children_of_a_process() -> None:
    held = Held(os.getpid())
    assert held.numbers[0] == os.getpid()
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in held.children
        child.kill()


def test_descriptors_are_closed_with_the_last_reference() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    held = Held(os.getpid())
    assert len(os.listdir("/proc/self/fd")) == before + 2  # noqa: PTH208
    del held
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
