"""The administrator's choice: a unit that was disabled and stopped stays so through an upgrade.

The probe plays that: it disables what the package has enabled, goes through the step once more,
looks, and enables it again. Why a unit that is stopped only is not asked about: docs, "blame".
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
"""Seconds for a job of the guest's manager, which has time limits of its own."""


def running(guest: OwnGuest, own: Belongings) -> list[UnitState]:
    """Units of the packages that are active, each once."""
    names = sorted(name for name in own.units if not is_template(name))
    states = {state.name: state for state in read_states(guest, names)}
    return [state for state in states.values() if state.active == "active"]


def unwanted(states: Collection[UnitState]) -> list[str]:
    """Names of those that an administrator can disable."""
    return [state.name for state in states if state.file_state == "enabled"]


def ask(guest: OwnGuest, journey: Journey, step: StepName, active: Sequence[UnitState]) -> Answer:
    """Disable the units of `active` that can be, take the step again, and see what became of them.

    An upgrade needs the older package for that. All that was active is started again.
    """
    names = unwanted(active)
    _disable(guest, names)
    if step is StepName.UPGRADE:
        back = journey.take_again(StepName.DOWNGRADE)
        if back.blame:
            mended = journey.take(step)
            _restore(guest, names, [state.name for state in active])
            outcome = Outcome.ERROR if mended.blame else Outcome.SKIP
            return outcome, f"cannot go back to the older version: {back.blame.reason}"
    before = read_states(guest, names)
    if not all(map(is_off, before)):  # what the older package does is not under test
        _disable(guest, names)
        before = read_states(guest, names)
    done = journey.take_again(step)
    if done.blame:
        sentence = f"the {step} does not succeed with {', '.join(names)} disabled"
        return done.outcome, f"{sentence}: {done.blame.reason}"
    after = read_states(guest, names)
    down = _restore(guest, names, [state.name for state in active])
    return verdict(before, after, down, step)


def verdict(
    before: Sequence[UnitState], after: Sequence[UnitState], down: Sequence[str], step: StepName
) -> Answer:
    """Blame what has come back by the step, and what is `down` although it was started again."""
    troubles = [trouble(*pair, step) for pair in zip(before, after, strict=True)]
    troubles += [f"{name} does not start when it is enabled again" for name in down]
    if found := [text for text in troubles if text]:
        return Outcome.FAIL, "\n".join(found)
    names = [state.name for state in before if is_off(state)]
    if not names:
        return Outcome.SKIP, "the administrator cannot stop and disable any of them"
    return Outcome.PASS, f"{', '.join(names)} stay{'s'[: len(names) == 1]} disabled and stopped"


def trouble(before: UnitState, now: UnitState, step: StepName) -> str:
    """Say how a unit that was off has come back; '' if it has not."""
    if not is_off(before) or now.load == "not-found" or is_off(now):
        return ""
    enabled = "enabled, " if now.file_state in ENABLED else ""
    was = f"{before.name} was disabled and stopped before the {step}"
    return f"{was}, and is {enabled}{now.text} after it"


def is_off(state: UnitState) -> bool:
    """Whether a unit neither runs, nor is about to, nor is enabled."""
    return state.active in STOPPED and not state.has_job and state.file_state not in ENABLED


def _disable(guest: OwnGuest, names: Sequence[str]) -> None:
    argv = ["systemctl", "--quiet", "disable", "--now", "--", *names]
    guest.run(argv, ok=range(256), timeout=PATIENCE)


def _restore(guest: OwnGuest, enabled: Sequence[str], active: Sequence[str]) -> list[str]:
    """Enable and start units again; which of these have failed.

    Their starts so far are not counted against them (StartLimitBurst=, systemd.unit(5)).
    """
    for words in (("enable", "--", *enabled), ("reset-failed",), ("start", "--", *active)):
        guest.run(["systemctl", "--quiet", *words], ok=range(256), timeout=PATIENCE)
    return [state.name for state in read_states(guest, active) if state.active == "failed"]
