"""What has become of units that have passed, from the journal of a real manager."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest

from postroj.probe.ask.checks import Manners
from postroj.probe.ask.journal import ERRORS, Entry, Event, parse_event
from postroj.probe.ask.recheck import (
    ENDED_BY_US,
    SUBJECT,
    Recheck,
    describe_end,
    describe_patience,
    has_changed,
    is_hungry,
)
from postroj.probe.ask.unitstate import UnitState, parse_span
from postroj.verdict import CheckKind, CheckResult, Outcome
from tests.support.fake_guest import FakeGuest

UP = UnitState(
    name="x.service",
    names=("x.service",),
    load="loaded",
    active="active",
    sub="running",
    kind="notify",
    since=100.0,
    changed=100.0,
)


def state(**changes: Any) -> UnitState:
    return dataclasses.replace(UP, **changes)


def entry(event: Event, *, invocation: str = "a", result: str = "") -> Entry:
    return Entry(unit="x.service", event=event, invocation=invocation, time=1.0, result=result)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({}, False),
        ({"since": 106.0}, True),
        ({"active": "failed", "sub": "failed"}, True),
        ({"active": "activating", "sub": "auto-restart"}, True),
        ({"load": "not-found"}, True),
        ({"active": "inactive", "sub": "dead"}, True),
        ({"active": "inactive", "sub": "dead", "kind": "oneshot", "result": "success"}, False),
        ({"kind": "oneshot", "since": 106.0}, False),
        ({"sub": "exited", "changed": 106.0, "kind": "forking"}, True),
        ({"sub": "exited", "kind": "forking"}, False),
        ({"name": "x.timer", "names": ("x.timer",), "since": 106.0}, False),
        ({"name": "y.service", "names": ("x.service", "y.service"), "since": 106.0}, True),
    ],
)
def test_has_changed_since_it_passed(change: dict[str, Any], *, changed: bool) -> None:
    assert has_changed(state(**change), {"x.service": 105.0, "x.timer": 105.0}) is changed


@pytest.mark.parametrize(
    ("entries", "change", "words"),
    [
        ([], {}, ""),
        (
            [entry(Event.EXIT), entry(Event.RESULT, result="exit-code")],
            {"restarts": 1},
            "it ended by itself (result 'exit-code'), restarted",
        ),
        (
            [entry(Event.EXIT)],
            {"active": "failed", "sub": "failed"},
            "it ended by itself, now failed (failed)",
        ),
        (
            [entry(Event.EXIT), entry(Event.RESULT, result="watchdog")],
            {"restarts": 3, "watchdog": 10.0},
            "it did not report to its watchdog for 10 s, and was killed (WatchdogSec=), "
            "restarted 3 times",
        ),
        (
            [entry(Event.STOPPING), entry(Event.EXIT), entry(Event.RESULT, result="exit-code")],
            {},
            "",
        ),
        ([entry(Event.STOPPING, invocation="b"), entry(Event.EXIT)], {}, "it ended by itself, "),
    ],
)
def test_describe_end_of_a_unit(entries: list[Entry], change: dict[str, Any], words: str) -> None:
    found = describe_end(state(**change), entries)
    assert found.startswith(words) and bool(found) == bool(words), found


def test_a_first_report_to_the_watchdog_shows_nothing_yet() -> None:
    assert is_hungry(state(watchdog=10.0, fed=100.0))
    assert is_hungry(state(watchdog=10.0, fed=100.9))
    assert not is_hungry(state(watchdog=10.0, fed=102.0))
    assert not is_hungry(state())
    assert describe_patience(state(watchdog=180.0)) == (
        "x.service: its watchdog runs out after 180 s, later than a check waits (--check-timeout)"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("1min 30s", 90.0),
        ("500ms", 0.5),
        ("1h 2min", 3720.0),
        ("0", 0.0),
        ("infinity", 0.0),
        ("", 0.0),
    ],
)
def test_parse_span_as_systemctl_prints_it(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


def test_parse_event_of_the_journal() -> None:
    fields = {
        "__REALTIME_TIMESTAMP": "1796000000500000",
        "MESSAGE_ID": "d9b373ed55a64feb8242e02dbe79a49c",
        "UNIT": "x.service",
        "UNIT_RESULT": "timeout",
        "INVOCATION_ID": "ff28",
    }
    assert parse_event(json.dumps(fields)) == Entry(
        unit="x.service",
        event=Event.RESULT,
        invocation="ff28",
        time=1796000000.5,
        result="timeout",
    )
    for text in ("", "[]", "{", json.dumps(fields | {"MESSAGE_ID": "other"})):
        assert parse_event(text) is None


def answer(kind: CheckKind, subject: str, outcome: Outcome = Outcome.PASS) -> CheckResult:
    return CheckResult(kind=kind, subject=subject, outcome=outcome, reason="", seconds=0)


def test_recheck_reads_all_units_that_passed_with_one_command() -> None:
    shown = "\n\n".join(
        f"Id={name}.service\nNames={name}.service\nLoadState=loaded\nActiveState=active\n"
        f"SubState=running\nType=notify\nActiveEnterTimestampMonotonic=1000000\n"
        for name in ("a", "b")
    )
    guest = FakeGuest(answer=lambda argv: (0, shown))
    answers = [
        answer(CheckKind.UNIT, "a"),
        answer(CheckKind.UNIT, "b.service"),
        answer(CheckKind.UNIT, "c.service", Outcome.FAIL),
        answer(CheckKind.UNIT, "d@.service"),
        answer(CheckKind.FILE, "/etc/passwd"),
    ]
    recheck = Recheck(guest=guest, manners=Manners())
    assert list(recheck.follow(answers)) == answers
    assert recheck.passed == {"a.service", "b.service"}
    (argv,) = guest.ran
    assert argv[-3:] == ("--", "a.service", "b.service")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Type=notify\nRestart=always\n", 0.0),
        ("Type=oneshot\n", 0.0),
        ("Type=simple\nRestart=no\n", 0.6),
        ("Type=simple\nRestart=on-failure\n", 0.8),
    ],
)
def test_recheck_waits_for_services_that_do_not_tell_when_they_are_ready(
    text: str, seconds: float
) -> None:
    """They have been up for the settle time, 0.4 s; and are not waited for a second time."""
    since = int((time.monotonic() - 0.4) * 1e6)
    shown = (
        "Id=a.service\nNames=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\n"
        f"{text}ActiveEnterTimestampMonotonic={since}\n"
    )
    guest = FakeGuest(answer=lambda argv: (0, shown))
    recheck = Recheck(guest=guest, manners=Manners(settle=0.4))
    answers = [answer(CheckKind.UNIT, "a")]
    for _ in range(2):
        assert list(recheck.follow(answers)) == answers
    assert time.monotonic() - since / 1e6 >= seconds
    assert len(guest.ran) == (3 if seconds else 2)


@pytest.mark.parametrize(("busy", "looks"), [(True, 2), (False, 1)])
def test_recheck_waits_while_a_service_is_busy_with_its_start(looks: int, *, busy: bool) -> None:
    """It has run and waited for a processor all the time, and ends when it has found no work."""
    since = time.monotonic() - 0.8
    states: list[str] = []

    def said(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "sh":
            return 0, f"{300_000_000 if busy else 9} {200_000_000 if busy else 9} 3\n"
        states.append("active" if len(states) == 0 else "failed")
        return 0, (
            f"Id=a.service\nNames=a.service\nLoadState=loaded\nActiveState={states[-1]}\nMainPID=9\n"
            f"Type=simple\nRestart=no\nActiveEnterTimestampMonotonic={int(since * 1e6)}\n"
        )

    recheck = Recheck(guest=FakeGuest(answer=said), manners=Manners(settle=0.4, timeout=1))
    found = [one.outcome for one in recheck.follow([answer(CheckKind.UNIT, "a")])]
    assert found == [Outcome.PASS, Outcome.FAIL][:looks]


def test_recheck_says_which_watchdog_it_has_not_waited_for() -> None:
    shown = (
        "Id=a.service\nNames=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\n"
        "Type=notify\nWatchdogUSec=3min\nActiveEnterTimestampMonotonic=9000000000000000000\n"
    )
    guest = FakeGuest(answer=lambda argv: (0, shown.replace("9000000000000000000", "1")))
    recheck = Recheck(guest=guest, manners=Manners())
    long_ago = list(recheck.follow([answer(CheckKind.UNIT, "a")]))
    assert len(long_ago) == 1  # it would have been killed by now

    def young(argv: tuple[str, ...]) -> tuple[int, str]:

        moment = str(int((time.monotonic() - 3) * 1e6))
        return 0, shown.replace("9000000000000000000", moment)

    recheck = Recheck(guest=FakeGuest(answer=young), manners=Manners(settle=0.5))
    *_, told = recheck.follow([answer(CheckKind.UNIT, "a")])
    assert (told.subject, told.outcome) == (SUBJECT, Outcome.PASS)
    assert told.reason.startswith("a.service: its watchdog runs out after 180 s")


@pytest.mark.parametrize(
    ("knocked", "end", "survives", "outcome"),
    [
        (["a.service"], "inactive", True, None),
        (["a.service"], "inactive", False, Outcome.FAIL),
        ([], "inactive", True, Outcome.FAIL),
        (["a.service"], "failed", True, Outcome.FAIL),
    ],
)
def test_a_unit_that_a_connection_has_ended_is_told_if_it_lives_longer_without(
    knocked: list[str], end: str, outcome: Outcome | None, *, survives: bool
) -> None:
    shown = "Id=a.service\nNames=a.service\nLoadState=loaded\nType=forking\n"
    down = f"{shown}ActiveState={end}\nSubState=dead\nExecMainCode=1\nExecMainStatus=0\n"
    up = f"{shown}ActiveState=active\nSubState=running\nMainPID=7\n"
    started: list[float] = []

    def said(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[:2] == ("systemctl", "start"):
            started.append(time.monotonic())
        if argv[1] != "show" or not (started and survives):
            return 0, down if argv[1] == "show" else ""
        moment = int(started[0] * 1e6)
        return 0, f"{up}ActiveEnterTimestampMonotonic={moment}\n"

    recheck = Recheck(guest=FakeGuest(answer=said), manners=Manners(settle=0.2, timeout=1))
    passed = [answer(CheckKind.UNIT, "a")]
    _, found = recheck.follow(passed, knocked=lambda: knocked)
    assert found.outcome is (outcome or Outcome.PASS)
    assert found.subject == ("a" if outcome else SUBJECT)
    assert found.reason.endswith(ENDED_BY_US) is (outcome is None)
    assert bool(started) is (bool(knocked) and end == "inactive")


SHOWN = (
    "Id=a.service\nNames=a.service\nLoadState=loaded\nActiveState={}\nSubState={}\n"
    "Type=notify\nActiveEnterTimestampMonotonic={}\n"
)


def test_recheck_fails_a_unit_that_has_ended_since_it_passed() -> None:
    shown = SHOWN.format("failed", "failed", 1)
    recheck = Recheck(guest=FakeGuest(lambda argv: (0, shown)), manners=Manners(timeout=1))
    *_, ended = recheck.follow([answer(CheckKind.UNIT, "a")])
    assert (ended.subject, ended.outcome) == ("a", Outcome.FAIL)
    assert ended.reason.startswith("passed its check, but then it was failed")
    assert recheck.passed == frozenset()


@pytest.mark.parametrize(("subject", "looks"), [(ERRORS, 2), ("units stay", 1)])
def test_recheck_waits_for_services_only_if_errors_were_logged(subject: str, looks: int) -> None:
    since = int((time.monotonic() - 0.2) * 1e6)
    guest = FakeGuest(lambda argv: (0, SHOWN.format("active", "running", since)))
    recheck = Recheck(guest=guest, manners=Manners(settle=0.2))
    answers = [answer(CheckKind.UNIT, "a"), answer(CheckKind.SYSTEM, subject)]
    assert list(recheck.follow(answers)) == answers
    assert len(guest.ran) == looks
