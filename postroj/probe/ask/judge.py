"""The verdict on a unit, from properties of systemd, never from its prose.

`judge` is pure; `watch` looks again until the answer is final.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import look
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState

INTERVAL = 0.2
"""Seconds between two looks at a unit that has not made up its mind."""

LOOP = 2
"""So many restarts while we look are a crash loop."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A final answer."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """No answer yet: look again after `seconds`; `sentence` is the failure if time runs out."""

    seconds: float
    sentence: str
    settling: bool = False
    """Whether it is up, and has only to stay so."""


def judge(state: UnitState, first: UnitState, *, now: float, settle: float) -> Verdict | Undecided:
    """Say whether a unit is up for good, given how it was at our first look.

    One that a condition has kept from starting is a skip: nothing is known of it.
    """
    restarted = state.restarts - first.restarts
    if state.load != "loaded":
        return failed(unloaded(state))
    if restarted >= LOOP:
        return failed(f"crash loop: restarted {_times(restarted)} while we looked{_how(state)}")
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


def unloaded(state: UnitState) -> str:
    """Say why a unit's file is of no use."""
    sentences = {"not-found": "there is no such unit", "masked": "the unit is masked"}
    return sentences.get(state.load, f"the unit could not be loaded ({state.load})")


def _judge_active(state: UnitState, *, now: float, settle: float) -> Verdict | Undecided:
    if state.name.endswith(".timer") and state.sub == "elapsed" and not state.elapsed:
        return failed(f"{state.text}, but it will never elapse")
    stays = now - state.since
    if stays < settle:
        sentence = f"{state.text}, but does not stay so for {settle:g} s{_restarts(state)}"
        return Undecided(seconds=settle - stays, sentence=sentence, settling=True)
    pid = f", main PID {state.main_pid}" if state.main_pid else ""
    return passed(f"{state.text}{pid}{_restarts(state)}")


def _judge_inactive(state: UnitState) -> Verdict:
    if state.unmet_condition:
        return Verdict(
            outcome=Outcome.SKIP,
            sentence=f"{state.text}, not started, since a condition of it was not met",
        )
    if state.unmet_assertion:
        return failed(f"{state.text}, stopped by an assertion that does not hold")
    if state.kind == "oneshot" and state.exit and state.result == "success":
        return passed(f"{state.text}, has done its work, its main process {state.exit}")
    return failed(f"{state.text}{_how(state)}" if state.exit else f"{state.text}, not started")


def passed(sentence: str) -> Verdict:
    """Praise."""
    return Verdict(outcome=Outcome.PASS, sentence=sentence)


def failed(sentence: str) -> Verdict:
    """Blame."""
    return Verdict(outcome=Outcome.FAIL, sentence=sentence)


def _how(state: UnitState) -> str:
    return f", its main process {state.exit}" if state.exit else ""


def _restarts(state: UnitState) -> str:
    return f", restarted {_times(state.restarts)}" if state.restarts else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def watch(
    guest: Guest, name: str, *, settle: float, deadline: Deadline
) -> tuple[Verdict, UnitState]:
    """Look at a unit until the answer is final or the deadline passes."""
    first = state = look(guest, name)
    extended = False
    while isinstance(answer := judge(state, first, now=time.monotonic(), settle=settle), Undecided):
        if answer.settling and not extended:  # one that came up in time may show that it stays up
            deadline.extend(answer.seconds + INTERVAL)
            extended = True
        if not deadline.wait(answer.seconds):
            return failed(f"{answer.sentence} after {deadline.seconds:g} s"), state
        state = look(guest, name)
    return answer, state
