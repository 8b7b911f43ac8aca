"""Check that nobody listens at an address of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.probe.ask import ports, sockets
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Entry, Guest
    from postroj.probe.ask.ports import Endpoint

ANY = "*"
"""The host of a URL that stands for every address."""
WILDCARD = "0.0.0.0"  # noqa: S104
WILDCARD6 = "::"


def place(url: str) -> Endpoint:
    """Parse `tcp://HOST:PORT` or `udp://HOST:PORT`, where HOST may be `*`.

    :raises UsageError: if the URL has none of these forms.
    """
    where = ports.endpoint(url)
    if where.scheme not in ("tcp", "udp"):
        message = f"'{url}' is not an address that can be closed"
        raise UsageError(message, hint="tcp://host:port or udp://host:port; `*` is any host")
    return where


def check(guest: Guest, url: str) -> tuple[Outcome, str]:
    """Look once whether a process of the guest listens at an address."""
    where = place(url)
    found = [one for one in sockets.listening(guest) if takes(one.entry, where)]
    if not found:
        return Outcome.PASS, "nobody listens"
    names = sorted({one.unit or f"process '{one.process}'" for one in found})
    return Outcome.FAIL, f"{', '.join(names)} listens on {sockets.addresses(found)}"


def takes(entry: Entry, where: Endpoint) -> bool:
    """Whether a socket takes what is sent to an address; `[::]` takes IPv4 as well."""
    if (entry.protocol, entry.port) != (where.scheme, where.port):
        return False
    address = entry.address.strip("[]")
    wildcards = (WILDCARD6,) if ":" in where.host else (WILDCARD, WILDCARD6)
    return where.host in (ANY, address) or address in wildcards
