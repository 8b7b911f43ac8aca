"""The judgement on units that were disabled and stopped before a step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.administrator import can_be_disabled, describe_return, judge
from postroj.verdict import Outcome, StepName

ON = UnitState(
    name="x.service", load="loaded", active="active", sub="running", file_state="enabled"
)
OFF = replace(ON, active="inactive", sub="dead", file_state="disabled")
WAS = "x.service was disabled and stopped before the upgrade, but is "


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (OFF, OFF, ""),
        (OFF, ON, f"{WAS}enabled, active (running) after it"),
        (OFF, replace(ON, file_state="disabled"), f"{WAS}active (running) after it"),
        (OFF, replace(OFF, file_state="enabled"), f"{WAS}enabled, inactive (dead) after it"),
        (OFF, replace(OFF, has_job=True), f"{WAS}inactive (dead) after it"),
        (OFF, replace(OFF, active="failed"), ""),
        (OFF, replace(ON, load="not-found"), ""),
        (ON, ON, ""),
    ],
)
def test_describe_return(before: UnitState, now: UnitState, text: str) -> None:
    assert describe_return(before, now, StepName.UPGRADE) == text


def test_judge_names_units_that_stay_off_and_units_that_come_back() -> None:
    socket = replace(OFF, name="x.socket")
    both = [OFF, socket]
    sentence = "x.service, x.socket stay disabled and stopped"
    assert judge(both, both, [], StepName.UPGRADE) == (Outcome.PASS, sentence)
    sentence = "x.service stays disabled and stopped"
    assert judge([OFF, ON], [OFF, ON], [], StepName.UPGRADE) == (Outcome.PASS, sentence)
    assert judge([ON], [ON], [], StepName.UPGRADE)[0] is Outcome.SKIP
    assert judge([OFF], [ON], [], StepName.UPGRADE)[0] is Outcome.FAIL
    sentence = "x.service does not start when it is enabled again"
    assert judge([OFF], [OFF], ["x.service"], StepName.UPGRADE) == (Outcome.FAIL, sentence)


def test_can_be_disabled_needs_an_enabled_unit() -> None:
    static = replace(ON, name="y.service", file_state="static")
    assert can_be_disabled([ON, static]) == ["x.service"]
