"""Read whether idle units could start: they are judged without being started."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl
from postroj.probe import operations
from postroj.probe.ask import executable, static
from postroj.probe.ask.static import Facts, Kind, Supplier
from postroj.probe.ask.unitstate import ENABLED, slices
from postroj.probe.discover import existence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.static import Need, Needs
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.discover.snapshot import Snapshot

SCRIPT = Path(__file__).with_name("idle.sh").read_text()
NOT_INSTALLABLE = ("static", "generated", "transient")
"""States of a unit's file that cannot be enabled."""
HEAD = 4096
"""Bytes of a program that are read: its `#!` line, or its ELF headers."""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """What is wrong with a unit that does not run."""

    faults: tuple[str, ...] = ()
    """Sentences about what keeps it from starting, whatever its configuration."""
    remarks: tuple[str, ...] = ()
    """Sentences about what may be missing on purpose."""


class Reach(StrEnum):
    """How a unit comes to be started."""

    ITSELF = "itself"
    """At boot, or by a timer, socket, path or D-Bus."""
    ADMINISTRATOR = "administrator"
    """An administrator may enable it."""
    OTHERS = "others"
    """Other programs, such as a generator, may start it where they find it of use."""


def read(
    guest: Guest,
    states: Sequence[UnitState],
    templates: Iterable[str],
    after: Snapshot,
    activated: Collection[str],
    companion: Callable[[], str],
) -> dict[str, Idle]:
    """Read what is wrong with idle units and templates; units without a fault are left out.

    `activated` are the units that D-Bus starts. `companion` is called if something is missing; it
    names another package that may bring it, or returns ''.
    """
    instances = {_instance(name): name for name in templates}
    reach = {state.name: _reach(state, activated) for state in states}
    reach |= {instance: _reach_of_template(name, after) for instance, name in instances.items()}
    every = _needs(guest, [*(state.name for state in states), *instances])
    facts = _facts(guest, every, after)
    found: dict[str, Idle] = {}
    for one in every:
        idle = _judge(guest, one, facts, reach.get(one.unit, Reach.OTHERS), companion)
        if idle.faults or idle.remarks:
            found[instances.get(one.unit, one.unit)] = idle
    return found


def _reach(state: UnitState, activated: Collection[str]) -> Reach:
    starts = state.file_state in ENABLED or state.wanted_by or state.triggered_by
    if starts or not {state.name, *state.names}.isdisjoint(activated):
        return Reach.ITSELF
    return Reach.OTHERS if state.file_state in NOT_INSTALLABLE else Reach.ADMINISTRATOR


def _reach_of_template(name: str, after: Snapshot) -> Reach:
    """A static template is an administrator's if a socket starts its instances."""
    has_socket = f"{name.partition('@')[0]}.socket" in after.unit_files
    is_static = after.unit_files.get(name, "") in NOT_INSTALLABLE
    return Reach.OTHERS if is_static and not has_socket else Reach.ADMINISTRATOR


def _judge(
    guest: Guest, one: Needs, facts: Facts, reach: Reach, companion: Callable[[], str]
) -> Idle:
    """Tell the faults of a unit from what is only remarked."""
    faults: list[str] = []
    remarks: list[str] = []
    for need in one.needs:
        if not (sentence := static.fault(need, one.search, facts)):
            continue
        is_fault = need.supplier is Supplier.PACKAGE and reach is not Reach.OTHERS
        if need.supplier is Supplier.ADMINISTRATOR:
            is_fault = reach is Reach.ITSELF
        if not is_fault:
            remarks.append(sentence)
        elif static.may_be_elsewhere(need, one.search, facts) and (other := companion()):
            remarks.append(f"{sentence}; '{other}' may bring it")
        else:
            faults.append(sentence)
    if faults and (path := _unmet(guest, one)):
        remarks += [f"{fault}; a condition on '{path}' is not met" for fault in faults]
        faults = []
    return Idle(faults=tuple(faults), remarks=tuple(remarks))


def _instance(template: str) -> str:
    stem, _, kind = template.rpartition("@.")
    return f"{stem}@{static.INSTANCE}.{kind}"


def _needs(guest: Guest, names: Sequence[str]) -> list[Needs]:
    found = []
    for some in slices(names):
        words = ["show", f"--property={','.join(static.PROPERTIES)}", "--", *some]
        whole = partial(operations.whole, guest)
        text = systemctl(whole, words, ok=existence.STATUSES, timeout=60).text
        found += [static.parse(block) for block in text.split("\n\n")]
    return [needs for needs in found if needs.unit]


def _unmet(guest: Guest, one: Needs) -> str:
    texts = (existence.text_of(guest, path) for path in one.files if path)
    return existence.unmet(guest, "\n".join(texts))


def _facts(guest: Guest, every: Sequence[Needs], after: Snapshot) -> Facts:
    """Ask the guest for everything that units need."""
    pairs = [(one, need) for one in every for need in one.needs]
    paths = {path for one, need in pairs for path in static.places(need, one.search)}
    modes = existence.modes(guest, paths)
    programs: dict[str, Needs] = {}
    for one, need in pairs:
        if need.kind is Kind.PROGRAM:
            there = [path for path in static.places(need, one.search) if path in modes]
            programs.update((path, one) for path in there[:1] if path not in programs)
    return Facts(
        modes=modes,
        users=existence.users(guest, _names(pairs, Kind.USER), after),
        groups=existence.groups(guest, _names(pairs, Kind.GROUP), after),
        missing_units=existence.missing_units(guest, _names(pairs, Kind.UNIT), after),
        broken=_broken(guest, programs),
    )


def _names(pairs: Iterable[tuple[Needs, Need]], kind: Kind) -> set[str]:
    return {need.name for _, need in pairs if need.kind is kind}


def _broken(guest: Guest, programs: Mapping[str, Needs]) -> dict[str, str]:
    """Return programs whose interpreter or libraries are missing, each with a sentence."""
    interpreters = {
        path: executable.interpreter(existence.head_of(guest, path, HEAD)) for path in programs
    }
    searched: dict[str, list[str]] = {}
    for path, (interpreter, argument) in interpreters.items():
        if name := executable.sought(interpreter, argument):
            searched[path] = [f"{folder}/{name}" for folder in programs[path].search]
    lacking: dict[str, str] = {}
    loaders: dict[str, str] = {}
    for path, (interpreter, argument) in interpreters.items():
        places = searched.get(path)
        if interpreter and not guest.exists(interpreter):
            lacking[path] = f"'{interpreter}'"
        elif places and not any(map(guest.exists, places)):
            lacking[path] = f"'{executable.sought(interpreter, argument)}'"
        elif executable.is_loader(interpreter) and not programs[path].loads_elsewhere:
            loaders[path] = interpreter
    lacking |= _unlinked(guest, loaders)
    return {
        path: f"its program '{path}' needs {what}, which does not exist"
        for path, what in lacking.items()
    }


def _unlinked(guest: Guest, loaders: Mapping[str, str]) -> dict[str, str]:
    """Return the programs of which a library is missing, and what the loader misses."""
    found = {}
    for some in slices(sorted(loaders)):
        words = [word for path in some for word in (loaders[path], path)]
        argv = ["sh", "-c", SCRIPT, "sh", *words]
        done = operations.whole(guest, argv, ok=existence.STATUSES, timeout=60)
        listings = done.stdout.decode(errors="replace").split("\0")
        for path, listing in zip(some, listings, strict=False):
            if lacking := executable.lacks(listing):
                found[path] = lacking
    return found
