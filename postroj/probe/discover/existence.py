"""Ask a guest what exists in it: files, accounts, units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl
from postroj.probe import operations
from postroj.probe.ask import static
from postroj.probe.ask.unitstate import is_template, slices

if TYPE_CHECKING:
    from collections.abc import Collection

    from postroj.container.guest import Guest
    from postroj.probe.discover.snapshot import Snapshot

STATUSES = range(256)
LIMIT = 1 << 20
"""Limit for one file that is parsed, in bytes."""


def modes(guest: Guest, paths: Collection[str]) -> dict[str, int]:
    """Return the `st_mode` of those paths that exist; links are followed."""
    found = {}
    for some in slices(sorted(path for path in paths if "\0" not in path)):
        argv = ["stat", "--dereference", "--printf=%f %n\\0", "--", *some]
        done = operations.whole(guest, argv, ok=STATUSES, timeout=30)
        rows = (row.partition(" ") for row in done.stdout.decode(errors="replace").split("\0"))
        found.update({path: int(mode, 16) for mode, _, path in rows if path})
    return found


def users(guest: Guest, names: Collection[str], after: Snapshot) -> set[str]:
    """Return those users that exist, also such that are in no file, nss(5)."""
    return _existing(guest, "passwd", names, after.users)


def groups(guest: Guest, names: Collection[str], after: Snapshot) -> set[str]:
    """Return those groups that exist, also such that are in no file."""
    return _existing(guest, "group", names, after.groups)


def _existing(guest: Guest, table: str, names: Collection[str], known: Collection[str]) -> set[str]:
    found = {name for name in names if name in known}
    for some in slices(sorted({*names} - found)):
        text = guest.run(["getent", table, "--", *some], ok=STATUSES, timeout=30).text
        found |= {line.partition(":")[0] for line in text.splitlines()} & {*some}
    return found


def missing_units(guest: Guest, names: Collection[str], after: Snapshot) -> set[str]:
    """Return those units that systemd does not find."""
    unknown = sorted(
        name
        for name in names
        if name not in after.unit_files and name not in after.units and not is_template(name)
    )
    found = set()
    for some in slices(unknown):
        words = ["show", "--property=Id,LoadState", "--", *some]
        text = systemctl(guest.run, words, ok=STATUSES, timeout=60).text
        for block in text.split("\n\n"):
            if "LoadState=not-found" in block and (match := re.search("^Id=(.+)$", block, re.M)):
                found.add(match[1])
    return found


def unmet(guest: Guest, text: str) -> str:
    """Return the path of a condition that keeps a unit with this text from starting, or ''.

    That path may belong to another package, which brings what the unit lacks.
    """
    paths = (path for path, wanted in static.conditions(text) if guest.exists(path) != wanted)
    return next(paths, "")


def text_of(guest: Guest, path: str) -> str:
    """Return the text of a file; '' if it does not exist or is not a regular file."""
    return head_of(guest, path, LIMIT).replace(b"\0", b"").decode(errors="replace")


def head_of(guest: Guest, path: str, limit: int) -> bytes:
    """Return the beginning of a file; nothing if it does not exist or is not a regular file."""
    try:
        return guest.read_file(path, limit)
    except OSError:
        return b""
