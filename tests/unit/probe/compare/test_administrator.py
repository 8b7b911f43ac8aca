"""The judgement on units that were disabled and stopped before a step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.administrator import ask, can_be_disabled, describe_return, judge
from postroj.verdict import Outcome, StepName
from tests.support.fake_guest import FakeGuest

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


class Taken:
    """A journey that takes a step again without fault."""

    def take_again(self) -> Done:
        return Done()


class Done:
    blame = None


@pytest.mark.parametrize("enabled", ["enabled", "disabled"])
@pytest.mark.parametrize("socket", ["active", "inactive"])
def test_ask_disables_what_would_start_a_unit_again(enabled: str, socket: str) -> None:
    """A trigger that was active is started again, also one of another package."""
    shown = {
        "x.service": "ActiveState=inactive\nUnitFileState=disabled\n",
        "x.socket": f"ActiveState={socket}\nUnitFileState={enabled}\n",
    }
    is_disabled = enabled == "enabled"

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        names = argv[argv.index("--") + 1 :] if "--" in argv else ()
        if argv[1] != "show":
            return 0, ""
        states = shown
        if ("systemctl", "--quiet", "disable", "--now", "--", *names) in guest.ran:
            states = dict.fromkeys(names, "ActiveState=inactive\nUnitFileState=disabled\n")
        return 0, "\n\n".join(f"Id={n}\nLoadState=loaded\n{states[n]}" for n in names)

    guest = FakeGuest(answer=answer)
    active = [replace(ON, triggered_by=("x.socket",))]
    outcome, reason = ask(guest, Taken(), active)  # type: ignore[arg-type]
    names = ("x.service", "x.socket") if is_disabled else ("x.service",)
    ran = ("x.socket", "x.service") if is_disabled and socket == "active" else ("x.service",)
    assert ("systemctl", "--quiet", "disable", "--now", "--", *names) in guest.ran
    assert ("systemctl", "--quiet", "enable", "--", *names) in guest.ran
    assert ("systemctl", "--quiet", "start", "--", *ran) in guest.ran
    assert outcome is Outcome.PASS
    assert reason.startswith(", ".join(names))
