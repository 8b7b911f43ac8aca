"""What a step may describe_loss of a unit, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.continuity import completed, describe_loss
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName

UP = UnitState(
    name="x.service",
    load="loaded",
    active="active",
    sub="running",
    main_pid=7,
    started=1.0,
    file_state="enabled",
)
DOWN = replace(UP, active="inactive", sub="dead", main_pid=0)
SOCKET = replace(UP, name="x.socket", sub="listening", main_pid=0)
ANSWER = CheckResult(
    kind=CheckKind.UNIT, subject="x", outcome=Outcome.PASS, reason="active\njournal", seconds=1
)


@pytest.mark.parametrize(
    ("before", "now", "loss"),
    [
        (UP, UP, ""),
        (UP, replace(UP, main_pid=8, started=2.0), ""),
        (UP, DOWN, "ran before the upgrade, but not after it"),
        (DOWN, UP, ""),
        (DOWN, DOWN, ""),
        (UP, replace(DOWN, load="not-found"), ""),
        (SOCKET, replace(SOCKET, active="inactive"), "was active before the upgrade, but is not"),
        (UP, replace(UP, file_state="disabled"), "was enabled before the upgrade, but is disabled"),
        (replace(UP, file_state="disabled"), UP, ""),
        (UP, replace(UP, file_state="static"), ""),
    ],
)
def test_describe_loss(before: UnitState, now: UnitState, loss: str) -> None:
    found = describe_loss(before, now, StepName.UPGRADE)
    assert found.startswith(loss)
    assert bool(found) == bool(loss)


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.SKIP, Outcome.FAIL, Outcome.ERROR])
def test_a_loss_is_a_failure_unless_the_answer_is_an_error(outcome: Outcome) -> None:
    found = completed(replace(ANSWER, outcome=outcome), UP, DOWN, StepName.REBOOT)
    assert found.outcome is (Outcome.ERROR if outcome is Outcome.ERROR else Outcome.FAIL)
    assert found.reason == "ran before the reboot, but not after it; now active\njournal"


def test_a_passing_answer_tells_whether_the_main_process_was_replaced() -> None:
    same = completed(ANSWER, UP, UP, StepName.UPGRADE)
    assert same.reason == "active; not restarted, same main PID as before\njournal"
    other = completed(ANSWER, UP, replace(UP, main_pid=8, started=2.0), StepName.UPGRADE)
    assert other.reason == "active; restarted, its main PID was 7\njournal"
    again = completed(ANSWER, UP, replace(UP, started=2.0), StepName.REBOOT)
    assert "restarted" in again.reason
    assert again.outcome is Outcome.PASS
