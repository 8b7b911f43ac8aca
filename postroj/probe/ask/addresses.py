"""Decide which socket addresses accept connections, and where to connect."""

from __future__ import annotations

import re

INET = re.compile(r"\[?(?P<host>[0-9a-fA-F.:]+(?:%[^]]+)?)\]?:(?P<port>\d+)")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
STREAMS = ("stream", "seqpacket", "sequentialpacket")


def destination(host: str) -> str:
    """Return the address that reaches a listener: the loopback for a wildcard, else itself."""
    return WILDCARDS.get(host, host)


def can_connect(address: str, kind: str) -> bool:
    """Whether an address of systemd.socket(5) accepts connections: `127.0.0.1:80`, `/run/x.sock`.

    `kind` is the type of the socket, such as `Stream`, `SequentialPacket` or `Datagram`.
    """
    known = address.startswith(("/", "@")) or INET.fullmatch(address) is not None
    return known and kind.lower() in STREAMS
