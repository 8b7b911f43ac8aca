"""What is known to fail on an image, or not to be worth a try there, and until when that is so.

As pytest has it: what fails as expected is a skip with a reason, what passes all the same passes,
and it is said that nobody need expect its failure any more. What is `error` is never excused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from postroj.probe.audience import Audience
    from postroj.verdict import CheckResult, ProbeResult, StepName, StepResult


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What somebody expects of a package on some images."""

    images: frozenset[str]
    """Their names in the catalog."""
    outcome: Outcome
    """`FAIL`, or `SKIP`: it is not even tried."""
    reason: str
    until: date
    """The last day on which it holds."""
    expired: bool
    step: StepName | None = None
    """The only step that is expected to fail; None for any."""
    checks: tuple[str, ...] = ()
    """Patterns of the subjects that are expected to fail; none for any, and the step itself."""

    @property
    def told(self) -> str:
        """The reason, and for how long it is one."""
        return f"{self.reason} (until {self.until})"

    def covers(self, step: StepName, subject: str | None) -> bool:
        """Whether it is about a check on this subject, or with None about the step itself."""
        if self.step not in (None, step):
            return False
        if not self.checks:
            return True
        return subject is not None and any(fnmatchcase(subject, glob) for glob in self.checks)


Expectations = tuple[Expectation, ...]


def of(expectations: Sequence[Expectation], image: str) -> Expectations:
    """Return those about an image."""
    return tuple(one for one in expectations if image in one.images)


def skip(expectations: Sequence[Expectation], image: str) -> str:
    """Say why an image is not to be tried; '' if it is."""
    for one in of(expectations, image):
        if one.outcome is Outcome.SKIP and not one.expired:
            return f"not tried: {one.told}"
    return ""


def excused_step(step: StepResult, expectations: Sequence[Expectation]) -> StepResult:
    """Return a step whose failure is a skip, if it was expected; its checks stay as they are."""
    if step.done is Outcome.FAIL and (one := _covering(expectations, step.name, None)):
        return replace(step, done=Outcome.SKIP, reason=_excuse(one, step.reason))
    return step


def excused_check(
    step: StepName, check: CheckResult, expectations: Sequence[Expectation]
) -> CheckResult:
    """Return a check whose failure is a skip, if it was expected."""
    if check.outcome is Outcome.FAIL and (one := _covering(expectations, step, check.subject)):
        return replace(check, outcome=Outcome.SKIP, reason=_excuse(one, check.reason))
    return check


def excused(probe: ProbeResult, expectations: Sequence[Expectation]) -> ProbeResult:
    """Return a probe whose expected failures are skips, and what is to be said of the others."""
    steps = tuple(
        replace(
            excused_step(step, expectations),
            checks=tuple(excused_check(step.name, check, expectations) for check in step.checks),
        )
        for step in probe.steps
    )
    return replace(probe, steps=steps, notes=(*probe.notes, *_notes(probe, expectations)))


class Excusing:
    """An audience that hears expected failures as skips."""

    def __init__(self, audience: Audience, expectations: Sequence[Expectation]) -> None:
        self._audience = audience
        self._expectations = expectations
        self._step: StepName | None = None

    def begin_probe(self, image: str, package: str) -> None:
        """Hear that a probe begins."""
        self._audience.begin_probe(image, package)

    def begin_part(self, part: str) -> None:
        """Hear what takes a while now."""
        self._audience.begin_part(part)

    def end_step(self, step: StepResult) -> None:
        """Hear how a step went; its checks follow."""
        self._step = step.name
        self._audience.end_step(excused_step(step, self._expectations))

    def end_check(self, check: CheckResult) -> None:
        """Hear an answer."""
        assert self._step
        self._audience.end_check(excused_check(self._step, check, self._expectations))

    def end_probe(self, probe: ProbeResult) -> None:
        """Hear the verdict, which is what `excused` has made of it."""
        self._audience.end_probe(probe)


def _covering(
    expectations: Sequence[Expectation], step: StepName, subject: str | None
) -> Expectation | None:
    """Return the first that excuses a failure."""
    for one in expectations:
        if one.outcome is Outcome.FAIL and not one.expired and one.covers(step, subject):
            return one
    return None


def _excuse(expectation: Expectation, reason: str) -> str:
    return f"expected to fail: {expectation.told}\n{reason}".rstrip()


def _notes(probe: ProbeResult, expectations: Sequence[Expectation]) -> Iterator[str]:
    """Say which expectations have expired, and which can go."""
    for one in expectations:
        what = "be skipped" if one.outcome is Outcome.SKIP else "fail"
        if one.expired:
            yield f"no longer expected to {what}, as that expired on {one.until}: {one.reason}"
        elif one.outcome is Outcome.FAIL and _has_come_true(probe, one):
            yield f"expected to fail, but passed, the expectation can go: {one.told}"


def _has_come_true(probe: ProbeResult, expectation: Expectation) -> bool:
    """Whether all went well that was expected to fail."""
    met = {step.done for step in probe.steps if expectation.covers(step.name, None)}
    met |= {
        check.outcome
        for step in probe.steps
        for check in step.checks
        if expectation.covers(step.name, check.subject)
    }
    unclear = {Outcome.FAIL, Outcome.ERROR}
    return not probe.reason and Outcome.PASS in met and not met & unclear
