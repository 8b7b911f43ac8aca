"""What has become of a unit that was disabled and stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.administrator import trouble, unwanted, verdict
from postroj.verdict import Outcome, StepName

ON = UnitState(
    name="x.service", load="loaded", active="active", sub="running", file_state="enabled"
)
OFF = replace(ON, active="inactive", sub="dead", file_state="disabled")
WAS = "x.service was disabled and stopped before the upgrade, and is "


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
def test_what_comes_back(before: UnitState, now: UnitState, text: str) -> None:
    assert trouble(before, now, StepName.UPGRADE) == text


def test_a_verdict() -> None:
    socket = replace(OFF, name="x.socket")
    both = [OFF, socket]
    told = "x.service, x.socket stay disabled and stopped"
    assert verdict(both, both, [], StepName.UPGRADE) == (Outcome.PASS, told)
    told = "x.service stays disabled and stopped"
    assert verdict([OFF, ON], [OFF, ON], [], StepName.UPGRADE) == (Outcome.PASS, told)
    assert verdict([ON], [ON], [], StepName.UPGRADE)[0] is Outcome.SKIP
    assert verdict([OFF], [ON], [], StepName.UPGRADE)[0] is Outcome.FAIL
    told = "x.service does not start when it is enabled again"
    assert verdict([OFF], [OFF], ["x.service"], StepName.UPGRADE) == (Outcome.FAIL, told)


def test_what_can_be_disabled() -> None:
    static = replace(ON, name="y.service", file_state="static")
    assert unwanted([ON, static]) == ["x.service"]
