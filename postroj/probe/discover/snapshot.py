"""Record the units, accounts and sockets of a guest at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import sockets

if TYPE_CHECKING:
    from postroj.container.guest import Guest, Socket

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


def take(guest: Guest) -> Snapshot:
    """Take a snapshot of a guest.

    :raises CommandError: if the guest can no longer run a shell.
    """
    text = operations.whole(guest, ["sh", "-c", SCRIPT], timeout=60).stdout.decode(errors="replace")
    return parse(text, tuple(sockets.listening(guest)))


def parse(text: str, listening: tuple[Socket, ...]) -> Snapshot:
    """Parse the output of `SCRIPT`."""
    files, units, passwd, group = ([*text.split("\0"), "", "", ""])[:4]
    rows = [line.split() for line in files.splitlines()]
    return Snapshot(
        unit_files={row[0]: row[1] for row in rows if len(row) > 1},
        units=frozenset(words[0] for line in units.splitlines() if (words := line.split())),
        users=_accounts(passwd),
        groups=_accounts(group),
        sockets=listening,
    )


def _accounts(text: str) -> frozenset[str]:
    return frozenset(line.partition(":")[0] for line in text.splitlines() if ":" in line)
