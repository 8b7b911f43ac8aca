"""Excuse failures that the user expects on an image until a date.

As in pytest's `xfail`, an expected failure is a skip with a reason. If the subject passes instead,
a note asks to remove the expectation. An error is never excused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from postroj.verdict import CheckResult, StepName, StepResult


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A failure that the user expects on some images."""

    images: frozenset[str]
    """Names of the images in the catalog."""
    outcome: Outcome
    """`FAIL`, or `SKIP` if the image is not tried at all."""
    reason: str
    until: date
    """The last day on which the expectation holds."""
    expired: bool
    step: StepName | None = None
    """The only step that may fail; None for any."""
    checks: tuple[str, ...] = ()
    """Patterns of the subjects that may fail; empty for any subject and the step itself."""

    @property
    def summary(self) -> str:
        """The reason and the last day."""
        return f"{self.reason} (until {self.until})"

    def covers(self, step: StepName, subject: str | None) -> bool:
        """Whether a check of this subject may fail; None stands for the step itself."""
        if self.step not in (None, step):
            return False
        if not self.checks:
            return True
        return subject is not None and any(fnmatchcase(subject, glob) for glob in self.checks)


Expectations = tuple[Expectation, ...]


def of(expectations: Sequence[Expectation], image: str) -> Expectations:
    """Return the expectations for an image."""
    return tuple(one for one in expectations if image in one.images)


def skip(expectations: Sequence[Expectation], image: str) -> str:
    """Return why an image is not tried; '' if it is."""
    for one in of(expectations, image):
        if one.outcome is Outcome.SKIP and not one.expired:
            return f"not tried: {one.summary}"
    return ""


def excused_step(step: StepResult, expectations: Sequence[Expectation]) -> StepResult:
    """Turn the expected failure of a step into a skip; its checks do not change."""
    if step.done is Outcome.FAIL and (one := _covering(expectations, step.name, None)):
        return replace(step, done=Outcome.SKIP, reason=_excuse(one, step.reason))
    return step


def excused_check(
    step: StepName, check: CheckResult, expectations: Sequence[Expectation]
) -> CheckResult:
    """Turn the expected failure of a check into a skip."""
    if check.outcome is Outcome.FAIL and (one := _covering(expectations, step, check.subject)):
        return replace(check, outcome=Outcome.SKIP, reason=_excuse(one, check.reason))
    return check


def notes(
    steps: Sequence[StepResult], expectations: Sequence[Expectation], *, ended_early: bool
) -> Iterator[str]:
    """Yield notes about expectations that have expired or that these raw steps refute.

    A probe that `ended_early` because of an error refutes nothing.
    """
    for one in expectations:
        what = "be skipped" if one.outcome is Outcome.SKIP else "fail"
        if one.expired:
            yield f"no longer expected to {what} (expired on {one.until}): {one.reason}"
        elif one.outcome is Outcome.FAIL and not ended_early and _is_refuted(steps, one):
            yield f"expected to fail, but passed; remove the expectation: {one.summary}"


def _is_refuted(steps: Sequence[StepResult], expectation: Expectation) -> bool:
    """Whether something passed that was expected to fail, and nothing covered failed."""
    met = {step.done for step in steps if expectation.covers(step.name, None)}
    met |= {
        check.outcome
        for step in steps
        for check in step.checks
        if expectation.covers(step.name, check.subject)
    }
    unclear = {Outcome.FAIL, Outcome.ERROR}
    return Outcome.PASS in met and not met & unclear


def _covering(
    expectations: Sequence[Expectation], step: StepName, subject: str | None
) -> Expectation | None:
    """Return the first expectation that excuses a failure."""
    for one in expectations:
        if one.outcome is Outcome.FAIL and not one.expired and one.covers(step, subject):
            return one
    return None


def _excuse(expectation: Expectation, reason: str) -> str:
    return f"expected to fail: {expectation.summary}\n{reason}".rstrip()
