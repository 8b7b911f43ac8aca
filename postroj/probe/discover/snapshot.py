"""Record the units, accounts and sockets of a guest at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import sockets
from postroj.probe.ask.unitstate import template_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postroj.container.guest import Guest, Socket

UP = ("active", "activating", "reloading")
SCRIPT = Path(__file__).with_name("snapshot.sh").read_text()
UNIT_FILES = ("systemctl", "list-unit-files", "--full", "--no-pager", "--no-legend", "--")
FOLDERS = (".wants", ".requires", ".upholds", ".d")
"""Suffixes of folders that belong to a unit, systemd.unit(5)."""
MOST = 100
"""Number of unit files that are asked for by name at most; more take as long as all."""
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The units, accounts and listening sockets of a guest."""

    unit_files: Mapping[str, str]
    """Names of unit files, with their states: `enabled`, `static`, `masked`, ..."""
    units: frozenset[str]
    """Names of the units that are active, have failed, or have a job."""
    users: frozenset[str]
    groups: frozenset[str]
    sockets: tuple[Socket, ...]
    identities: dict[str, str] = field(default_factory=dict)
    """The UID of each `user NAME`, and the GID of each `group NAME`."""
    up: frozenset[str] = frozenset()
    """Names of the units that are active, or about to be."""
    failed: tuple[str, ...] = ()
    """Names of the units that have failed, sorted."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Files and links from which units are loaded, each with what changes when it is changed."""


def take(guest: Guest, last: Snapshot | None = None) -> Snapshot:
    """Take a snapshot of a guest; with the `last` one only changed unit files are asked for.

    The manager takes a third of a second to tell the states of all unit files.

    :raises CommandError: if the guest can no longer run a shell.
    """
    knows = last is not None and bool(last.places)
    argv = ["sh", "-c", SCRIPT, "sh", *([] if knows else ["all"])]
    text = operations.whole(guest, argv, timeout=PATIENCE).stdout.decode(errors="replace")
    now = parse(text, tuple(sockets.listening(guest)))
    if last is None or not knows:
        return now
    names = touched(last.places, now.places)
    if len(names) > MOST:
        return take(guest)
    kept = {name: state for name, state in last.unit_files.items() if name not in names}
    asked = _read_unit_files(guest, names) if names else {}
    return replace(now, unit_files={**kept, **asked})


def parse(text: str, listening: tuple[Socket, ...]) -> Snapshot:
    """Parse the output of `SCRIPT`."""
    files, places, units, passwd, group = [*text.split("\0"), *[""] * 4][:5]
    states = [words for line in units.splitlines() if (words := line.split())]
    accounts = {"user": passwd, "group": group}
    return Snapshot(
        unit_files=_unit_files(files),
        units=frozenset(words[0] for words in states),
        up=frozenset(words[0] for words in states if words[2:3] and words[2] in UP),
        failed=tuple(sorted(words[0] for words in states if words[2:3] == ["failed"])),
        users=_accounts(passwd),
        groups=_accounts(group),
        sockets=listening,
        identities={
            f"{kind} {fields[0]}": fields[2]
            for kind, text in accounts.items()
            for fields in _fields(text)
        },
        places=dict(_place(line) for line in places.splitlines()),
    )


def touched(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    """Return the names of the unit files whose states may differ between two sets of places.

    The state of a unit depends on its file and on links that have its name or lead to it.
    """
    found: set[str] = set()
    for path in before.keys() | now.keys():
        versions = {before.get(path, ""), now.get(path, "")}
        if len(versions) > 1:
            found |= _names((path, *(version.partition("\t")[0] for version in versions)))
    return found | set(filter(None, map(template_of, found)))


def _names(paths: Iterable[str]) -> set[str]:
    """Return the names of units in paths: of the files, and of the folders that belong to units."""
    parts = {part for path in paths for part in path.split("/")[-2:]}
    for suffix in FOLDERS:
        parts = {part.removesuffix(suffix) for part in parts}
    return {part for part in parts if "." in part.strip(".")}


def _read_unit_files(guest: Guest, names: Iterable[str]) -> dict[str, str]:
    argv = [*UNIT_FILES, *sorted(names)]
    return _unit_files(operations.whole(guest, argv, ok=range(256), timeout=PATIENCE).text)


def _unit_files(text: str) -> dict[str, str]:
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def _place(line: str) -> tuple[str, str]:
    path, _, rest = line.partition("\t")
    return path, rest


def _accounts(text: str) -> frozenset[str]:
    return frozenset(fields[0] for fields in _fields(text))


def _fields(text: str) -> list[list[str]]:
    """Read lines of passwd(5) or group(5)."""
    rows = (line.split(":") for line in text.splitlines())
    return [row for row in rows if len(row) > 2]
