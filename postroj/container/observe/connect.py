"""Connect from the host to sockets in a guest: TCP, UDP and unix, including abstract ones."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.network import netns
from postroj.container.observe import resolve

if TYPE_CHECKING:
    from postroj.container.held import Held

KINDS = {
    "stream": socket.SOCK_STREAM,
    "tcp": socket.SOCK_STREAM,
    "dgram": socket.SOCK_DGRAM,
    "datagram": socket.SOCK_DGRAM,
    "seqpacket": socket.SOCK_SEQPACKET,
    "sequentialpacket": socket.SOCK_SEQPACKET,
}
"""Socket types by their names in systemd.socket(5) and in the kernel, in lower case."""


def connect(
    leader: Held, address: str, kind: str, timeout: float, *, opener: Held | None = None
) -> socket.socket:
    """Connect to an address of a guest, see `Guest.connect`; `opener` is a process of the guest.

    :raises OSError: if nothing accepts connections there, or if the guest has ended.
    """
    number = KINDS[kind.lower()]
    host, colon, port = address.rpartition(":")
    is_inet = not address.startswith(("/", "@")) and colon and port.isdecimal()
    if not is_inet and not address.startswith("@"):  # a path, which may be a relative one
        place = _open(leader, opener, address)
        try:
            # the only way to connect to a socket that is already open as a path
            return _connect_unix(f"/proc/self/fd/{place}", number, timeout)
        finally:
            os.close(place)
    if not is_inet:
        name = "\0" + address[1:].replace("@", "\0")
        call = partial(_connect_unix, name, number, timeout)
    else:
        call = partial(_connect_inet, host.strip("[]"), int(port), number, timeout)
    namespace = leader.open("ns/net", os.O_RDONLY)
    try:
        return netns.inside(namespace, call)
    finally:
        os.close(namespace)


def _open(leader: Held, opener: Held | None, path: str) -> int:
    if opener:
        with suppress(OSError):  # the process has ended or its files have changed
            return resolve.open_path(opener, path)
    return resolve.open_path(leader, path)


def _connect_inet(host: str, port: int, kind: int, timeout: float) -> socket.socket:
    """Connect to the first address of a host that accepts a connection."""
    failure: OSError | None = None
    for family, number, protocol, _, end in socket.getaddrinfo(host, port, type=kind):
        connection = socket.socket(family, number, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(end)
        except OSError as error:
            connection.close()
            failure = failure or error
        else:
            return connection
    raise failure or OSError(f"'{host}' has no address")


def _connect_unix(name: str, kind: int, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, kind)
    try:
        connection.settimeout(timeout)
        connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection
