"""Find files of others that a step has removed or changed: of other packages, or of nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe.compare.residue import EXCUSED, UNIT_LINK, is_of_user, outermost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postroj.container.guest import Written
    from postroj.probe.compare.losses import Change

TABLES = re.compile(
    r"""
    /etc/(passwd|group|shadow|gshadow|subuid|subgid|shells)[-+]?  # each package has lines there
    | /etc/rc[0-9S]\.d/.*                                         # numbered anew
    | /var/log/.*                                                 # rotated
    | /var/lib/systemd/.*
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """What a step has done to files of others."""

    removed: frozenset[str]
    """Of other packages."""
    changed: frozenset[str]
    """Of other packages; the package manager knows whether that does any harm."""
    unowned: tuple[str, ...]
    """Removed, and of no package."""


def disturbed(change: Change) -> Disturbed:
    """Compare what was written before a step and after it."""
    before, now = change.before, change.now
    ours = before.listed.own.paths | now.listed.own.paths
    others = (before.listed.paths & now.listed.paths) - ours
    gone = frozenset(_removed(before.written, now.written))
    there = {path for path, file in now.written.items() if _is_there(file)}
    diverted = {word for rule in before.rules | now.rules for word in rule.split()}
    changed = (
        path
        for path in there & others
        if now.written[path].kind in (FileKind.FILE, FileKind.LINK)
        and before.written.get(path) != now.written[path]
        and not path.startswith("/var/")
    )
    unowned = {
        path
        for path in gone - there
        if (path in now.written and now.written[path].is_below) or path in change.first.written
    }
    unowned |= (change.first.settings & before.settings) - now.settings
    unowned -= before.listed.paths | now.listed.paths
    unowned = {path for path in unowned if not is_of_user(path, now.written)}
    excused = diverted | {p for p in (*gone, *unowned, *others & there) if is_excused(p)}
    return Disturbed(
        removed=frozenset(
            path for path in others - there - excused if gone and _lies_in(path, gone)
        ),
        changed=frozenset(changed) - excused,
        unowned=() if change.left else tuple(outermost(unowned - excused)),
    )


def _removed(before: Mapping[str, Written], now: Mapping[str, Written]) -> Iterator[str]:
    """Yield the paths of files and folders that were there before, and are not now.

    A folder that hides what the layers have at its path has replaced that.
    """
    for path, file in now.items():
        was = before.get(path)
        is_removed = not _is_there(file) and (was is None or _is_there(was))
        if is_removed or (file.hides_below and file.is_below and not (was and was.hides_below)):
            yield path
    for path, file in before.items():
        if path not in now and _is_there(file):
            yield path


def _is_there(file: Written) -> bool:
    return file.kind is not FileKind.GONE


def _lies_in(path: str, folders: frozenset[str]) -> bool:
    """Whether a path is one of the folders, or lies in one."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def is_excused(path: str) -> bool:
    """Whether a file may change or vanish at any time."""
    return any(pattern.fullmatch(path) for pattern in (EXCUSED, TABLES, UNIT_LINK))
