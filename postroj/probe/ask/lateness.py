"""Wait for sockets that units had before a step, and that they open late after it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from postroj.probe.ask import sockets
from postroj.probe.ask.unitstate import UP, read_states

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.deadline import Deadline

INTERVAL = 0.5


def await_sockets(guest: Guest, before: Iterable[Socket], deadline: Deadline) -> None:
    """Wait until units listen on as many sockets as `before`, or until the deadline passes.

    Only numbers are compared, because some daemons choose other ports or paths each time. A unit
    that is down is not waited for.
    """
    wanted = count(before)
    while missing := {unit for unit, _ in wanted - count(sockets.listening(guest))}:
        states = read_states(guest, sorted(missing))
        if not any(state.active in UP for state in states) or not deadline.wait(INTERVAL):
            break


def count(found: Iterable[Socket]) -> Counter[tuple[str, str]]:
    """Count the sockets of each unit by protocol; UDP sockets come and go with questions."""
    return Counter(
        (socket.unit, socket.entry.protocol)
        for socket in found
        if socket.unit and socket.entry.protocol != "udp"
    )
