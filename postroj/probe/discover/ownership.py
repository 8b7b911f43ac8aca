"""Decide whose a unit is: of the packages under test, of others, or of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.discover.payload import Payload
    from postroj.probe.discover.snapshot import Snapshot


def is_own(state: UnitState, brought: Payload, foreign: Collection[str]) -> bool:
    """Whether a unit belongs to the packages, and not only to those that bring `foreign` ones.

    So does one whose program they bring: a package with several variants of a server has its unit.
    """
    names = {state.name, *state.names}
    programs = {path.removeprefix("/usr") for path in brought.programs}
    runs_own = any(path.removeprefix("/usr") in programs for path in state.programs)
    return runs_own or not names & {*foreign} or bool(names & brought.all_units)


def superseded(
    brought: Payload,
    states: Iterable[UnitState],
    before: Snapshot,
    after: Snapshot,
    foreign: Collection[str] = (),
) -> Iterator[tuple[str, UnitState]]:
    """Yield the SysV scripts whose name a unit of somebody else has, each with that unit.

    systemd never runs such a script. The unit is somebody else's if it was there `before`, or if it
    is `foreign`; but one that came up with the packages is what they wanted to start.
    """
    for state in states:
        names = {state.name, *state.names}
        is_generated = state.file_state == "generated" or "/init.d/" in state.source
        is_native = state.load == "loaded" and not is_generated
        came_up = names & (after.up - before.up)
        is_known = names & {*foreign} or (names & before.unit_files.keys() and not came_up)
        if is_native and is_known and not names & {*brought.units}:
            yield from ((name, state) for name in brought.scripts if f"{name}.service" in names)


def describe(taken: Mapping[str, UnitState]) -> Iterator[str]:
    """Say of each script that it is not run, and why."""
    for name, state in taken.items():
        unit = f"{name}.service"
        also = "" if unit == state.name else f"another name of {state.name}, "
        why = f"{unit} is {also}a unit that the package does not ship"
        yield f"systemd never runs the SysV script '{name}': {why}"
