"""Who is a guest's leader is what the kernel says, and what is not provably so is left alone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from postroj.container import roster
from postroj.container.cgroup import hierarchies, processes
from postroj.container.held import Held
from postroj.container.rundir import Facts, write_facts
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "postroj-0a1b2c3d"


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run directory whose lock somebody holds."""
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path))
    path = tmp_path / NAME
    path.mkdir()
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield path
    os.close(descriptor)


@dataclass
class Known:
    """A process with its numbers in each namespace."""

    numbers: list[int]

    @property
    def pid(self) -> int:
        return self.numbers[0]


class Kernel:
    """Processes of the guest: their groups and their numbers in each namespace."""

    def __init__(self, processes: dict[int, tuple[str, list[int]]]) -> None:
        self.processes = processes

    def population(self, name: str) -> dict[int, str]:
        return {pid: group for pid, (group, _) in self.processes.items()}

    def hold(self, pid: int, name: str) -> Known:
        if pid not in self.processes:
            raise ProcessLookupError
        return Known(self.processes[pid][1])


BOOTED = {
    900: ("", [900]),
    901: ("", [901, 1]),
    902: ("", [902, 7]),
    903: ("/supervisor", [903, 8]),
    904: ("", [904, 9, 1]),  # pasta, which has a namespace of its own
    905: ("/payload/init.scope", [905, 12, 1]),
    906: ("/payload/system.slice/x.service", [906, 20, 30]),
    907: ("/payload/system.slice/x.service", [907, 21, 31, 1]),  # a container in the guest
    908: ("/payload/system.slice/x.service", [908]),  # a command that is about to enter
}


def kernel(monkeypatch: pytest.MonkeyPatch, there: dict[int, tuple[str, list[int]]]) -> None:
    said = Kernel(there)
    monkeypatch.setattr(processes, "population", said.population)
    monkeypatch.setattr(processes, "hold", said.hold)


def leader_and_script() -> tuple[int, int]:
    leader, script = roster.leader(NAME), roster.script(NAME)
    return leader.pid if leader else 0, script.pid if script else 0


@pytest.mark.parametrize("order", [1, -1])
def test_leader_and_script_of_a_booted_guest(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    kernel(monkeypatch, dict(sorted(BOOTED.items(), key=lambda item: order * item[0])))
    assert leader_and_script() == (905, 901)


def test_leader_and_script_of_a_guest_that_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, {pid: BOOTED[pid] for pid in (901, 902, 903, 904)})
    assert leader_and_script() == (0, 901)


def test_leader_and_script_of_a_guest_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, {})
    assert leader_and_script() == (0, 0)


def test_leader_beside_a_process_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, BOOTED)
    monkeypatch.setattr(
        processes, "population", lambda name: {1 << 30: "/payload", 905: "/payload"}
    )
    assert leader_and_script() == (905, 0)


def test_names_are_those_of_locked_run_directories(held: Path) -> None:
    for other in ("postroj-00000000", "export-0a1b2c3d"):
        (held.parent / other).mkdir()
    (held.parent / "postroj-00000000" / "lock").touch()
    assert roster.names() == [NAME]
    assert roster.names() == [NAME]


def test_listing(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, {})
    (without,) = roster.listing()
    assert (without.name, without.image, without.began, without.leader) == (NAME, "", 0, 0)
    write_facts(held, Facts(image="debian-sid", purpose="shell", kept=True, began=5.0))
    (told,) = roster.listing()
    assert (told.image, told.purpose, told.kept, told.began) == ("debian-sid", "shell", True, 5.0)


def test_require_refuses_names_without_a_guest(held: Path) -> None:
    roster.require([NAME])
    with pytest.raises(UsageError, match="no guest is named 'a', 'b'"):
        roster.require(["a", NAME, "b"])


def test_a_pid_that_was_given_to_another_process_is_neither_entered_nor_killed(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest's groups list it, and it is another process when it is held."""
    monkeypatch.setattr(roster, "STOP_TIMEOUT", 0.05)
    with subprocess.Popen(["sh", "-c", "sleep 1000 & wait"], process_group=0) as stranger:
        try:
            for group in ("", "/payload"):
                monkeypatch.setattr(processes, "population", lambda _, g=group: {stranger.pid: g})
                with pytest.raises(GuestError, match="cannot be entered"):
                    roster.enter(NAME)
                with pytest.raises(GuestError, match="was not gone"):
                    roster.stop(NAME, 0.01)
                assert roster.memory(NAME) == 0
            (child,) = Held(stranger.pid).children
            assert not Held(child).has_ended()
            assert stranger.poll() is None
        finally:
            os.killpg(stranger.pid, signal.SIGKILL)


def test_stop_sweeps_what_is_left_of_its_guest_alone(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "STOP_TIMEOUT", 0.05)
    groups = held.parent / "groups"
    monkeypatch.setattr(hierarchies, "mounted", lambda: {hierarchies.V2: groups})
    mine, others = groups / NAME, [held.parent / "postroj-0000dead", groups / "postroj-0000dead"]
    for folder in (mine, *others):
        folder.mkdir(parents=True)
    with pytest.raises(GuestError, match="was not gone"):
        roster.stop(NAME)
    assert not mine.exists()
    assert all(folder.exists() for folder in others)


def test_stop_shows_what_is_left_of_the_guest(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "STOP_TIMEOUT", 0.05)
    with pytest.raises(GuestError, match="was not gone within") as caught:
        roster.stop(NAME)
    assert str(held) in caught.value.evidence
    assert held.exists()
