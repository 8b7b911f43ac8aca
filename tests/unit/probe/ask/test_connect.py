"""Connections to real sockets: what is reached, and what is not."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from postroj.probe.ask.connect import can_connect, connect, destination

if TYPE_CHECKING:
    from pathlib import Path

US = os.getpid()
NOBODY = 2**22 + 1


@pytest.mark.parametrize(
    ("address", "kind", "known"),
    [
        ("127.0.0.1:80", "Stream", True),
        ("[::]:80", "stream", True),
        ("[fe80::1%eth0]:80", "Stream", True),
        ("/run/x.sock", "SequentialPacket", True),
        ("@name", "seqpacket", True),
        ("127.0.0.1:53", "Datagram", False),
        ("/run/x.fifo", "FIFO", False),
        ("vsock::22", "Stream", False),
        ("route 1361", "Netlink", False),
    ],
)
def test_what_can_be_connected_to(address: str, kind: str, known: bool) -> None:
    assert can_connect(address, kind) is known


def test_where_wildcards_are_reached() -> None:
    assert [destination(host) for host in ("0.0.0.0", "::", "10.0.0.1", "::1")] == [
        *("127.0.0.1", "::1", "10.0.0.1", "::1")
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [(socket.SOCK_STREAM, "stream"), (socket.SOCK_SEQPACKET, "seqpacket")]
)
def test_a_path(tmp_path: Path, kind: socket.SocketKind, name: str) -> None:
    path = str(tmp_path / "a socket")
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(path)
        with pytest.raises(ConnectionRefusedError):
            connect([US], path, name, 1)
        server.listen()
        # as one process sees it, or as the next does
        with connect([NOBODY, US], path, name, 1) as client, server.accept()[0] as other:
            client.send(b"here")
            assert other.recv(9) == b"here"
    with pytest.raises(ConnectionRefusedError):
        connect([US], path, name, 1)
    with pytest.raises(FileNotFoundError):
        connect([US], f"{path}-gone", name, 1)


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="refused"):
        connect([US], str(tmp_path / "file"), "stream", 1)
