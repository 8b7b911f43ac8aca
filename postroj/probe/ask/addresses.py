"""Addresses of sockets, and which of them one can connect to."""

from __future__ import annotations

import re

INET = re.compile(r"\[?(?P<host>[0-9a-fA-F.:]+(?:%[^]]+)?)\]?:(?P<port>\d+)")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
STREAMS = ("stream", "seqpacket", "sequentialpacket")


def destination(host: str) -> str:
    """Return where to connect to in order to reach what listens on an address without brackets."""
    return WILDCARDS.get(host, host)


def can_connect(address: str, kind: str) -> bool:
    """Whether an address of systemd.socket(5) accepts connections: `127.0.0.1:80`, `/run/x.sock`.

    `kind` is that of the socket, `Stream` or `SequentialPacket`; datagrams have no connections.
    """
    known = address.startswith(("/", "@")) or INET.fullmatch(address) is not None
    return known and kind.lower() in STREAMS
