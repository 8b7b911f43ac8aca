"""Judge whether a unit is up, from properties of systemd and never from its messages.

`judge` is a pure function; `watch` reads the unit again until `judge` decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import read_state
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState

INTERVAL = 0.2
"""Seconds between two readings of a unit that is still changing."""

LOOP = 2
"""Number of restarts, at least one of them during a check, that make a crash loop."""
MANY = 5
"""Number of restarts that make a crash loop even before a check; systemd itself gives up after so
many in 10 s (StartLimitBurst=, systemd.unit(5))."""
TROUBLED = 4
"""Factor by which a unit that has been restarted must stay up longer."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A final answer about a unit."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """No answer yet: read again after `seconds`; `sentence` is the failure if time runs out."""

    seconds: float
    sentence: str
    settling: bool = False
    """Whether the unit is up and only has to stay up."""


def judge(state: UnitState, first: UnitState, *, now: float, settle: float) -> Decided | Undecided:
    """Judge whether a unit is up and stays up, given its `first` state in this check.

    A unit that did not start because of a condition is a skip: it was never tried.
    """
    if state.load != "loaded":
        return failed(unloaded(state))
    if loop := _describe_loop(state, first):
        return failed(f"crash loop: {loop}{_how(state)}")
    match state.active:
        case "active":
            return _judge_active(state, now=now, settle=settle)
        case "failed":
            given_up = f"crash loop: given up after {state.restarts} restarts, "
            loop = given_up if state.restarts else ""
            return failed(f"{loop}failed (result '{state.result}'){_how(state)}")
        case "inactive" if not state.has_job:
            return _judge_inactive(state)
        case _:
            crashed = f"{_how(state)}" if state.sub == "auto-restart" else ""
            return Undecided(seconds=INTERVAL, sentence=f"still {state.text}{crashed}")


def _describe_loop(state: UnitState, first: UnitState) -> str:
    """Describe how often a unit was restarted; '' unless that is a crash loop."""
    restarted = state.restarts - first.restarts
    if restarted >= LOOP:
        return f"restarted {_times(restarted)} during the check"
    if restarted and state.restarts >= LOOP:
        return f"restarted {_times(state.restarts)}, once during the check"
    if first.restarts >= MANY and state.active != "failed":
        return f"restarted {_times(first.restarts)} before the check"
    return ""


def unloaded(state: UnitState) -> str:
    """Explain why systemd has not loaded a unit."""
    sentences = {"not-found": "there is no such unit", "masked": "the unit is masked"}
    return sentences.get(state.load, f"the unit could not be loaded ({state.load})")


def _judge_active(state: UnitState, *, now: float, settle: float) -> Decided | Undecided:
    if state.name.endswith(".timer") and state.sub == "elapsed" and not state.elapsed:
        return failed(f"{state.text}, but it will never elapse")
    stays = now - state.since
    settle *= TROUBLED if state.restarts else 1
    if stays < settle:
        sentence = f"{state.text}, but has not stayed active for {settle:g} s{_restarts(state)}"
        return Undecided(seconds=settle - stays, sentence=sentence, settling=True)
    pid = f", main PID {state.main_pid}" if state.main_pid else ""
    return passed(f"{state.text}{pid}{_restarts(state)}")


def _judge_inactive(state: UnitState) -> Decided:
    if cause := not_wanted(state):
        return skipped(f"{state.text}, not started, because {cause}")
    if state.kind == "oneshot" and state.exit and state.result == "success":
        return passed(f"{state.text}, has done its work, its main process {state.exit}")
    return failed(f"{state.text}{_how(state)}" if state.exit else f"{state.text}, not started")


def not_wanted(state: UnitState) -> str:
    """Return why a unit itself asked not to be started here; '' if it did not.

    A condition is a precondition of its author, an assertion one of its administrator.
    """
    if state.result == "exec-condition":  # systemd calls that an unmet condition, too
        return "its ExecCondition= is not met"
    if state.unmet_condition:
        return "a condition is not met"
    return "an assertion is not met" if state.unmet_assertion else ""


def passed(sentence: str) -> Decided:
    """Return a passing answer."""
    return Decided(outcome=Outcome.PASS, sentence=sentence)


def failed(sentence: str) -> Decided:
    """Return a failing answer."""
    return Decided(outcome=Outcome.FAIL, sentence=sentence)


def skipped(sentence: str) -> Decided:
    """Return an answer for a unit that is not to be judged."""
    return Decided(outcome=Outcome.SKIP, sentence=sentence)


def _how(state: UnitState) -> str:
    return f", its main process {state.exit}" if state.exit else ""


def _restarts(state: UnitState) -> str:
    return f", restarted {_times(state.restarts)}" if state.restarts else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def watch(
    guest: Guest, name: str, *, settle: float, deadline: Deadline, first: UnitState | None = None
) -> tuple[Decided, UnitState]:
    """Read a unit until the answer is final or the deadline passes; return its last state, too.

    `first` is its state in an earlier check, if restarts since then count.
    """
    state = read_state(guest, name)
    first = first or state
    settling: set[float] = set()
    was_idle = False
    while True:
        answer = judge(state, first, now=time.monotonic(), settle=settle)
        if _was_not_started(state, answer) and not was_idle:
            # another unit may be about to start it, or to fail and take it along
            was_idle = True
            if deadline.wait(settle):
                state = read_state(guest, name)
                continue
        if isinstance(answer, Decided):
            return answer, state
        if answer.settling and state.since not in settling and len(settling) <= LOOP:
            # it came up in time, so it gets the time to settle
            deadline.extend(answer.seconds + INTERVAL)
            settling.add(state.since)
        if not deadline.wait(answer.seconds):
            return failed(f"{answer.sentence} after {deadline.seconds:g} s"), state
        state = read_state(guest, name)


def _was_not_started(state: UnitState, answer: Decided | Undecided) -> bool:
    is_idle = state.load == "loaded" and state.active == "inactive" and not state.exit
    is_service = state.name.endswith(".service")
    return is_idle and is_service and isinstance(answer, Decided) and answer.outcome is Outcome.FAIL
