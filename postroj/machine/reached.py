"""A socket of datagrams in a guest, as one of this process."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread

from postroj.machine import relay


class Datagrams(socket.socket):
    """A connected socket whose datagrams pass through a stream to one in a guest."""

    def __init__(self, stream: socket.socket, address: str, timeout: float) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(fileno=ours.detach())
        self.settimeout(timeout)
        self._peer = address
        self._failure: OSError | None = None
        Thread(target=self._receive, args=(stream, theirs), daemon=True).start()
        Thread(target=self._send, args=(stream, theirs), daemon=True).start()

    def getpeername(self) -> tuple[str, int]:
        """Return host and port, as a socket of the internet does; a port of 0 for others."""
        host, _, port = self._peer.rpartition(":")
        return host.strip("[]") or self._peer, int(port) if port.isdecimal() else 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return the next datagram.

        :raises OSError: also if the socket in the guest met that.
        """
        data = super().recv(size, flags)
        if not data and self._failure:
            raise self._failure
        return data

    def _receive(self, stream: socket.socket, theirs: socket.socket) -> None:
        with stream, theirs:
            stream.settimeout(None)
            try:
                while (datagram := relay.receive(stream)) is not None:
                    theirs.send(datagram)
            except OSError as error:
                self._failure = error
            with suppress(OSError):
                theirs.shutdown(socket.SHUT_RDWR)

    def _send(self, stream: socket.socket, theirs: socket.socket) -> None:
        with suppress(OSError):
            while True:
                data = theirs.recv(relay.CHUNK)
                if not data and self.fileno() < 0:  # ours was closed
                    break
                relay.send(stream, data)
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
