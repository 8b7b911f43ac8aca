"""Connections to a guest's sockets, made by the host: TCP and unix, abstract ones too."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.enter import resolve
from postroj.container.network import pasta

if TYPE_CHECKING:
    from collections.abc import Sequence

INET = re.compile(r"\[?(?P<host>[0-9a-fA-F.:]+(?:%[^]]+)?)\]?:(?P<port>\d+)")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
KINDS = {
    "stream": socket.SOCK_STREAM,
    "seqpacket": socket.SOCK_SEQPACKET,
    "sequentialpacket": socket.SOCK_SEQPACKET,
}


def destination(host: str) -> str:
    """Where to connect to in order to reach what listens on an address without brackets."""
    return WILDCARDS.get(host, host)


def can_connect(address: str, kind: str) -> bool:
    """Whether `connect` knows this: `127.0.0.1:80`, `/run/x.sock`, `@name`; streams, packets."""
    known = address.startswith(("/", "@")) or INET.fullmatch(address) is not None
    return known and kind.lower() in KINDS


def connect(pids: Sequence[int], address: str, kind: str, timeout: float) -> socket.socket:
    """Connect to an address of a guest.

    `pids` are processes of it; a path is looked up as the first of them sees it that has it.

    :raises OSError: if nothing accepts there.
    """
    if match := INET.fullmatch(address):
        target = (destination(match["host"]), int(match["port"]))
        return pasta.inside(pids[0], partial(socket.create_connection, target, timeout=timeout))
    number = KINDS[kind.lower()]
    if address.startswith("@"):
        name = "\0" + address[1:].replace("@", "\0")
        return pasta.inside(pids[0], partial(_connect_unix, name, number, timeout))
    place = _open(pids, address)
    try:
        # the only way to connect to a file that has been opened already
        return _connect_unix(f"/proc/self/fd/{place}", number, timeout)
    finally:
        os.close(place)


def _open(pids: Sequence[int], path: str) -> int:
    for pid in pids[:-1]:
        with suppress(OSError):
            return resolve.open_path(pid, path)
    return resolve.open_path(pids[-1], path)


def _connect_unix(name: str, kind: int, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, kind)
    try:
        connection.settimeout(timeout)
        connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection
