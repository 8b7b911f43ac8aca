"""Excuse units that a setting of their own package disables.

Some packages have a setting that says whether their unit is enabled, and their scripts disable the
unit while it is off. Users change that setting to enable the unit; postroj uses systemctl.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.verdict import CheckKind, Outcome, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from postroj.probe.compare.losses import Change
    from postroj.verdict import CheckResult


def excuse(
    found: Sequence[CheckResult],
    change: Change,
    enabled: Collection[str],
    ask_switch: Callable[[], str],
) -> list[CheckResult]:
    """Skip the losses of units that their package disables by a setting.

    `enabled` are the units that the step `start` has enabled, `ask_switch` names a setting of the
    packages that is off and makes their scripts disable units.
    """
    lost = [answer for answer in found if _is_disabled(answer, change, enabled)]
    if not lost or not (switch := ask_switch()):
        return [*found]
    why = f"postroj had enabled it, but its package disables it by a setting: {switch}"
    return [
        replace(answer, outcome=Outcome.SKIP, why=Why.POLICY, reason=f"{answer.reason}; {why}")
        if answer in lost
        else answer
        for answer in found
    ]


def _is_disabled(answer: CheckResult, change: Change, enabled: Collection[str]) -> bool:
    if answer.kind is not CheckKind.UNIT or answer.outcome is not Outcome.FAIL:
        return False
    unit = change.before.units.get(answer.subject)
    if unit is None or answer.subject not in enabled or not change.is_own(unit):
        return False
    now = change.state_of(unit)
    return now.file_state == "disabled" and now.active != "failed"
