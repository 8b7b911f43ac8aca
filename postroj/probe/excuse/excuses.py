"""Apply the excuses of one probe: turn raw results of steps and checks into reported ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import unit_name
from postroj.probe.course import LEAVING
from postroj.probe.excuse import container, emulated, expectations
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.excuse.expectations import Expectations
    from postroj.verdict import CheckResult, StepName, StepResult


class Excuses:
    """Decide which failures count against the packages; ask once about each result, in order."""

    def __init__(self, expected: Expectations, *, is_emulated: bool) -> None:
        self._expected = expected
        self._doubt = emulated.Doubt() if is_emulated else None
        self._needs: dict[str, str] = {}
        """What each unit lacks in the container, when it was last judged before a removal."""
        self.guest: Guest | None = None
        """The guest of the probe, once it runs."""

    def of_step(self, step: StepResult) -> StepResult:
        """Return the reported form of a step; its checks do not change."""
        if self._doubt:
            step = emulated.doubted_step(step)
        if self.guest and not self.guest.has_own_kernel:
            step = container.excused_step(self.guest, step)
        return expectations.excused_step(step, self._expected)

    def of_check(self, step: StepName, check: CheckResult) -> CheckResult:
        """Return the reported form of a check after a step."""
        if self._doubt:
            check = self._doubt.of_check(check)
        if self.guest and not self.guest.has_own_kernel:
            check = container.excused_check(self.guest, check)
        if check.kind is not CheckKind.UNIT:
            check = container.excused_remains(check, self._needs) if step in LEAVING else check
        elif check.needs:
            self._needs[unit_name(check.subject)] = check.needs
        elif check.outcome is Outcome.PASS and step not in LEAVING:
            self._needs.pop(unit_name(check.subject), None)  # it has what it needs now
        return expectations.excused_check(step, check, self._expected)

    def notes(self, steps: Sequence[StepResult], *, ended_early: bool) -> Iterator[str]:
        """Yield notes about the raw steps for the reader of the report."""
        if self._doubt:
            yield emulated.NOTE
        yield from expectations.notes(steps, self._expected, ended_early=ended_early)
