"""A name server that knows one name."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from ipaddress import ip_address
from threading import Thread
from typing import TYPE_CHECKING

from tests.support.nets import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME, ADDRESS, ADDRESS_6 = "known.lan.example", "203.0.113.7", "2001:db8:55::7"
KINDS = {1: ADDRESS, 28: ADDRESS_6}
"""By the numbers of A and AAAA, RFC 1035 and 3596."""


@contextmanager
def answering(pid: int, address: str) -> Iterator[list[str]]:
    """Answer at port 53 of an address in the network of `pid`; the names that were asked for."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def make() -> socket.socket:
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((address, 53))
        return server

    asked: list[str] = []
    with inside(pid, make) as server:
        thread = Thread(target=_serve, args=(server, asked))
        thread.start()
        try:
            yield asked
        finally:
            with inside(pid, lambda: socket.socket(family, socket.SOCK_DGRAM)) as last:
                last.sendto(b"", (address, 53))
            thread.join()


def _serve(server: socket.socket, asked: list[str]) -> None:
    """Answer until an empty question comes."""
    while True:
        question, peer = server.recvfrom(4096)
        if not question:
            return
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind = int.from_bytes(question[at + 1 : at + 3], "big")
        name = ".".join(labels)
        asked.append(name)
        data = ip_address(KINDS[kind]).packed if name == NAME and kind in KINDS else b""
        counts = bytes([0, 1, 0, 1 if data else 0, 0, 0, 0, 0])
        flags = b"\x81\x80" if name == NAME else b"\x81\x83"  # NXDOMAIN
        record = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\0"
        record += len(data).to_bytes(2, "big") + data
        answer = question[:2] + flags + counts + question[12 : at + 5] + (record if data else b"")
        server.sendto(answer, peer)
