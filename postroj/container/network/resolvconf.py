"""A guest's `/etc/resolv.conf`: which name servers it asks."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Collection

FORWARDER = "169.254.1.1"
"""Address at which pasta answers when only the host itself can ask its resolver."""
FORWARDER_6 = "fd70:6f73:7472:6f6a::53"
"""The same for a resolver with IPv6 only: pasta does not translate between the families."""

RESOLV_CONF = Path("/etc/resolv.conf")
UPLINK = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved writes the servers behind its stub, systemd-resolved.service(8)."""
MOST = 3
"""Name servers that the C library reads, resolv.conf(5)."""


def of_host(mode: NetworkMode) -> str:
    """Choose the name servers of a guest on this host; return its resolv.conf."""
    texts = [path.read_text() for path in (RESOLV_CONF, UPLINK) if path.is_file()]
    return choose(mode, texts, {server for server in _servers(texts) if is_own(server)})


def choose(mode: NetworkMode, texts: list[str], own: Collection[str] = ()) -> str:
    """Make a guest's resolv.conf of the host's files, of which the first is preferred.

    A guest on the host's network gets the host's file. In a private network the loopback and the
    addresses in `own` are the guest's, so it gets the other servers; if none is left, pasta
    forwards to the first server of `/etc/resolv.conf`.
    """
    if mode is NetworkMode.NONE:
        return "# this guest has no network\n"
    if mode is NetworkMode.HOST:
        return texts[0] if texts else ""
    lines = [line.split() for text in texts for line in text.splitlines()]
    servers = _servers(texts)
    reachable = [server for server in servers if server not in own and not _is_local(server)]
    others = (["search"], ["domain"], ["options"])
    rest = [" ".join(words) for words in lines if words[:1] in others]
    needs_6 = servers and all(":" in server for server in _servers(texts[:1]))
    servers = reachable or [FORWARDER_6 if needs_6 else FORWARDER]
    return "".join(
        f"{line}\n"
        for line in (*(f"nameserver {server}" for server in servers[:MOST]), *dict.fromkeys(rest))
    )


def forwarder_in(text: str) -> str | None:
    """Return the address at which pasta has to forward for a guest with this resolv.conf."""
    return next((name for name in (FORWARDER, FORWARDER_6) if name in text), None)


def _servers(texts: list[str]) -> list[str]:
    """Return the addresses of the name servers in files like resolv.conf(5), each once."""
    lines = [line.split() for text in texts for line in text.splitlines()]
    servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    return list(dict.fromkeys(servers))


def is_own(address: str) -> bool:
    """Whether this host has an address; in a private network it is the guest's own."""
    try:
        # AI_NUMERICHOST resolves no name; as text the address would pass through IDNA first
        number = address.encode()
        found = socket.getaddrinfo(number, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        family, kind, _, _, end = found[0]
        with socket.socket(family, kind) as tried:
            tried.bind(end)
    except OSError:
        return False
    return True


def _is_local(server: str) -> bool:
    """Whether an address is meaningful on the host alone: loopback, link-local, or a name."""
    import ipaddress

    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return True
    return address.is_loopback or address.is_link_local
