"""Excuse each result once, so that audience and report get the same objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.probe.audience import Audience
    from postroj.probe.excuse.excuses import Excuses
    from postroj.verdict import CheckResult, Discovery, StepResult


@dataclass(frozen=True, kw_only=True)
class JudgedStep:
    """A step with its checks, before and after excuses.

    Excuses change the report, but not which steps are taken.
    """

    raw: StepResult
    """The step without excuses, which decides how the probe goes on."""
    reported: StepResult


class Announcer:
    """Excuse the results of a probe, and announce them to its audience."""

    def __init__(self, audience: Audience, excuses: Excuses) -> None:
        self._audience = audience
        self._excuses = excuses

    def begin_part(self, part: str) -> None:
        """Announce the part of the probe that begins now."""
        self._audience.begin_part(part)

    def end_step(self, step: StepResult) -> Announced:
        """Announce a step with its checks so far; more may follow."""
        reported = self._excuses.of_step(step)
        self._audience.end_step(reported)
        announced = Announced(replace(step, checks=()), reported, self._audience, self._excuses)
        for check in step.checks:
            announced.end_check(check)
        return announced


class Announced:
    """An announced step whose checks are being answered."""

    def __init__(
        self, raw: StepResult, reported: StepResult, audience: Audience, excuses: Excuses
    ) -> None:
        self._raw = raw
        self._reported = reported
        self._audience = audience
        self._excuses = excuses
        self._raw_checks: list[CheckResult] = []
        self._reported_checks: list[CheckResult] = []

    @property
    def has_bad_check(self) -> bool:
        """Whether a check has gone wrong so far, excused or not."""
        return any(check.outcome.is_bad for check in self._raw_checks)

    def end_check(self, check: CheckResult) -> None:
        """Excuse and announce an answer."""
        reported = self._excuses.of_check(self._raw.name, check)
        self._raw_checks.append(check)
        self._reported_checks.append(reported)
        self._audience.end_check(reported)

    def result(self, discovered: Discovery | None = None) -> JudgedStep:
        """Return the step with all checks that were announced."""
        raw = replace(self._raw, checks=tuple(self._raw_checks), discovered=discovered)
        checks = tuple(self._reported_checks)
        return JudgedStep(
            raw=raw, reported=replace(self._reported, checks=checks, discovered=discovered)
        )
