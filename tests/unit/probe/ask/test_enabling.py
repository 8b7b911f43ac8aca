"""What the installation must have done with a unit."""

from __future__ import annotations

import pytest

from postroj.probe.ask.enabling import judge
from postroj.probe.ask.question import Demand
from postroj.probe.ask.unitstate import UnitState
from postroj.verdict import Outcome


@pytest.mark.parametrize(
    ("demand", "file_state", "started", "outcome", "reason"),
    [
        (Demand.ENABLED, "enabled", 0.0, "pass", "enabled"),
        (Demand.ENABLED, "disabled", 5.0, "fail", "must be enabled, but is disabled"),
        (Demand.IDLE, "disabled", 0.0, "pass", "neither enabled nor started by the installation"),
        (Demand.IDLE, "enabled", 5.0, "fail",
         "must not start by itself, but was enabled and started, inactive (dead)"),
    ],
)  # fmt: skip
def test_judge(demand: Demand, file_state: str, started: float, outcome: str, reason: str) -> None:
    state = UnitState(
        name="x.service", load="loaded", active="inactive", sub="dead",
        file_state=file_state, started=started,
    )  # fmt: skip
    assert judge(state, demand) == (Outcome(outcome), reason)


def test_judge_a_unit_that_is_not_there() -> None:
    state = UnitState(name="x.service", load="not-found", active="inactive", sub="dead")
    assert judge(state, Demand.IDLE) == (Outcome.FAIL, "there is no such unit")
