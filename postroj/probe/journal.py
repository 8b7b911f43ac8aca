"""What a guest's journal says about units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest

LINES = 20
FIELDS = ("_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT")
"""Where an entry names the unit that wrote it, or that it is about: systemd.journal-fields(7)."""


def about(names: Sequence[str]) -> list[str]:
    """Return what journalctl(1) takes for all that concerns units.

    `--unit` leaves out what a process said just before it ended: of one that has gone journald
    cannot tell the unit any more, and what it says itself, as why it could not become a daemon,
    counts there for PID 1 alone. https://github.com/systemd/systemd/issues/2913
    """
    matches = [f"{field}={name}" for name in names for field in FIELDS]
    return [part for match in matches for part in ("+", match)][1:]


def last(guest: Guest, name: str) -> str:
    """Return the last lines about a unit; an entry may have many lines, and long ones."""
    argv = ["journalctl", f"--lines={LINES}", "--no-pager", "--quiet", "--output=short"]
    text = guest.run([*argv, *about([name])], ok=(0, 1), timeout=30).text
    return last_lines(text, 5 * LINES)
