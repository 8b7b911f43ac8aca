"""Record the units, accounts and sockets of a guest at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import sockets

if TYPE_CHECKING:
    from postroj.container.guest import Guest, Socket

UP = ("active", "activating", "reloading")
SCRIPT = Path(__file__).with_name("snapshot.sh").read_text()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The units, accounts and listening sockets of a guest."""

    unit_files: dict[str, str]
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


def take(guest: Guest, unit_files: dict[str, str] | None = None) -> Snapshot:
    """Take a snapshot of a guest; `unit_files` are the states of unit files, if they are known.

    systemd takes half a second for these.

    :raises CommandError: if the guest can no longer run a shell.
    """
    argv = ["sh", "-c", SCRIPT, "sh", *(["known"] if unit_files else [])]
    text = operations.whole(guest, argv, timeout=60).stdout.decode(errors="replace")
    now = parse(text, tuple(sockets.listening(guest)))
    return replace(now, unit_files=unit_files) if unit_files else now


def parse(text: str, listening: tuple[Socket, ...]) -> Snapshot:
    """Parse the output of `SCRIPT`."""
    files, units, passwd, group = ([*text.split("\0"), "", "", ""])[:4]
    rows = [line.split() for line in files.splitlines()]
    states = [words for line in units.splitlines() if (words := line.split())]
    accounts = {"user": passwd, "group": group}
    return Snapshot(
        unit_files={row[0]: row[1] for row in rows if len(row) > 1},
        units=frozenset(words[0] for words in states),
        up=frozenset(words[0] for words in states if words[2:3] and words[2] in UP),
        users=_accounts(passwd),
        groups=_accounts(group),
        sockets=listening,
        identities={
            f"{kind} {fields[0]}": fields[2]
            for kind, text in accounts.items()
            for fields in _fields(text)
        },
    )


def _accounts(text: str) -> frozenset[str]:
    return frozenset(fields[0] for fields in _fields(text))


def _fields(text: str) -> list[list[str]]:
    """Read lines of passwd(5) or group(5)."""
    rows = (line.split(":") for line in text.splitlines())
    return [row for row in rows if len(row) > 2]
