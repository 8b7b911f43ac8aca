"""Record the units, accounts and sockets of a guest at one moment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import sockets
from postroj.probe.ask.unitstate import UP, template_of
from postroj.probe.discover import payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postroj.container.guest import Guest, Socket

MANAGER = Path(__file__).with_name("manager.sh").read_text()
SCRIPT = MANAGER + Path(__file__).with_name("snapshot.sh").read_text()
UNIT_FILES = ("systemctl", "list-unit-files", "--full", "--no-pager", "--no-legend", "--")
FOLDERS = (".wants", ".requires", ".upholds", ".d")
"""Suffixes of folders that belong to a unit, systemd.unit(5)."""
MADE = {"/run/systemd/generator": "generated", "/run/systemd/transient": "transient"}
"""Prefixes of the folders of units that no package ships, with the states of these units."""
NAME = re.compile(payload.NAME, re.ASCII)
ANY_NAME = re.compile(r"[\w:\\@][\w:.\\@-]*\.\w+", re.ASCII)
"""What may be the name of a unit; a package chooses the names of its files."""
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The units, accounts and listening sockets of a guest."""

    unit_files: Mapping[str, str]
    """Names of unit files, with their states: `enabled`, `static`, `masked`, ...

    The state is '' if nothing has touched the file or its links since the first snapshot.
    """
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
    """Paths of unit files and links, each with the link's target or the file's time and size."""


def take(guest: Guest, last: Snapshot | None = None) -> Snapshot:
    """Take a snapshot of a guest; `last` is an earlier one.

    It asks only for the states of unit files that have changed since then, because the manager
    takes a third of a second to list all.

    :raises CommandError: if the guest can no longer run a shell.
    """
    argv = ["sh", "-c", SCRIPT]
    text = operations.whole(guest, argv, timeout=PATIENCE).stdout.decode(errors="replace")
    now = parse(text, tuple(sockets.listening(guest)))
    if not now.places:  # without find(1)
        return replace(now, unit_files=_read_unit_files(guest, ()))
    if last is None:
        return now
    names = touched(last.places, now.places)
    kept = {name: state for name, state in last.unit_files.items() if name in now.unit_files}
    asked = _read_unit_files(guest, names) if names else {}
    old = names if asked else set()  # a manager that is busy does not answer; the files are there
    states = {name: state for name, state in {**now.unit_files, **kept}.items() if name not in old}
    return replace(now, unit_files={**states, **asked})


def parse(text: str, listening: tuple[Socket, ...]) -> Snapshot:
    """Parse the output of `SCRIPT`."""
    listed, units, passwd, group = [*text.split("\0"), *[""] * 3][:4]
    places = dict(map(_place, listed.splitlines()))
    states = [words for line in units.splitlines() if (words := line.split())]
    accounts = {"user": passwd, "group": group}
    return Snapshot(
        unit_files=named(places),
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
        places=places,
    )


def named(places: Mapping[str, str]) -> dict[str, str]:
    """Return the names of unit files, with their states as far as their places tell them."""
    found: dict[str, str] = {}
    for path, rest in places.items():
        folder, _, name = path.rpartition("/")
        if NAME.fullmatch(name) and not folder.endswith(FOLDERS):
            target = rest.partition("\t")[0].rpartition("/")[2]
            is_alias = bool(NAME.fullmatch(target)) and target != name
            made = next((state for place, state in MADE.items() if folder.startswith(place)), "")
            found.setdefault(name, "alias" if is_alias else made)
    return found


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
    return set(filter(ANY_NAME.fullmatch, parts))


def _read_unit_files(guest: Guest, names: Iterable[str]) -> dict[str, str]:
    """Ask for the states of unit files; without names, of all."""
    argv = [*UNIT_FILES, *sorted(names)]
    text = operations.whole(guest, argv, ok=range(256), timeout=PATIENCE).text
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
