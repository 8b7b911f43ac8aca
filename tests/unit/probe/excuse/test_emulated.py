"""Failures that qemu-user may have caused are errors, and no other failures are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.excuse import emulated
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult

ENDED = "failed (result 'exit-code'), its main process ended with status"
CHECK = CheckResult(
    kind=CheckKind.UNIT, subject="a.service", outcome=Outcome.FAIL, reason="", seconds=0
)
STEP = StepResult(name=StepName.INSTALL, done=Outcome.PASS, reason="", seconds=0)


def outcomes(*checks: CheckResult) -> list[Outcome]:
    doubt = emulated.Doubt()
    return [doubt.of_check(check).outcome for check in checks]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (f"{ENDED} 225 (NETWORK)", Outcome.ERROR),
        (f"{ENDED} 243 (CREDENTIALS)", Outcome.ERROR),
        (
            "down\na.service: Failed at step NAMESPACE spawning /bin/a: Invalid argument",
            Outcome.ERROR,
        ),
        ("down\nMain process exited, code=exited, status=217/USER", Outcome.ERROR),
        (f"{ENDED} 1", Outcome.FAIL),
        (f"{ENDED} 203 (EXEC)", Outcome.FAIL),
        ("connection refused on port 225", Outcome.FAIL),
    ],
)
def test_a_failure_before_the_start_of_a_program_is_an_error(reason: str, outcome: Outcome) -> None:
    assert outcomes(replace(CHECK, reason=reason)) == [outcome]
    step = emulated.doubted_step(replace(STEP, done=Outcome.FAIL, reason=reason))
    assert step.done is outcome


def test_a_check_that_names_a_unit_in_doubt_is_in_doubt_too() -> None:
    first = replace(CHECK, reason=f"{ENDED} 225 (NETWORK)")
    later = replace(CHECK, subject="no newly failed unit", reason="failed since: a.service")
    assert outcomes(first, later) == [Outcome.ERROR, Outcome.ERROR]
    assert outcomes(later, first) == [Outcome.FAIL, Outcome.ERROR]


def test_a_pass_is_never_in_doubt() -> None:
    assert outcomes(replace(CHECK, outcome=Outcome.PASS, reason="225/NETWORK")) == [Outcome.PASS]
    assert emulated.doubted_step(replace(STEP, reason="225/NETWORK")).done is Outcome.PASS
