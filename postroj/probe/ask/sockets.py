"""Select a guest's listening sockets, and format their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroj.container.guest import Guest, Socket

SHOWN = 6
"""Maximum number of addresses to name."""


def listening(guest: Guest) -> list[Socket]:
    """Return the sockets that processes of the guest have open.

    On a network of its own these are all sockets; on the host's network others are left out.
    """
    return [socket for socket in guest.sockets() if socket.process]


def of_units(sockets: Iterable[Socket], names: Iterable[str]) -> list[Socket]:
    """Return the sockets that processes of these units have open."""
    wanted = set(names)
    return [socket for socket in sockets if socket.unit in wanted]


def addresses(sockets: Iterable[Socket]) -> str:
    """Format the addresses of sockets: `127.0.0.1:80, /run/x.sock`; '' without sockets."""
    texts = list(dict.fromkeys(socket.entry.text for socket in sockets))
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
