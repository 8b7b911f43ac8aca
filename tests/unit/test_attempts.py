"""A container's verdict stays, whatever becomes of the machine that was to tell more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postroj import attempts
from postroj.errors import HostError
from postroj.model import Image, Kernel, Manager
from postroj.verdict import CheckKind, CheckResult, Outcome, ProbeResult, StepName, StepResult, Why
from tests.unit.probe.test_plan import PLAN

if TYPE_CHECKING:
    import pytest

IMAGE = Image(name="debian-trixie", layers=(), architecture="x86_64", manager=Manager.APT)
OPEN = CheckResult(
    kind=CheckKind.UNIT,
    subject="x.service",
    outcome=Outcome.SKIP,
    reason="a container cannot show this: needs a clock",
    seconds=0.0,
    why=Why.CONTAINER,
    needs="a clock",
)
STEP = StepResult(
    name=StepName.INSTALL, done=Outcome.PASS, reason="x 1.0", seconds=1.0, checks=(OPEN,)
)
RESULT = ProbeResult(image=IMAGE.name, package="x.deb", steps=(STEP,), timings={"total": 2.0})


class Ear:
    """An audience that hears ends."""

    def __init__(self) -> None:
        self.ended: list[ProbeResult] = []
        self.checks: list[CheckResult] = []

    def end_check(self, check: CheckResult) -> None:
        self.checks.append(check)

    def end_probe(self, result: ProbeResult) -> None:
        self.ended.append(result)


def attempted(monkeypatch: pytest.MonkeyPatch, second: ProbeResult | Exception) -> ProbeResult:
    """Attempt with `--vm=auto`, in a container that leaves a question, and then as `second`."""

    def attempt(image: Image, packages: Any, plan: Any, audience: Any) -> ProbeResult:
        if plan.kernel is Kernel.SHARED:
            return RESULT
        assert plan.kernel is Kernel.OWN
        if isinstance(second, Exception):
            raise second
        return second

    monkeypatch.setattr(attempts, "_attempt", attempt)
    ear = Ear()
    plan = replace(PLAN, kernel=Kernel.AUTO)
    found = attempts.attempt(IMAGE, [], plan, ear)  # type: ignore[arg-type]
    assert ear.ended == [found]
    return found


def test_machine_that_cannot_be_had_leaves_the_verdict_of_the_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = HostError("'qemu-system-x86_64' is not installed", evidence="a line")
    found = attempted(monkeypatch, error)
    assert found.steps == RESULT.steps
    assert found.notes == (
        "a guest with a kernel of its own could not tell more: "
        "'qemu-system-x86_64' is not installed",
    )


def test_answer_of_a_machine_takes_the_place_of_the_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = replace(OPEN, outcome=Outcome.PASS, reason="active (running)", why=None, needs="")
    found = attempted(monkeypatch, replace(RESULT, steps=(replace(STEP, checks=(passed,)),)))
    (check,) = found.steps[0].checks
    assert (check.outcome, check.own_kernel) == (Outcome.PASS, True)
    assert found.notes == ()
