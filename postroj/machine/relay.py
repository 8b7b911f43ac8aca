"""Pass data on between two sockets until one of them is closed; in a machine and on its host.

A datagram follows its length, four bytes, since a stream in between keeps no borders.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from select import POLLERR, POLLHUP, POLLIN, POLLRDHUP, poll
from threading import Event, Thread

LENGTH = struct.Struct(">I")
CHUNK = 65536
NEVER = struct.pack("ii", 1, 0)
"""For SO_LINGER: forget the connection at once, socket(7)."""


def bytes_of(stream: socket.socket, peer: socket.socket) -> None:
    """Connect two streams; each end that is closed closes the other one."""
    peer.settimeout(None)
    has_ended = Event()
    back = Thread(target=_answer, args=(stream, peer, has_ended), daemon=True)
    back.start()
    _copy(peer, stream)
    # The peer has closed it first and would wait in TIME_WAIT, during which it cannot listen again.
    # Only a connection that we have not closed, too, can be forgotten.
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NEVER)
    has_ended.set()
    _close(stream)
    back.join()


def _answer(stream: socket.socket, peer: socket.socket, has_ended: Event) -> None:
    _copy(stream, peer)
    if not has_ended.is_set():
        _close(peer)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)


def _close(target: socket.socket) -> None:
    """Tell a socket that nothing more will come."""
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def datagrams_of(stream: socket.socket, peer: socket.socket) -> None:
    """Connect a stream of framed datagrams with a socket of datagrams.

    An error of the peer ends it, and is told as a frame with the length 2**32 - 1 and its number.
    The end of a seqpacket connection reads as an empty message, again and again.
    """
    peer.settimeout(None)
    watched = poll()
    watched.register(stream, POLLIN)
    watched.register(peer, POLLIN | POLLRDHUP)
    while True:
        for number, event in watched.poll():
            try:
                if number == stream.fileno():
                    frame = receive(stream)
                    if frame is None:
                        return
                    peer.send(frame)
                elif event & (POLLIN | POLLERR | POLLHUP):
                    message = peer.recv(CHUNK)
                    if not message and event & (POLLHUP | POLLRDHUP):
                        return
                    send(stream, message)
            except OSError as error:
                with suppress(OSError):
                    stream.sendall(LENGTH.pack(FAILED) + LENGTH.pack(error.errno or 0))
                return


FAILED = (1 << 32) - 1


def send(stream: socket.socket, datagram: bytes) -> None:
    """Send one datagram."""
    stream.sendall(LENGTH.pack(len(datagram)) + datagram)


def receive(stream: socket.socket) -> bytes | None:
    """Return the next datagram; None at the end.

    :raises OSError: the error that the other end has met.
    """
    head = _read(stream, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    if length == FAILED:
        (number,) = LENGTH.unpack(_read(stream, LENGTH.size) or LENGTH.pack(0))
        raise OSError(number, "the other end failed")
    if length > CHUNK:
        return None
    return _read(stream, length)


def _read(stream: socket.socket, count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        data = stream.recv(count - len(found))
        if not data:
            return None
        found += data
    return found
