"""Join two probes of the same packages: what a container could not show, a machine has answered.

The report keeps the container's answers, apart from those that it could not give.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.verdict import Outcome, Why

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from postroj.probe.audience import Audience
    from postroj.verdict import CheckKind, CheckResult, ProbeResult, StepResult

ANSWERED = "{}; in a guest with a kernel of its own"
NEEDED = ", since it needs {}"
FAILED = "a guest with a kernel of its own could not tell more: {}"
DIFFERS = "in a guest with a kernel of its own this did not pass: {}"
SHOWN = 5
"""Most checks that a note names."""


def is_wanted(result: ProbeResult) -> bool:
    """Whether a container could not show something that a machine may."""
    return any(_is_open(step) or any(map(_is_open, step.checks)) for step in result.steps)


def _is_open(answer: StepResult | CheckResult) -> bool:
    return bool(answer.needs) or getattr(answer, "why", None) is Why.CONTAINER


def with_failure(first: ProbeResult, reason: str) -> ProbeResult:
    """Return the result of the container, with a note that says why a machine gave none."""
    return replace(first, notes=(*first.notes, FAILED.format(reason.partition("\n")[0])))


def merged(first: ProbeResult, second: ProbeResult) -> ProbeResult:
    """Return the result of the container, with the answers of the machine that it lacks."""
    if second.reason:
        first = with_failure(first, second.reason)
    notes = list(first.notes)
    by_name = {step.name: step for step in second.steps}
    told = {key for step in second.steps for key in _answers(step)}
    steps = []
    for step in first.steps:
        there = by_name.get(step.name)
        steps.append(_merged_step(step, there, told) if there else step)
    if others := [*_others(first, second)]:
        notes.append(DIFFERS.format(", ".join(others[:SHOWN])))
    timings = {**first.timings, "machine": second.timings.get("total", 0.0)}
    timings["total"] = first.timings.get("total", 0.0) + timings["machine"]
    return replace(first, steps=tuple(steps), notes=tuple(notes), timings=timings)


def _answers(step: StepResult) -> dict[tuple[CheckKind, str], CheckResult]:
    return {(check.kind, check.subject): check for check in step.checks}


def _merged_step(
    step: StepResult, there: StepResult, told: Collection[tuple[CheckKind, str]]
) -> StepResult:
    """Join the same step of both; `told` is what the machine has answered after any step.

    It may not have asked again after this one, for example where there was nothing to start.
    """
    answers = _answers(there)
    checks = []
    for check in step.checks:
        key = (check.kind, check.subject)
        answer = answers.get(key)
        if answer and (_is_open(check) or _is_passed_now(check, answer)):
            checks.append(_of_machine(answer, check.needs))
        elif answer or not _is_open(check) or key not in told:
            checks.append(check)
    known = _answers(step)
    if _is_open(step) or any(
        map(_is_open, step.checks)
    ):  # what it has started may have sockets, too
        checks += [_of_machine(answer, "") for key, answer in answers.items() if key not in known]
    if _is_open(step):
        reason = _answered(there.reason, step.needs)
        evidence = there.evidence or step.evidence
        step = replace(there, reason=reason, evidence=evidence, own_kernel=True)
    elif any(check.own_kernel and check.outcome.is_bad for check in checks):
        step = replace(step, evidence=(*step.evidence, *there.evidence))
    return replace(step, checks=tuple(checks))


def _is_passed_now(check: CheckResult, answer: CheckResult) -> bool:
    """Whether a container could not come to a verdict for another reason, and a machine could."""
    return check.outcome is Outcome.SKIP and answer.outcome is Outcome.PASS


def _of_machine(answer: CheckResult, needs: str) -> CheckResult:
    sentence, newline, evidence = answer.reason.partition("\n")
    reason = f"{_answered(sentence, needs)}{newline}{evidence}"
    return replace(answer, reason=reason, own_kernel=True)


def _answered(sentence: str, needs: str) -> str:
    return ANSWERED.format(sentence) + (NEEDED.format(needs) if needs else "")


def _others(first: ProbeResult, second: ProbeResult) -> Iterator[str]:
    """Yield the subjects of checks that a container passed and a machine did not."""
    passed = {
        (step.name, check.kind, check.subject)
        for step in first.steps
        for check in step.checks
        if check.outcome is Outcome.PASS
    }
    for step in second.steps:
        for check in step.checks:
            if check.outcome.is_bad and (step.name, check.kind, check.subject) in passed:
                yield f"{check.kind} {check.subject} after {step.name}"


def announce(result: ProbeResult, audience: Audience) -> None:
    """Tell an audience what a machine has answered."""
    for step in result.steps:
        if step.own_kernel:
            audience.end_step(step)
        for check in step.checks:
            if check.own_kernel:
                audience.end_check(check)


class FirstAudience:
    """Forward the events of the container's probe, apart from its end."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def begin_probe(self, image: str, package: str) -> None:
        """Forward the beginning."""
        self._audience.begin_probe(image, package)

    def begin_part(self, part: str) -> None:
        """Forward the beginning of a part."""
        self._audience.begin_part(part)

    def end_step(self, step: StepResult) -> None:
        """Forward a step."""
        self._audience.end_step(step)

    def end_check(self, check: CheckResult) -> None:
        """Forward an answer."""
        self._audience.end_check(check)

    def end_probe(self, probe: ProbeResult) -> None:
        """Ignore the end: more may follow."""


class SecondAudience(FirstAudience):
    """Forward only the parts of the machine's probe, as its answers are joined first."""

    def begin_probe(self, image: str, package: str) -> None:
        """Ignore the beginning: it is no other probe."""

    def end_step(self, step: StepResult) -> None:
        """Ignore a step."""

    def end_check(self, check: CheckResult) -> None:
        """Ignore an answer."""
