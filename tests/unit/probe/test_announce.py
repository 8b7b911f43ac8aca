"""A result is excused once: audience and report get the same objects, the probe the raw ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from postroj.probe.announce import Announcer
from postroj.probe.excuse.emulated import DOUBT, NOTE
from postroj.probe.excuse.excuses import Excuses
from postroj.probe.excuse.expectations import Expectation
from postroj.verdict import CheckKind, CheckResult, Discovery, Outcome, StepName, StepResult
from tests.support.listener import Nobody

KNOWN = Expectation(
    images=frozenset({"debian-sid"}),
    outcome=Outcome.FAIL,
    reason="bug 7",
    until=date(2027, 1, 31),
    expired=False,
)
FAILED = CheckResult(
    kind=CheckKind.UNIT, subject="a.service", outcome=Outcome.FAIL, reason="is dead", seconds=1
)
UNDER_QEMU = replace(FAILED, reason="status 226 (NAMESPACE)")
STEP = StepResult(name=StepName.INSTALL, done=Outcome.FAIL, reason="status 3", seconds=1)


class Ear(Nobody):
    """An audience that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def end_step(self, step: StepResult) -> None:
        self.heard.append(step)

    def end_check(self, check: object) -> None:
        self.heard.append(check)


def announcer(ear: Ear, *known: Expectation, is_emulated: bool = False) -> Announcer:
    return Announcer(ear, Excuses(known, is_emulated=is_emulated))


def test_the_report_has_the_objects_that_the_audience_has_heard() -> None:
    ear = Ear()
    announced = announcer(ear, KNOWN).end_step(STEP)
    announced.end_check(FAILED)
    judged = announced.result(Discovery(users=("a",)))
    step, check = ear.heard
    assert judged.reported.checks == (check,)
    assert judged.reported.checks[0] is check
    assert replace(judged.reported, checks=(), discovered=None) == step
    assert [step.done, check.outcome] == [Outcome.SKIP, Outcome.SKIP]
    assert judged.reported.discovered == Discovery(users=("a",))


def test_an_excuse_does_not_change_the_raw_step() -> None:
    announced = announcer(Ear(), KNOWN).end_step(STEP)
    assert not announced.has_bad_check
    announced.end_check(FAILED)
    assert announced.has_bad_check
    assert announced.result().raw == replace(STEP, checks=(FAILED,))


def test_checks_that_a_step_has_already_are_announced_after_it() -> None:
    ear = Ear()
    judged = announcer(ear).end_step(replace(STEP, checks=(FAILED,))).result()
    assert ear.heard[1:] == [FAILED]
    assert judged.raw.checks == judged.reported.checks == (FAILED,)


@pytest.mark.parametrize("is_emulated", [False, True], ids=["native", "emulated"])
def test_an_error_of_emulation_is_not_excused_as_an_expected_failure(*, is_emulated: bool) -> None:
    announced = announcer(Ear(), KNOWN, is_emulated=is_emulated).end_step(STEP)
    announced.end_check(UNDER_QEMU)
    (check,) = announced.result().reported.checks
    assert check.outcome is (Outcome.ERROR if is_emulated else Outcome.SKIP)
    assert check.reason.startswith(DOUBT) is is_emulated


def test_notes_on_emulation_come_before_those_on_expectations() -> None:
    excuses = Excuses((replace(KNOWN, expired=True),), is_emulated=True)
    first, second = excuses.notes([], ended_early=False)
    assert first == NOTE
    assert second.startswith("no longer expected to fail")
