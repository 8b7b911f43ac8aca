"""Whose a process is, and which processes outlive what they should not."""

from __future__ import annotations

from typing import Any

import pytest

from postroj.container.guest import Process
from postroj.probe.ask import journal
from postroj.probe.ask.journal import Entry, Event
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare import stops
from postroj.probe.compare.survivors import ask_old, canonical, left_behind, loaded, programs, runs
from postroj.verdict import Outcome, StepName
from tests.support.fake_guest import FakeGuest

PATHS = (
    "/usr",
    "/usr/sbin",
    "/usr/sbin/x",
    "/usr/lib",
    "/usr/lib/x",
    "/usr/lib/x/worker",
    "/etc/x.conf",
)


def process(pid: int = 7, **changes: Any) -> Process:
    fields: dict[str, Any] = {
        "pid": pid,
        "name": "x",
        "group": "/system.slice/x.service",
        "unit": "x.service",
        "executable": "/usr/sbin/x",
        "started": float(pid),
    }
    return Process(**fields | changes)


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("/sbin/x", "/usr/bin/x"),
        ("/usr/sbin/x", "/bin/x"),
        ("/usr/lib/x/y", "/lib/x/y"),
        ("/usr/lib64/x", "/lib64/x"),
    ],
)
def test_canonical_path_of_merged_folders(path: str, same: str) -> None:
    assert canonical(path) == canonical(same)


def test_canonical_path_of_other_folders_stays() -> None:
    assert canonical("/usr/local/bin/x") == "/usr/local/bin/x"
    assert canonical("/opt/usr/lib/x") == "/opt/usr/lib/x"


@pytest.mark.parametrize(
    ("change", "is_run"),
    [
        ({}, True),
        ({"executable": "/bin/x"}, True),
        ({"executable": "/usr/bin/perl", "arguments": ("perl", "-w", "/lib/x/worker", "a")}, True),
        ({"executable": "/usr/bin/tail", "arguments": ("tail", "-f", "/etc/x.conf")}, False),
        ({"executable": "/usr/bin/ls", "arguments": ("ls", "/usr/lib/x")}, False),
        ({"executable": "", "arguments": ()}, False),
    ],
)
def test_runs_a_program_or_script_of_the_package(change: dict[str, Any], *, is_run: bool) -> None:
    assert runs(process(**change), programs(PATHS)) is is_run


def show(*states: tuple[str, str, str]) -> FakeGuest:
    text = "\n\n".join(
        f"Id={name}\nNames={name}\nLoadState={load}\nActiveState={active}\n"
        "InactiveExitTimestampMonotonic=50000000\n"
        for name, load, active in states
    )
    return FakeGuest(answer=lambda argv: (0, text))


LISTED = """\
x.service     not-found inactive dead    x.service
other.service loaded    active   running Another service
loud.service  not-found active   running loud.service
"""


def test_left_behind_are_processes_of_the_package_wherever_they_are() -> None:
    units = loaded(FakeGuest(answer=lambda argv: (0, LISTED)))
    assert [name for name, unit in units.items() if unit.is_orphan] == ["loud.service"]
    running = [
        process(1, unit="", executable="/usr/lib/systemd/systemd"),
        process(2, executable="/usr/bin/perl", name="worker"),
        process(3, unit="", is_deleted=True),
        process(4, unit="other.service", executable="/usr/bin/python3.11"),
        process(5, unit="made.service", executable="/usr/bin/sleep"),
        process(6, unit="helper.service", executable="/usr/bin/helper"),
        process(7, unit="loud.service"),
        process(8, unit="", executable="/usr/bin/sh"),
    ]
    own = {"x.service", "loud.service"}
    known = {"helper.service", "other.service"}
    assert left_behind(running, units, own.__contains__, PATHS, known) == [
        "'worker' (PID 2) of /usr/bin/perl, in x.service",
        "'x' (PID 3) of /usr/sbin/x (deleted), in no unit",
        "'x' (PID 5) of /usr/bin/sleep, in made.service",
    ]


BEFORE = UnitState(
    name="x.service", load="loaded", active="active", sub="running", main_pid=7, started=50.0
)


@pytest.mark.parametrize(
    ("running", "started", "outcome"),
    [
        ([process(9)], 10.0, Outcome.PASS),  # all are new
        ([process(8, executable="/usr/bin/helper")], 10.0, Outcome.PASS),  # of another package
        ([process(8)], 10.0, Outcome.FAIL),
        ([process(8, executable="/usr/lib/x/worker", is_deleted=True)], 10.0, Outcome.FAIL),
        ([process(8)], 50.0, Outcome.PASS),  # not restarted
    ],
)
def test_old_processes_of_a_unit_that_was_restarted(
    running: list[Process], started: float, outcome: Outcome
) -> None:
    guest = show(("x.service", "loaded", "active"))
    guest.running = running
    units = {"x.service": UnitState(**{**vars(BEFORE), "started": started})}
    before = [process(7), process(8, executable=running[0].executable)]
    found = ask_old(guest, StepName.UPGRADE, before, units, lambda: PATHS)
    assert found[0] is outcome, found
    assert bool(found[1]) is (outcome is Outcome.FAIL)


def test_old_programs_that_were_not_restarted_are_told() -> None:
    guest = show(("x.service", "loaded", "active"))
    guest.running = [process(7, is_deleted=True), process(8, executable="/x", is_deleted=True)]
    before = [process(7), process(8)]
    outcome, reason = ask_old(guest, StepName.UPGRADE, before, {"x.service": BEFORE}, lambda: PATHS)
    assert outcome is Outcome.PASS
    assert reason.splitlines()[1:] == ["'x' (PID 7) of /usr/sbin/x (deleted), in x.service"]


def entry(event: Event, time: float, invocation: str, result: str = "") -> Entry:
    return Entry(unit="x.service", event=event, invocation=invocation, time=time, result=result)


def test_stops_are_killed_if_they_ran_out_of_time() -> None:
    entries = [
        entry(Event.RESULT, 1.0, "a", "timeout"),  # of a start
        entry(Event.STOPPING, 2.0, "b"),
        entry(Event.RESULT, 3.0, "b", "exit-code"),
        entry(Event.STOPPING, 4.0, "c"),
        entry(Event.RESULT, 94.0, "c", "timeout"),
    ]
    assert stops.killed(entries, lambda name: True) == {"x.service": 90.0}
    assert stops.killed(entries, lambda name: False) == {}
    assert stops.describe("x.service", 90.0) == (
        "x.service did not stop for 90 s (TimeoutStopSec=), so systemd killed it"
    )


def test_failed_by_stop_leaves_out_units_that_failed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = [entry(Event.STOPPING, 1.0, "a"), entry(Event.RESULT, 3.0, "a", "timeout")]
    again = [*stop, entry(Event.RESULT, 4.0, "b", "exit-code")]
    for entries, names in ((stop, ["x.service"]), (again, [])):
        monkeypatch.setattr(journal, "events", lambda *_, found=entries: found)
        assert stops.failed_by_stop(FakeGuest(), 0.0, lambda name: True) == names
    assert stops.failed_by_stop(FakeGuest(), 0.0, lambda name: False) == []
