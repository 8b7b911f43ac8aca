"""Check a unit: whether it is up, stays up, and what it triggers or listens on works."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask import activation, conditions, exited, journal, sockets
from postroj.probe.ask.judge import Decided, failed, passed, unloaded, watch
from postroj.probe.ask.unitstate import read_states, unit_name
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState


def check(guest: Guest, subject: str, *, settle: float, deadline: Deadline) -> tuple[Outcome, str]:
    """Check a unit until the answer is final or the deadline passes.

    Return the outcome and the reason, with the unit's journal after a failure.
    """
    name = unit_name(subject)
    answer, state = watch(guest, name, settle=settle, deadline=deadline)
    if answer.outcome is Outcome.PASS:
        answer = _check_active(guest, state, answer, settle, deadline)
    elif state.load == "loaded":
        answer = _name_unmet(guest, state, answer)
    if answer.outcome is not Outcome.FAIL:
        return answer.outcome, answer.sentence
    evidence = journal.last(guest, name) if state.load == "loaded" else ""
    return answer.outcome, "\n".join(part for part in (answer.sentence, evidence) if part)


def _check_active(
    guest: Guest, state: UnitState, answer: Decided, settle: float, deadline: Deadline
) -> Decided:
    """Check further that an active unit works, and add where it listens."""
    if state.is_stale:
        return failed(f"{answer.sentence}, but its file has changed without a daemon-reload")
    if state.sub == "exited" and (dead := exited.judge(guest, state, answer)):
        return dead
    if state.triggers and not state.accept:
        for triggered in read_states(guest, state.triggers):
            if triggered.load != "loaded":
                return failed(
                    f"{answer.sentence}, but it triggers {triggered.name}: {unloaded(triggered)}"
                )
    if state.name.endswith(".socket"):
        return activation.check_socket(guest, state, answer, settle=settle, deadline=deadline)
    addresses = sockets.addresses(sockets.of_units(sockets.listening(guest), state.names))
    return passed(f"{answer.sentence}, listens on {addresses}") if addresses else answer


def _name_unmet(guest: Guest, state: UnitState, answer: Decided) -> Decided:
    """Add the conditions or assertions that kept a unit from starting."""
    found = conditions.describe(guest, state) if state.active == "inactive" else ""
    return replace(answer, sentence=f"{answer.sentence}: {found}") if found else answer
