"""What a guest's journal says about units."""

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
"""Which entries a unit has written, or are about it: systemd.journal-fields(7)."""


def about(names: Sequence[str]) -> list[str]:
    """Return what journalctl(1) takes for all that concerns units.

    `--unit` believes none but PID 1 which unit an entry is about. But why it could not start a
    program is said by a child of it, and when that has ended journald cannot tell whose it was.
    So whoever says so is believed here: https://github.com/systemd/systemd/issues/2913
    """
    groups = ([match.format(name) for match in group] for name in names for group in MATCHES)
    return [part for group in groups for part in ("+", *group)][1:]


def last(guest: Guest, name: str) -> str:
    """Return the last lines about a unit; an entry may have many lines, and long ones."""
    argv = ["journalctl", f"--lines={LINES}", "--no-pager", "--quiet", "--output=short"]
    text = guest.run([*argv, *about([name])], ok=(0, 1), timeout=30).text
    return last_lines(text, 5 * LINES)
