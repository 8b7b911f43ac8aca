"""Check that a name resolves in a guest, by the means of its C library."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Question

NOT_FOUND = 127
"""Status of a command that does not exist."""
PATIENCE = 30.0
"""Seconds for name servers that do not answer."""


def check(guest: Guest, question: Question) -> tuple[Outcome, str]:
    """Resolve a name once."""
    name, wanted = question.subject, question.required.address
    done = guest.run(["getent", "ahosts", name], ok=range(256), timeout=PATIENCE)
    if done.status == NOT_FOUND:
        return Outcome.SKIP, "the guest has no getent(1), which would resolve it"
    found = parse(done.text)
    if not found:
        return blame(name, has_network=lambda: _has_network(guest))
    shown = f"resolves to {', '.join(found)}"
    if wanted and ipaddress.ip_address(wanted).compressed not in found:
        return Outcome.FAIL, f"{shown}, not to {wanted}"
    return Outcome.PASS, shown


def parse(text: str) -> tuple[str, ...]:
    """Return the addresses that `getent ahosts` prints, each once and without its scope."""
    words = (line.split()[0].partition("%")[0] for line in text.splitlines() if line.strip())
    return tuple(dict.fromkeys(ipaddress.ip_address(word).compressed for word in words))


def blame(name: str, *, has_network: Callable[[], bool]) -> tuple[Outcome, str]:
    """Judge a name that does not resolve in the guest, by what this host knows about it.

    A name that nobody else knows was for the package to provide. But it is not to blame for name
    servers that do not answer, or that the guest cannot reach.
    """
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return Outcome.ERROR, f"does not resolve, on this host neither ({error.strerror})"
        return Outcome.FAIL, "does not resolve"
    if not has_network():
        return Outcome.ERROR, "does not resolve, since the guest has no network"
    return Outcome.FAIL, "does not resolve in the guest, but on this host"


def _has_network(guest: Guest) -> bool:
    """Whether the guest has an interface besides the loopback."""
    names = guest.run(["ls", "/sys/class/net"], ok=range(256), timeout=10).text.split()
    return any(name != "lo" for name in names)
