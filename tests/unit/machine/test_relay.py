"""Data that passes through a machine's stream, over real sockets of this host."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from postroj.machine import relay
from postroj.machine.reached import Datagrams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Relay = Callable[[socket.socket, socket.socket], None]

PATIENCE = 10.0


@contextmanager
def relayed(how: Relay, peer: socket.socket) -> Iterator[tuple[socket.socket, Thread]]:
    """Yield the host's end of a stream that leads to a peer, and the thread that relays."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, peer:  # as the server in the machine does
            how(theirs, peer)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    ours.settimeout(PATIENCE)
    with ours:
        yield ours, thread
    thread.join(PATIENCE)
    assert not thread.is_alive()


def read_all(stream: socket.socket) -> bytes:
    found = b""
    while data := stream.recv(65536):
        found += data
    return found


def test_bytes_of_passes_on_both_ways() -> None:
    peer, service = socket.socketpair()
    service.settimeout(PATIENCE)
    with service, relayed(relay.bytes_of, peer) as (ours, _):
        ours.sendall(b"question")
        assert service.recv(99) == b"question"
        service.sendall(b"answer")
        assert ours.recv(99) == b"answer"
        service.close()


def test_bytes_of_passes_on_more_than_sockets_hold() -> None:
    much = bytes(range(256)) * 8192
    peer, service = socket.socketpair()
    with service, relayed(relay.bytes_of, peer) as (ours, _):

        def send() -> None:
            service.sendall(much)
            service.shutdown(socket.SHUT_WR)

        sender = Thread(target=send)
        sender.start()
        assert read_all(ours) == much
        sender.join(PATIENCE)


def test_bytes_of_passes_on_that_one_end_sends_no_more() -> None:
    """A service that answers at the end of the question still can."""
    peer, service = socket.socketpair()
    service.settimeout(PATIENCE)
    with service, relayed(relay.bytes_of, peer) as (ours, _):
        ours.sendall(b"question")
        ours.shutdown(socket.SHUT_WR)
        assert read_all(service) == b"question"
        service.sendall(b"answer")
        service.close()
        assert read_all(ours) == b"answer"


def test_bytes_of_ends_with_the_service() -> None:
    peer, service = socket.socketpair()
    with relayed(relay.bytes_of, peer) as (ours, thread):
        service.sendall(b"bye")
        service.close()
        assert read_all(ours) == b"bye"
        ours.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_bytes_of_lets_a_service_that_hangs_up_listen_on_its_port_again() -> None:
    """Its connection would be in TIME_WAIT, and not every service sets SO_REUSEADDR."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        peer = socket.create_connection(address)
        service, _ = listener.accept()
        listener.close()
        with relayed(relay.bytes_of, peer) as (ours, thread):
            service.sendall(b"bye")
            service.close()
            assert read_all(ours) == b"bye"
            ours.close()
            thread.join(PATIENCE)
        again = stack.enter_context(socket.socket())
        again.bind(address)


@contextmanager
def datagrams(peer: socket.socket, timeout: float = PATIENCE) -> Iterator[Datagrams]:
    """Yield a socket of datagrams that leads to a peer, as on the host."""
    with relayed(relay.datagrams_of, peer) as (ours, _):
        stream = socket.socket(fileno=ours.detach())
        with Datagrams(stream, "127.0.0.1:53", timeout) as found:
            yield found


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield two sockets of UDP that are connected with each other."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as peer,
        socket.socket(type=socket.SOCK_DGRAM) as service,
    ):
        peer.bind(("127.0.0.1", 0))
        service.bind(("127.0.0.1", 0))
        peer.connect(service.getsockname())
        service.connect(peer.getsockname())
        service.settimeout(PATIENCE)
        yield peer, service


def test_datagrams_keep_their_borders(pair: tuple[socket.socket, socket.socket]) -> None:
    peer, service = pair
    with datagrams(peer) as found:
        for text in (b"one", b"", b"three"):
            found.send(text)
        assert [service.recv(99) for _ in range(3)] == [b"one", b"", b"three"]
        for text in (b"", b"2", b"x" * 60000):
            service.send(text)
        assert [found.recv(65536) for _ in range(3)] == [b"", b"2", b"x" * 60000]


def test_datagram_that_is_refused() -> None:
    """As a port of UDP says on which nobody listens."""
    with socket.socket(type=socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    peer = socket.socket(type=socket.SOCK_DGRAM)
    peer.connect(address)
    with datagrams(peer) as found:
        found.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            found.recv(99)


def test_datagrams_of_a_service_that_does_not_answer(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with datagrams(pair[0], timeout=0.05) as found:
        found.send(b"anybody?")
        with pytest.raises(TimeoutError):
            found.recv(99)


@pytest.mark.parametrize("end", ["closes", "sends no more"])
def test_messages_of_a_service_that_hangs_up(end: str) -> None:
    """The end of a seqpacket connection reads as an empty message, without end."""
    peer, service = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with service, relayed(relay.datagrams_of, peer) as (ours, thread):
        service.send(b"bye")
        if end == "closes":
            service.close()
        else:
            service.shutdown(socket.SHUT_WR)
        assert relay.receive(ours) == b"bye"
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert relay.receive(ours) is None


def test_datagrams_name_their_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    with datagrams(pair[0]) as found:
        assert found.getpeername() == ("127.0.0.1", 53)
    for address, name in (("[::1]:53", ("::1", 53)), ("/run/x.sock", ("/run/x.sock", 0))):
        stream, other = socket.socketpair()
        with other, Datagrams(stream, address, 1) as found:
            assert found.getpeername() == name


def test_datagrams_end_with_the_machine() -> None:
    stream, machine = socket.socketpair()
    with Datagrams(stream, "127.0.0.1:53", PATIENCE) as found:
        machine.close()
        assert found.recv(99) == b""


def test_datagrams_that_are_closed_close_the_way_to_the_machine() -> None:
    stream, machine = socket.socketpair()
    machine.settimeout(PATIENCE)
    with machine:
        Datagrams(stream, "127.0.0.1:53", PATIENCE).close()
        assert machine.recv(99) == b""


@pytest.mark.parametrize(
    ("wire", "datagram"),
    [
        (b"\0\0\0\3abc", b"abc"),
        (b"\0\0\0\0", b""),
        (b"", None),
        (b"\0\0", None),
        (b"\0\0\0\3ab", None),
        (b"\0\1\0\1" + bytes(65537), None),  # longer than any
    ],
)
def test_receive(wire: bytes, datagram: bytes | None) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(wire)
        there.shutdown(socket.SHUT_WR)
        assert relay.receive(here) == datagram


@pytest.mark.parametrize(
    ("wire", "number"),
    [(b"\xff\xff\xff\xff\0\0\0\x6f", errno.ECONNREFUSED), (b"\xff\xff\xff\xff", 0)],
)
def test_receive_an_error(wire: bytes, number: int) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(wire)
        there.close()
        with pytest.raises(OSError, match="the other end failed") as caught:
            relay.receive(here)
    assert caught.value.errno == number


def test_receive_what_comes_in_pieces() -> None:
    here, there = socket.socketpair()
    with here, there:

        def send() -> None:
            for number in b"\0\0\0\3abc":
                there.sendall(bytes([number]))
                time.sleep(0.001)

        sender = Thread(target=send)
        sender.start()
        assert relay.receive(here) == b"abc"
        sender.join(PATIENCE)
