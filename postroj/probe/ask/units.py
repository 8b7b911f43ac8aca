"""Check a unit: whether it is up, stays up, and what it triggers or listens on works."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask import activation, conditions, exited, journal, sockets
from postroj.probe.ask.judge import Decided, failed, not_wanted, passed, skipped, unloaded, watch
from postroj.probe.ask.unitstate import read_states, unit_name
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState

DEEPEST = 4
"""Maximum number of units in a chain of dependencies."""


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
        if answer.outcome is Outcome.FAIL and _is_untried(state):
            answer = _excuse(guest, state, answer, deadline)
    if answer.outcome is not Outcome.FAIL:
        return answer.outcome, answer.sentence
    evidence = journal.last(guest, name) if state.load == "loaded" else ""
    if _is_untried(state) and evidence:
        evidence = journal.last(guest, name, this_boot=True)
        answer = _ended(state) if journal.tells_end(evidence) else answer
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


def _ended(state: UnitState) -> Decided:
    """Judge a unit that has ended, which only its journal records."""
    if state.kind == "oneshot":
        return passed(f"{state.text}, has done its work, as its journal says")
    return failed(f"{state.text}, it has ended by itself")


def _is_untried(state: UnitState) -> bool:
    return state.active == "inactive" and not state.started


def _excuse(guest: Guest, state: UnitState, answer: Decided, deadline: Deadline) -> Decided:
    """Skip a unit whose absence harms nobody.

    Either it is bound to a unit that asked not to be started, or it is a socket whose running
    service listens there itself.
    """
    holder = _holder(guest, state)
    if not holder and state.name.endswith(".socket"):
        name = activation.takes_over(guest, state, deadline)
        return skipped(f"{answer.sentence}, as {name} listens there itself") if name else answer
    if not holder:
        return answer
    cause = _name_unmet(guest, holder, skipped(not_wanted(holder))).sentence
    return skipped(f"{answer.sentence}, as {holder.name} is not up, because {cause}")


def _holder(
    guest: Guest, state: UnitState, above: frozenset[str] = frozenset()
) -> UnitState | None:
    """Return the unit that asked not to be started and so keeps this one from starting.

    With Requires= alone, an unmet condition of the required unit keeps nothing else from starting.
    """
    others = [name for name in (*state.bound_to, *state.requires) if name not in above]
    states = [one for one in read_states(guest, others) if _is_untried(one)] if others else []
    for one in states:
        if one.name in state.bound_to and not_wanted(one):
            return one
    if len(above) < DEEPEST:
        for one in states:
            if found := _holder(guest, one, above | {state.name}):
                return found
    return None
