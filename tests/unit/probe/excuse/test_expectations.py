"""Expected failures are skips with a reason, until they pass or the expectation expires."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from postroj.probe.excuse import expectations
from postroj.probe.excuse.expectations import Expectation
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult

KNOWN = Expectation(
    images=frozenset({"debian-sid"}),
    outcome=Outcome.FAIL,
    reason="bug 7",
    until=date(2027, 1, 31),
    expired=False,
)
CHECK = CheckResult(
    kind=CheckKind.UNIT, subject="x.service", outcome=Outcome.FAIL, reason="is dead\nlog", seconds=1
)
PORT = replace(CHECK, kind=CheckKind.NETWORK, subject="tcp://127.0.0.1:80")
STEP = StepResult(
    name=StepName.INSTALL, done=Outcome.PASS, reason="x 1.0", seconds=1, checks=(CHECK, PORT)
)
EXCUSE = "expected to fail: bug 7 (until 2027-01-31)"


def excused(step: StepResult, *known: Expectation) -> StepResult:
    """Excuse a step and its checks."""
    checks = [expectations.excused_check(step.name, check, known) for check in step.checks]
    return replace(expectations.excused_step(step, known), checks=tuple(checks))


def notes(*known: Expectation, steps: list[StepResult], ended_early: bool = False) -> list[str]:
    return list(expectations.notes(steps, known, ended_early=ended_early))


def outcomes(step: StepResult) -> list[str]:
    return [step.done, *(check.outcome for check in step.checks)]


def test_an_expected_failure_of_a_check_is_a_skip_with_both_reasons() -> None:
    found = excused(STEP, KNOWN)
    assert outcomes(found) == ["pass", "skip", "skip"]
    assert found.checks[0].reason == f"{EXCUSE}\nis dead\nlog"
    assert found.outcome is Outcome.PASS
    assert not notes(KNOWN, steps=[STEP])


def test_an_expected_failure_of_a_step_is_a_skip_with_both_reasons() -> None:
    found = excused(replace(STEP, done=Outcome.FAIL, reason="unmet", checks=()), KNOWN)
    assert (found.outcome, found.reason) == (Outcome.SKIP, f"{EXCUSE}\nunmet")


def test_an_error_is_never_excused() -> None:
    wrong = replace(STEP, done=Outcome.ERROR, checks=(replace(CHECK, outcome=Outcome.ERROR),))
    assert excused(wrong, KNOWN) == wrong


@pytest.mark.parametrize(
    ("narrow", "wanted"),
    [
        ({"checks": ("x.*",)}, ["fail", "skip", "fail"]),
        ({"checks": ("y", "tcp://*")}, ["fail", "fail", "skip"]),
        ({"step": StepName.UPGRADE}, ["fail", "fail", "fail"]),
        ({"step": StepName.INSTALL}, ["skip", "skip", "skip"]),
        ({"step": StepName.UPGRADE, "checks": ("x.*",)}, ["fail", "fail", "fail"]),
        ({"expired": True}, ["fail", "fail", "fail"]),
    ],
)
def test_an_expectation_covers_its_step_and_its_checks_only(
    narrow: dict[str, Any], wanted: list[str]
) -> None:
    failed = replace(STEP, done=Outcome.FAIL)
    assert outcomes(excused(failed, replace(KNOWN, **narrow))) == wanted


def test_a_note_asks_to_remove_an_expectation_whose_subject_passes() -> None:
    passed = replace(STEP, checks=(replace(CHECK, outcome=Outcome.PASS),))
    assert excused(passed, KNOWN) == passed
    assert notes(KNOWN, steps=[passed]) == [
        "expected to fail, but passed; remove the expectation: bug 7 (until 2027-01-31)"
    ]
    assert not notes(KNOWN, steps=[passed], ended_early=True)
    assert not notes(replace(KNOWN, checks=("y",)), steps=[passed])


@pytest.mark.parametrize(
    ("outcome", "what"), [(Outcome.FAIL, "fail"), (Outcome.SKIP, "be skipped")]
)
def test_an_expired_expectation_says_so(outcome: Outcome, what: str) -> None:
    old = replace(KNOWN, outcome=outcome, expired=True)
    assert excused(STEP, old).outcome is Outcome.FAIL
    assert notes(old, steps=[STEP]) == [
        f"no longer expected to {what} (expired on 2027-01-31): bug 7"
    ]


def test_an_image_is_not_tried_until_that_expectation_expires() -> None:
    known = replace(KNOWN, outcome=Outcome.SKIP)
    assert expectations.skip([KNOWN, known], "debian-sid") == "not tried: bug 7 (until 2027-01-31)"
    assert expectations.skip([known], "debian-trixie") == ""
    assert expectations.skip([KNOWN, replace(known, expired=True)], "debian-sid") == ""
