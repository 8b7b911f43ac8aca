"""What a step may change of a unit, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.continuity import change, completed
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
    ("before", "now", "trouble"),
    [
        (UP, UP, ""),
        (UP, replace(UP, main_pid=8, started=2.0), ""),
        (UP, DOWN, "ran before the upgrade, and does not after it"),
        (DOWN, UP, ""),
        (DOWN, DOWN, ""),
        (UP, replace(DOWN, load="not-found"), ""),
        (SOCKET, replace(SOCKET, active="inactive"), "was active before the upgrade, and is not"),
        (UP, replace(UP, file_state="disabled"), "was enabled before the upgrade, and is disabled"),
        (replace(UP, file_state="disabled"), UP, ""),
        (UP, replace(UP, file_state="static"), ""),
    ],
)
def test_a_change(before: UnitState, now: UnitState, trouble: str) -> None:
    found = change(before, now, StepName.UPGRADE)
    assert found.startswith(trouble)
    assert bool(found) == bool(trouble)


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.SKIP, Outcome.FAIL, Outcome.ERROR])
def test_a_loss_is_a_failure_unless_it_was_worse(outcome: Outcome) -> None:
    found = completed(replace(ANSWER, outcome=outcome), UP, DOWN, StepName.REBOOT)
    assert found.outcome is (Outcome.ERROR if outcome is Outcome.ERROR else Outcome.FAIL)
    assert found.reason == "ran before the reboot, and does not after it; now active\njournal"


def test_the_main_process_is_told_of() -> None:
    same = completed(ANSWER, UP, UP, StepName.UPGRADE)
    assert same.reason == "active; not restarted, same main PID as before\njournal"
    other = completed(ANSWER, UP, replace(UP, main_pid=8, started=2.0), StepName.UPGRADE)
    assert other.reason == "active; restarted, its main PID was 7\njournal"
    again = completed(ANSWER, UP, replace(UP, started=2.0), StepName.REBOOT)
    assert "restarted" in again.reason
    assert again.outcome is Outcome.PASS
