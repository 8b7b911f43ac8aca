"""Leave out units of others that have ended by themselves while a step ran.

Many services that D-Bus or a timer starts end after a minute without work. That has nothing to do
with the step during which the minute is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.journal import Event
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.probe.ask.journal import Entry
    from postroj.probe.compare.losses import Change
    from postroj.verdict import CheckResult


def leave_out(
    found: Sequence[CheckResult], change: Change, read_events: Callable[[], Sequence[Entry]]
) -> list[CheckResult]:
    """Return the losses without units of others that have ended with success, and without a job.

    `read_events` reads what systemd has recorded since the step began.
    """
    lost = [answer for answer in found if _has_ended(answer, change)]
    if not lost:
        return [*found]
    stopped = {entry.unit for entry in read_events() if entry.event is Event.STOPPING}
    return [answer for answer in found if answer not in lost or answer.subject in stopped]


def _has_ended(answer: CheckResult, change: Change) -> bool:
    unit = change.before.units.get(answer.subject)
    if answer.kind is not CheckKind.UNIT or unit is None or change.is_own(unit):
        return False
    now = change.state_of(unit)
    is_as_before = now.file_state == unit.file_state and now.load == unit.load
    has_success = not now.exit or now.exit.endswith("status 0")  # systemd may have forgotten it
    return is_as_before and now.active == "inactive" and has_success
