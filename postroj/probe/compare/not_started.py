"""Find units that a maintainer script enabled only after it had meant to start them.

deb-systemd-invoke starts no unit that is disabled, and says so. If the script enables the unit
afterwards, it does not run until the next boot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import ENABLED, is_template, read_states
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Answer
    from postroj.probe.ask.unitstate import UnitState

QUESTION = Question(kind=CheckKind.SYSTEM, subject="enabled before started", is_found=True)


def ask(guest: Guest, names: Sequence[str]) -> Answer:
    """Fail for units that were `not started` as they were disabled, and that are enabled now."""
    states = read_states(guest, [name for name in names if not is_template(name)])
    late = [state.name for state in states if is_late(state)]
    if not late:
        return Outcome.PASS, "none"
    does = "does" if len(late) == 1 else "do"
    sentence = f"{', '.join(late)} {does} not run until the next boot"
    return Outcome.FAIL, f"{sentence}: a maintainer script starts before it enables"


def is_late(state: UnitState) -> bool:
    """Whether a unit is enabled, and nothing has started it or will start it on demand."""
    is_enabled = state.load == "loaded" and state.file_state in ENABLED
    return is_enabled and not (state.started or state.has_job or state.triggered_by)
