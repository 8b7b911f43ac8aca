"""Read what a step must not take away, at one moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import unitstate
from postroj.probe.compare import gone
from postroj.probe.discover import payload, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from postroj.container.guest import OwnGuest, Process, Written
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.gone import Belongings
    from postroj.probe.discover.snapshot import Snapshot
    from postroj.probe.managers.base import PackageManager

SCRIPT = snapshot.MANAGER + Path(__file__).with_name("state.sh").read_text()
MERGED = ("/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/")

Units = dict[str, "UnitState"]
"""States of units by each of their names."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What the package manager lists; only its own commands change it."""

    own: Belongings
    """What the packages under test own; empty before they are installed."""
    names: frozenset[str]
    """The packages under test that are installed."""
    paths: frozenset[str]
    """The files and folders of all packages."""
    units: frozenset[str]
    """The names of the unit files among them."""
    versions: Mapping[str, str]
    """The version of each package."""


@dataclass(frozen=True, kw_only=True)
class GuestState:
    """What a step must not take away."""

    snapshot: Snapshot
    units: Units
    """The services, sockets, timers and paths that the manager has loaded."""
    written: Mapping[str, Written]
    """What the guest has written or removed."""
    folders: frozenset[str]
    """Folders for data, such as `/var/lib/redis`."""
    settings: frozenset[str]
    """The regular files below `/etc`."""
    has_shell: bool
    """Whether a login shell starts."""
    rules: frozenset[str]
    """Diversions and overrides of owners, as the package manager lists them."""
    listed: Listed
    moment: float
    """When it was read, by this host's monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Before:
    """The state of a guest immediately before a step."""

    failed: tuple[str, ...]
    """Units that have failed before the step or before the probe."""
    state: GuestState
    """What the step must not take away."""
    processes: tuple[Process, ...]
    since: float
    """When the step began, by the wall clock."""

    @property
    def units(self) -> Units:
        """The states of units by each of their names."""
        return self.state.units


def read(
    guest: OwnGuest,
    manager: PackageManager,
    names: Sequence[str],
    last: GuestState | None = None,
    *,
    has_lists: bool = False,
) -> GuestState:
    """Read the state of a guest; `names` are the packages under test that are installed.

    `last` is an earlier state, from which what takes long to read is taken if it has not changed;
    with `has_lists` also what the package manager lists, since none of its commands has run since.

    :raises CommandError: if the guest can no longer run a shell.
    """
    now = snapshot.take(guest, last.snapshot if last else None)
    known = last if has_lists else None
    rules, lists = (":", ":") if known else (manager.list_rules, manager.list_all)
    properties = ",".join(unitstate.PROPERTIES)
    argv = ["sh", "-c", SCRIPT, "sh", properties, rules, lists]
    text = operations.whole(guest, argv, ok=range(256), timeout=60).stdout.decode(errors="replace")
    units, folders, settings, shell, ruled, listing = [*text.split("\0"), *[""] * 5][:6]
    return GuestState(
        snapshot=now,
        units=by_name(unitstate.parse(block) for block in units.split("\n\n") if block.strip()),
        written=guest.written(),
        folders=frozenset(folders.splitlines()),
        settings=frozenset(settings.splitlines()),
        has_shell=shell.split()[:1] == ["0"],
        rules=known.rules if known else frozenset(ruled.splitlines()),
        listed=known.listed
        if known
        else _list(guest, manager, names, listing, is_merged="merged" in shell),
        moment=time.monotonic(),
    )


def by_name(states: Iterable[UnitState]) -> Units:
    """Return the states of units by each of their names."""
    return {name: state for state in states for name in (state.name, *state.names)}


def _list(
    guest: OwnGuest, manager: PackageManager, names: Sequence[str], paths: str, *, is_merged: bool
) -> Listed:
    """Read what the manager lists; with `is_merged`, `/lib` and its like are links into `/usr`."""
    own = gone.read_belongings(guest, manager, names)
    every = frozenset(_real(path.rstrip("/"), is_merged) for path in paths.splitlines())
    facts = operations.ask(guest, manager.everything())
    return Listed(
        own=replace(own, paths=frozenset(_real(path, is_merged) for path in own.paths)),
        names=frozenset(names),
        paths=every,
        units=frozenset(payload.unit_names(every)),
        versions={fact.name: fact.version for fact in facts},
    )


def _real(path: str, is_merged: bool) -> str:
    return f"/usr{path}" if is_merged and path.startswith(MERGED) else path
