"""Read the journal of a guest's units."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import slices
from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest

ERRORS = "errors in the journal"
"""Subject of the answer that lists them."""
LINES = 20
MUCH = 16 << 20
"""Bytes of a journal whose end is searched."""
MANAGER = r"^\S+ +\d+ \S+ \S+ systemd\[1\]: "
BY_MANAGER = re.compile(MANAGER)
STARTED = re.compile(rf"{MANAGER}Start(?:ed|ing) ")
STOPPED = re.compile(rf"{MANAGER}Stopp(?:ed|ing) ")
"""What the manager says about a unit in the short format."""
ENDED = re.compile(r": (?:Deactivated successfully|Succeeded)\.$")
"""How the manager's message about a unit ends that has ended; systemd 247 says "Succeeded"."""
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


def last(guest: Guest, name: str, *, this_boot: bool = False) -> str:
    """Return the last lines about a unit, limited since an entry may have many long lines."""
    argv = ["journalctl", f"--lines={LINES}", "--no-pager", "--quiet", "--output=short"]
    argv += ["--boot"] if this_boot else []
    text = guest.run([*argv, *about([name])], ok=(0, 1), timeout=30).text
    return last_lines(text, 5 * LINES)


def tells_end(text: str) -> bool:
    """Whether the last lines about a unit say that it was started and has ended by itself.

    systemd forgets when a unit ran that nothing needs, org.freedesktop.systemd1(5).
    """
    lines = text.splitlines()
    first = max((i for i, line in enumerate(lines) if STOPPED.search(line)), default=-1) + 1
    begun = next((i for i, line in enumerate(lines) if i >= first and STARTED.search(line)), None)
    later = [] if begun is None else lines[begun:]
    return any(BY_MANAGER.search(line) and ENDED.search(line) for line in later)


def errors(guest: Guest, names: Sequence[str], since: float) -> str:
    """Return what was logged about units at priority `err` and above since a moment.

    `since` is a time of the wall clock, which guest and host share.
    """
    argv = ["journalctl", "--quiet", "--no-pager", "--output=short", "--priority=err"]
    argv += [f"--since=@{since:.6f}"]
    commands = ([*argv, *about(some)] for some in slices(names))
    texts = (guest.run(command, ok=range(256), timeout=60).text for command in commands)
    return "\n".join(filter(None, (text.strip() for text in texts)))


def messages(guest: Guest, names: Sequence[str], since: float) -> str:
    """Return what was logged about units since a moment of the wall clock, without its times."""
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--since=@{since:.6f}"]
    commands = ([*argv, *about(some)] for some in slices(names))
    texts = (guest.run(one, ok=range(256), timeout=60, limit=MUCH).text for one in commands)
    return "\n".join(texts)


def wall_time(moment: float) -> float:
    """Return the time of the wall clock at a moment of the monotonic clock."""
    return time.time() - time.monotonic() + moment


class Event(StrEnum):
    """What a manager records about the end of a unit, by the IDs of systemd's message catalog."""

    EXIT = "98e322203f7a4ed290d09fe03c09fe15"
    """A process ended with a status or by a signal that is not a success."""
    RESULT = "d9b373ed55a64feb8242e02dbe79a49c"
    """The unit failed with a result, such as `exit-code`, `timeout` or `watchdog`."""
    STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
    """A job stops the unit."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of a unit."""

    unit: str
    event: Event
    invocation: str
    """Different for each start of the unit."""
    time: float
    """Seconds since the epoch."""
    result: str = ""


def events(guest: Guest, since: float) -> list[Entry]:
    """Return the events of all units since a moment of the wall clock, in their order."""
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--since=@{since:.6f}"]
    matches = [f"MESSAGE_ID={event}" for event in Event]
    text = guest.run([*argv, "_PID=1", *matches], ok=range(256), timeout=60).text
    return [entry for line in text.splitlines() if (entry := parse_event(line))]


def parse_event(line: str) -> Entry | None:
    """Parse one line of JSON; None for what is not an event."""
    try:
        fields = json.loads(line)
        return Entry(
            unit=str(fields["UNIT"]),
            event=Event(fields["MESSAGE_ID"]),
            invocation=str(fields.get("INVOCATION_ID", "")),
            time=int(fields["__REALTIME_TIMESTAMP"]) / 1e6,
            result=str(fields.get("UNIT_RESULT", "")),
        )
    except (ValueError, TypeError, KeyError):
        return None
