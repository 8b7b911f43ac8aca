"""Answers of a machine in place of those that a container could not give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroj.probe import recourse
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Evidence,
    EvidenceName,
    Outcome,
    ProbeResult,
    StepName,
    StepResult,
    Why,
)


def check(subject: str, outcome: Outcome, **more: Any) -> CheckResult:
    """Return a check of a unit."""
    fields: dict[str, Any] = {"reason": f"{subject} {outcome}", "seconds": 0.0}
    fields |= {"kind": CheckKind.UNIT} | more
    return CheckResult(subject=subject, outcome=outcome, **fields)


def lacking(subject: str, needs: str = "a clock") -> CheckResult:
    """Return a check that a container could not answer."""
    return check(subject, Outcome.SKIP, why=Why.CONTAINER, needs=needs)


def probe(*checks: CheckResult, **more: Any) -> ProbeResult:
    """Return a probe with one step."""
    step: dict[str, Any] = {
        "name": StepName.INSTALL,
        "done": Outcome.PASS,
        "reason": "done",
        "seconds": 1.0,
    }
    step |= {name: more.pop(name) for name in [*more] if name in ("done", "needs", "evidence")}
    steps = (StepResult(checks=checks, **step),)
    return ProbeResult(image="i", package="p", steps=steps, timings={"total": 2.0}, **more)


def test_machine_is_wanted_only_for_what_a_container_could_not_show() -> None:
    assert not recourse.is_wanted(probe(check("a", Outcome.PASS), check("b", Outcome.FAIL)))
    assert not recourse.is_wanted(probe(check("a", Outcome.SKIP)))
    assert recourse.is_wanted(probe(check("a", Outcome.PASS), lacking("b")))
    assert recourse.is_wanted(probe(done=Outcome.SKIP, needs="a module"))


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_answer_of_the_machine_takes_the_place_of_a_skip(outcome: Outcome) -> None:
    first = probe(check("a", Outcome.PASS), lacking("b"))
    found = recourse.merged(first, probe(check("a", Outcome.PASS), check("b", outcome)))
    a, b = found.steps[0].checks
    assert not a.own_kernel
    assert (b.outcome, b.own_kernel, b.needs) == (outcome, True, "")
    assert b.reason == (f"b {outcome}; in a guest with a kernel of its own, since it needs a clock")
    assert found.outcome is outcome
    assert found.timings == {"total": 4.0, "machine": 2.0}


def test_evidence_of_a_reason_stays_below_its_sentence() -> None:
    answer = check("b", Outcome.FAIL, reason="it failed\nline 1\nline 2")
    (found,) = recourse.merged(probe(lacking("b")), probe(answer)).steps[0].checks
    assert found.reason.splitlines() == [
        "it failed; in a guest with a kernel of its own, since it needs a clock",
        "line 1",
        "line 2",
    ]


def test_what_the_container_has_judged_stays() -> None:
    first = probe(check("a", Outcome.PASS), check("b", Outcome.FAIL), lacking("c"))
    second = probe(*(check(name, Outcome.FAIL) for name in "abc"))
    found = recourse.merged(first, second)
    assert [one.own_kernel for one in found.steps[0].checks] == [False, False, True]
    assert found.notes == (
        "in a guest with a kernel of its own this did not pass: unit a after install",
    )


def test_skip_for_another_reason_gives_way_to_a_pass_only() -> None:
    first = probe(check("a", Outcome.SKIP), check("b", Outcome.SKIP), lacking("c"))
    second = probe(check("a", Outcome.PASS), check("b", Outcome.FAIL), check("c", Outcome.PASS))
    found = recourse.merged(first, second).steps[0].checks
    assert [one.outcome for one in found] == [Outcome.PASS, Outcome.SKIP, Outcome.PASS]


def test_skip_of_a_later_step_goes_if_the_machine_had_no_reason_to_ask_again() -> None:
    def steps(*checks: tuple[CheckResult, ...]) -> ProbeResult:
        names = (StepName.INSTALL, StepName.START)
        rows = zip(names, checks, strict=True)
        taken = [replace(probe(*some).steps[0], name=name) for name, some in rows]
        return replace(probe(), steps=tuple(taken))

    first = steps((lacking("a"), lacking("b")), (lacking("a"), lacking("b"), lacking("c")))
    second = steps((check("a", Outcome.PASS), check("b", Outcome.FAIL)), ())
    install, start = recourse.merged(first, second).steps
    assert [one.outcome for one in install.checks] == [Outcome.PASS, Outcome.FAIL]
    assert start.checks == (lacking("c"),)


def test_checks_that_only_a_machine_has_are_added() -> None:
    second = probe(check("b", Outcome.PASS), check("tcp:1", Outcome.PASS, kind=CheckKind.NETWORK))
    found = recourse.merged(probe(lacking("b")), second).steps[0].checks
    assert [one.subject for one in found] == ["b", "tcp:1"]
    assert found[1].reason.endswith("; in a guest with a kernel of its own")
    assert all(one.own_kernel for one in found)


def test_step_that_a_container_could_not_take() -> None:
    evidence = (Evidence(name=EvidenceName.JOURNAL, text="its journal"),)
    first = probe(done=Outcome.SKIP, needs="a module")
    found = recourse.merged(first, probe(done=Outcome.FAIL, evidence=evidence)).steps[0]
    assert (found.done, found.own_kernel, found.evidence) == (Outcome.FAIL, True, evidence)
    assert found.reason.endswith("since it needs a module")


def test_machine_that_failed_leaves_the_skip_and_a_note() -> None:
    first = probe(lacking("b"))
    failed = ProbeResult(image="i", package="p", reason="it did not boot\nconsole")
    found = recourse.merged(first, failed)
    assert found.steps == first.steps
    assert found.notes == ("a guest with a kernel of its own could not tell more: it did not boot",)


class Recorder:
    """An audience that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin_probe(self, image: str, package: str) -> None:
        """Note it."""
        self.heard.append("begin")

    def begin_part(self, part: str) -> None:
        """Note it."""
        self.heard.append(part)

    def end_step(self, step: StepResult) -> None:
        """Note it."""
        self.heard.append(f"step {step.name}")

    def end_check(self, check: CheckResult) -> None:
        """Note it."""
        self.heard.append(f"check {check.subject}")

    def end_probe(self, probe: ProbeResult) -> None:
        """Note it."""
        self.heard.append("end")


def test_audience_hears_each_answer_once() -> None:
    recorder = Recorder()
    first, second = recourse.FirstAudience(recorder), recourse.SecondAudience(recorder)
    one, other = probe(check("a", Outcome.PASS), lacking("b")), probe(check("b", Outcome.PASS))
    for audience, result in ((first, one), (second, other)):
        audience.begin_probe("i", "p")
        audience.begin_part("boot")
        for step in result.steps:
            audience.end_step(step)
            for answer in step.checks:
                audience.end_check(answer)
        audience.end_probe(result)
    recourse.announce(recourse.merged(one, other), recorder)
    assert recorder.heard == [
        *("begin", "boot", "step install", "check a", "check b"),
        *("boot", "check b"),
    ]
