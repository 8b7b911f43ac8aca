"""Choose the units that a user would enable and start after an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import UP

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from postroj.probe.ask.unitstate import UnitState

TYPES = (".service", ".socket", ".timer", ".path")
INSTALLABLE = ("disabled", "enabled", "enabled-runtime")
"""States of a unit's file that has a section [Install]."""


def choose(states: Sequence[UnitState], own: frozenset[str], *, retry: bool = False) -> list[str]:
    """Return the names of the `own` units that a user would enable and start.

    That is no unit that another one of them triggers, nor one that has an unmet condition or is
    bound to one that has, unless `retry` says that this may have changed. systemd refuses a socket
    whose service is up.
    """
    held = {s.name for s in states if s.active == "inactive" and is_unmet(s) and not retry}
    mine = [state for state in states if own & {*state.names, state.name}]
    idle = {state.name for state in mine if is_idle(state, retry=retry)}
    up = {name for state in states if state.active in UP for name in (state.name, *state.names)}
    triggers = idle | {state.name for state in mine if state.active in UP}
    return [
        state.name
        for state in mine
        if state.name in idle
        and state.file_state in INSTALLABLE
        and state.name.endswith(TYPES)
        and not triggers & {*state.triggered_by}
        and not held & {*state.bound_to}
        and not (state.name.endswith(".socket") and not state.accept and up & {*state.triggers})
    ]


def is_idle(state: UnitState, *, retry: bool) -> bool:
    """Whether a unit could be started and never was."""
    is_down = state.load == "loaded" and state.active == "inactive" and not state.has_job
    return is_down and not state.started and (retry or not is_unmet(state))


def is_unmet(state: UnitState) -> bool:
    """Whether a condition or an assertion kept a unit from starting."""
    return state.unmet_condition or state.unmet_assertion


def without_rivals(
    names: Sequence[str], conflicts: Mapping[str, Collection[str]], up: Collection[str]
) -> list[str]:
    """Leave out units that conflict with one that is `up`, or with an earlier one of `names`."""
    chosen: list[str] = []
    for name in names:
        others = {*chosen, *up} - {name}
        if not others & {*conflicts.get(name, ())}:
            chosen.append(name)
    return chosen
