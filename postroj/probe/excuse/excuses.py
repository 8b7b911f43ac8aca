"""All excuses of one probe: what the raw result of a step or check becomes in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.excuse import emulated, expectations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.probe.excuse.expectations import Expectations
    from postroj.verdict import CheckResult, StepName, StepResult


class Excuses:
    """Decide which failures count against the packages; ask once about each result, in order."""

    def __init__(self, expected: Expectations, *, is_emulated: bool) -> None:
        self._expected = expected
        self._doubt = emulated.Doubt() if is_emulated else None

    def of_step(self, step: StepResult) -> StepResult:
        """Return a step as it is reported; its checks stay as they are."""
        if self._doubt:
            step = emulated.doubted_step(step)
        return expectations.excused_step(step, self._expected)

    def of_check(self, step: StepName, check: CheckResult) -> CheckResult:
        """Return a check after a step as it is reported."""
        if self._doubt:
            check = self._doubt.of_check(check)
        return expectations.excused_check(step, check, self._expected)

    def notes(self, steps: Sequence[StepResult], *, ended_early: bool) -> Iterator[str]:
        """Say what else a reader must know of these steps, which are not excused."""
        if self._doubt:
            yield emulated.NOTE
        yield from expectations.notes(steps, self._expected, ended_early=ended_early)
