"""Any process as a leader: nothing is read from it once it has ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from postroj.container.leader import Leader, bounding_set
from tests.support import here


@pytest.mark.parametrize(
    ("status", "numbers"),
    [
        ("Name:\tsystemd\nCapInh:\t0000000000000000\nCapBnd:\t0000000000000005\n", [0, 2]),
        ("CapBnd:\t000001ffffffffff\n", list(range(41))),
        ("CapBnd:\t0000000000000000\n", []),
        ("Name:\tCapBnd\n", []),
        ("", []),
    ],
)
def test_bounding_set(status: str, numbers: list[int]) -> None:
    assert bounding_set(status) == numbers


def test_bounding_set_of_this_process() -> None:
    assert all(0 <= n < 64 for n in bounding_set(Path("/proc/self/status").read_text()))


def test_leader_of_this_process() -> None:
    leader = here.of()
    assert leader.comm == Path("/proc/self/comm").read_text().rstrip()
    assert leader.bounding_set == tuple(bounding_set(Path("/proc/self/status").read_text()))
    assert not (leader.has_own_users or leader.has_ended() or leader.is_doomed)


def test_a_leader_that_has_ended_is_not_read() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        leader = here.of(child.pid)
        leader.kill()
        assert leader.has_ended(5)
        # its number is still there, and could be a stranger's soon
        with pytest.raises(ProcessLookupError):
            leader.read("cgroup")
        with pytest.raises(ProcessLookupError):
            leader.open("cgroup", os.O_RDONLY)
        assert leader.comm == ""
        assert leader.is_doomed
    with pytest.raises(ProcessLookupError):
        here.of(child.pid)


def test_a_process_that_is_not_pid_1_of_the_guest_is_no_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither PID 1 of another container, nor a command in the guest's control group."""
    monkeypatch.setattr(Leader, "numbers", [os.getpid(), 1])
    with pytest.raises(ProcessLookupError):
        Leader(os.getpid(), here.NAME)
    monkeypatch.setattr(here.StandIn, "numbers", [os.getpid()])
    with pytest.raises(ProcessLookupError):
        here.of()
