"""Check what the installation has done with a unit: enabled it, or left it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.question import Demand
from postroj.probe.ask.unitstate import ENABLED, read_state, unit_name
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState


def check(guest: Guest, subject: str, demand: Demand) -> tuple[Outcome, str]:
    """Check a unit right after the installation; `subject` is its name, a comma and the demand."""
    return judge(read_state(guest, unit_name(subject.partition(",")[0])), demand)


def judge(state: UnitState, demand: Demand) -> tuple[Outcome, str]:
    """Judge what the installation has done with a unit."""
    if state.load == "not-found":
        return Outcome.FAIL, "there is no such unit"
    is_enabled = state.file_state in ENABLED
    if demand is Demand.ENABLED:
        enabled = state.file_state or "not enabled"
        return (
            (Outcome.PASS, enabled)
            if is_enabled
            else (Outcome.FAIL, f"must be enabled, but is {enabled}")
        )
    done = [
        word
        for word, is_done in (("enabled", is_enabled), ("started", bool(state.started)))
        if is_done
    ]
    if done:
        return Outcome.FAIL, f"must not start by itself, but was {' and '.join(done)}, {state.text}"
    return Outcome.PASS, "neither enabled nor started by the installation"
