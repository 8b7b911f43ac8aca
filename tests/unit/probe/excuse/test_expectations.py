"""Expected failures are skips with a reason, what passes is told, and dates end it all."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from postroj.probe.excuse import expectations
from postroj.probe.excuse.expectations import Excusing, Expectation
from postroj.verdict import CheckKind, CheckResult, Outcome, ProbeResult, StepName, StepResult

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


def probe(*steps: StepResult, reason: str = "") -> ProbeResult:
    return ProbeResult(image="debian-sid", package="x.deb", steps=steps, reason=reason)


def outcomes(result: ProbeResult) -> list[list[str]]:
    return [[step.done, *(c.outcome for c in step.checks)] for step in result.steps]


def test_a_failure_is_a_skip_with_both_reasons() -> None:
    found = expectations.excused(probe(STEP), [KNOWN])
    assert outcomes(found) == [["pass", "skip", "skip"]]
    assert found.steps[0].checks[0].reason == f"{EXCUSE}\nis dead\nlog"
    assert (found.outcome, found.notes) == (Outcome.PASS, ())


def test_a_step_that_fails_is_one_too() -> None:
    failed = replace(STEP, done=Outcome.FAIL, reason="unmet", checks=())
    found = expectations.excused(probe(failed), [KNOWN])
    assert (found.outcome, found.steps[0].reason) == (Outcome.SKIP, f"{EXCUSE}\nunmet")


def test_an_error_is_never_excused() -> None:
    wrong = replace(STEP, done=Outcome.ERROR, checks=(replace(CHECK, outcome=Outcome.ERROR),))
    assert expectations.excused(probe(wrong), [KNOWN]) == probe(wrong)
    assert expectations.excused(probe(reason="no guest"), [KNOWN]).outcome is Outcome.ERROR


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
def test_what_is_covered(narrow: dict[str, Any], wanted: list[str]) -> None:
    failed = replace(STEP, done=Outcome.FAIL)
    assert outcomes(expectations.excused(probe(failed), [replace(KNOWN, **narrow)])) == [wanted]


def test_what_passes_passes_and_the_expectation_can_go() -> None:
    passed = replace(STEP, checks=(replace(CHECK, outcome=Outcome.PASS),))
    found = expectations.excused(probe(passed), [KNOWN])
    assert found.outcome is Outcome.PASS
    (note,) = found.notes
    assert note == (
        "expected to fail, but passed, the expectation can go: bug 7 (until 2027-01-31)"
    )
    ended = probe(passed, reason="the guest ended")
    assert not expectations.excused(ended, [KNOWN]).notes
    assert not expectations.excused(probe(passed), [replace(KNOWN, checks=("y",))]).notes


@pytest.mark.parametrize(
    ("outcome", "what"), [(Outcome.FAIL, "fail"), (Outcome.SKIP, "be skipped")]
)
def test_an_expired_expectation_says_so(outcome: Outcome, what: str) -> None:
    old = replace(KNOWN, outcome=outcome, expired=True)
    found = expectations.excused(probe(STEP), [old])
    assert found.outcome is Outcome.FAIL
    assert found.notes == (f"no longer expected to {what}, as that expired on 2027-01-31: bug 7",)


def test_which_images_are_not_tried() -> None:
    known = replace(KNOWN, outcome=Outcome.SKIP)
    assert expectations.skip([KNOWN, known], "debian-sid") == "not tried: bug 7 (until 2027-01-31)"
    assert expectations.skip([known], "debian-trixie") == ""
    assert expectations.skip([KNOWN, replace(known, expired=True)], "debian-sid") == ""


def test_an_audience_hears_what_the_report_says() -> None:
    heard: list[Any] = []

    class Ear:
        def __getattr__(self, name: str) -> Any:
            return lambda *words: heard.append((name, *words))

    audience = Excusing(Ear(), [KNOWN])
    failed = replace(STEP, done=Outcome.FAIL)
    audience.begin_probe("debian-sid", "x.deb")
    audience.begin_part("boot")
    audience.end_step(failed)
    audience.end_check(CHECK)
    result = expectations.excused(probe(failed), [KNOWN])
    audience.end_probe(result)
    assert heard[:2] == [("begin_probe", "debian-sid", "x.deb"), ("begin_part", "boot")]
    assert [words[1].reason for words in heard[2:4]] == [
        result.steps[0].reason,
        result.steps[0].checks[0].reason,
    ]
    assert heard[4] == ("end_probe", result)
