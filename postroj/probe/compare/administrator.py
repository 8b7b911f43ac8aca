"""Check that a step respects the administrator: disabled and stopped units stay off.

The probe disables the units that the package has enabled, installs the same version once more,
reads their states and enables them again. For the scripts of the packages a reinstallation is an
upgrade; to go back to an older version, as nobody has asked for, could fail for good reasons.
docs/explanation/blame.rst explains why units that are only stopped are not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import ENABLED, is_template, read_states
from postroj.verdict import CheckKind, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.ask.checks import Answer
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.gone import Belongings
    from postroj.probe.steps import Journey

QUESTION = Question(kind=CheckKind.SYSTEM, subject="no disabled unit comes back", is_found=True)
STOPPED = ("inactive", "failed")
PATIENCE = 180.0
"""Timeout of one systemctl command, in seconds; the manager has its own limits for jobs."""


def active_units(guest: OwnGuest, belongings: Belongings) -> list[UnitState]:
    """Return the active units of the packages, each once."""
    names = sorted(name for name in belongings.units if not is_template(name))
    states = {state.name: state for state in read_states(guest, names)}
    return [state for state in states.values() if state.active == "active"]


def can_be_disabled(states: Collection[UnitState]) -> list[str]:
    """Return the names of the units that an administrator can disable."""
    return [state.name for state in states if state.file_state == "enabled"]


def _triggers(guest: OwnGuest, active: Sequence[UnitState]) -> list[UnitState]:
    """Return the enabled units that trigger `active` units and are none of them."""
    known = {state.name for state in active}
    names = sorted({name for state in active for name in state.triggered_by} - known)
    states = read_states(guest, names) if names else []
    return [state for state in states if state.file_state == "enabled"]


def ask(guest: OwnGuest, journey: Journey, active: Sequence[UnitState]) -> Answer:
    """Disable the `active` units where possible, install again, and judge their new states.

    An administrator also disables the sockets and timers that would start such a unit.

    At the end, start all `active` units again, and those triggers that were active.
    """
    triggers, step = _triggers(guest, active), StepName.REINSTALL
    names = [*can_be_disabled(active), *(state.name for state in triggers)]
    _disable(guest, names)
    before = read_states(guest, names)
    done = journey.take_again()
    if done.blame:
        sentence = f"the {step} fails with {', '.join(names)} disabled"
        return done.outcome, f"{sentence}: {done.blame.reason}"
    after = read_states(guest, names)
    ran = [state.name for state in (*triggers, *active) if state.active == "active"]
    down = _restore(guest, names, ran)
    return judge(before, after, down, step)


def judge(
    before: Sequence[UnitState], after: Sequence[UnitState], down: Sequence[str], step: StepName
) -> Answer:
    """Fail if the step has brought a unit back, or if a unit is `down` after its new start."""
    problems = [describe_return(*pair, step) for pair in zip(before, after, strict=True)]
    problems += [f"{name} does not start when it is enabled again" for name in down]
    if found := [text for text in problems if text]:
        return Outcome.FAIL, "\n".join(found)
    names = [state.name for state in before if is_off(state)]
    if not names:
        return Outcome.SKIP, "none of the units can be stopped and disabled"
    return Outcome.PASS, f"{', '.join(names)} stay{'s'[: len(names) == 1]} disabled and stopped"


def describe_return(before: UnitState, now: UnitState, step: StepName) -> str:
    """Describe how a unit that was off has come back; '' if it has not."""
    if not is_off(before) or now.load == "not-found" or is_off(now):
        return ""
    enabled = "enabled, " if now.file_state in ENABLED else ""
    was = f"{before.name} was disabled and stopped before the {step}"
    return f"{was}, but is {enabled}{now.text} after it"


def is_off(state: UnitState) -> bool:
    """Whether a unit is neither active nor enabled, and has no job."""
    return state.active in STOPPED and not state.has_job and state.file_state not in ENABLED


def _disable(guest: OwnGuest, names: Sequence[str]) -> None:
    """Disable and stop units; those that cannot be are found by their states afterwards."""
    argv = ["systemctl", "--quiet", "disable", "--now", "--", *names]
    guest.run(argv, ok=range(256), timeout=PATIENCE)


def _restore(guest: OwnGuest, enabled: Sequence[str], active: Sequence[str]) -> list[str]:
    """Enable and start units again; return the names of those that failed.

    `reset-failed` clears the count of earlier starts (StartLimitBurst=, systemd.unit(5)).
    """
    for argv in (("enable", "--", *enabled), ("reset-failed",), ("start", "--", *active)):
        guest.run(["systemctl", "--quiet", *argv], ok=range(256), timeout=PATIENCE)
    return [state.name for state in read_states(guest, active) if state.active == "failed"]
