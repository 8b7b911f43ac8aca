"""Find the ports that a step has closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.model import EPHEMERAL
from postroj.probe.compare.losses import DOWN
from postroj.verdict import StepName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroj.container.guest import Socket
    from postroj.probe.compare.losses import Change

RESERVED = range(600, 1024)
"""The ports that bindresvport(3) chooses from, as for services of ONC RPC."""


def closed(change: Change, listening: Sequence[Socket]) -> list[Socket]:
    """Return the ports that were open before the step, and that nobody has opened again.

    Ports of a unit that is gone, or of others after a reboot, are left out, and those that a unit
    chooses anew at each start. A package that leaves may close a port of others that it has opened,
    as with its configuration for a web server.
    """
    is_open = _ports(listening)
    kept = _ports((change.first if change.leaves else change.before).snapshot.sockets)
    found = []
    for socket in change.before.snapshot.sockets:
        entry, unit = socket.entry, change.before.units.get(socket.unit)
        if entry.is_unix or entry.port >= EPHEMERAL:
            continue
        if (entry.protocol, entry.port) not in kept - is_open:
            continue
        if unit is None or change.is_left(unit) or change.state_of(unit).active in DOWN:
            continue
        if change.is_own(unit) if not change.leaves else not change.is_own(unit):
            found.append(socket)
    return _without_moved(found, change, listening)


def _without_moved(lost: list[Socket], change: Change, listening: Sequence[Socket]) -> list[Socket]:
    """Leave out each port in whose place its unit has opened another one.

    The same version does so only with ports that it chooses at each start. Another version may have
    another port, which its users miss.
    """
    before = _ports(change.before.snapshot.sockets)
    new = [one for one in listening if (one.entry.protocol, one.entry.port) not in before]
    stay = []
    for socket in lost:
        if moved := next((one for one in new if _replaces(one, socket, change.step)), None):
            new.remove(moved)
        else:
            stay.append(socket)
    return stay


def _replaces(new: Socket, old: Socket, step: StepName) -> bool:
    here, there = new.entry, old.entry
    if (new.unit, here.protocol, here.address) != (old.unit, there.protocol, there.address):
        return False
    return step is not StepName.UPGRADE or (here.port in RESERVED and there.port in RESERVED)


def describe(sockets: Iterable[Socket], step: StepName) -> str:
    """Describe closed ports."""
    texts = sorted({f"{socket.entry.text} of {socket.unit}" for socket in sockets})
    verb = "was" if len(texts) == 1 else "were"
    return f"{', '.join(texts)} {verb} open before the {step}, and nobody listens there after it"


def _ports(sockets: Iterable[Socket]) -> set[tuple[str, int]]:
    return {(socket.entry.protocol, socket.entry.port) for socket in sockets}
