"""Read the journal of a guest's units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest

LINES = 20
MATCHES = (
    ("_SYSTEMD_UNIT={}",),
    ("UNIT={}",),
    ("_UID=0", "OBJECT_SYSTEMD_UNIT={}"),
    ("_UID=0", "COREDUMP_UNIT={}"),
)
"""Fields of entries that a unit has written or that concern it, systemd.journal-fields(7)."""


def about(names: Sequence[str]) -> list[str]:
    """Return arguments with which journalctl(1) shows every entry that concerns these units.

    `--unit` accepts the `UNIT=` field from PID 1 only. But a child of PID 1 reports why a program
    could not be started, and once that child has ended journald no longer knows its unit. So this
    accepts the field from any process: https://github.com/systemd/systemd/issues/2913
    """
    groups = ([match.format(name) for match in group] for name in names for group in MATCHES)
    return [part for group in groups for part in ("+", *group)][1:]


def last(guest: Guest, name: str) -> str:
    """Return the last lines about a unit, limited since an entry may have many long lines."""
    argv = ["journalctl", f"--lines={LINES}", "--no-pager", "--quiet", "--output=short"]
    text = guest.run([*argv, *about([name])], ok=(0, 1), timeout=30).text
    return last_lines(text, 5 * LINES)
