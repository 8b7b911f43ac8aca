"""Many guests at once, each with a service on a port that all of them have."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.network import publish
from postroj.container.spec import GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.model import NetworkMode
from postroj.prepare import obtain

if TYPE_CHECKING:
    from collections.abc import Iterator


MANY = 30
ADDRESS = "127.77.0.1"
PORTS = range(8001, 8001 + MANY)

SERVE = """
use IO::Socket::INET; use POSIX;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 9) or die;
exit if fork; close STDOUT; close STDERR;
while (my $one = $server->accept) { print $one +(POSIX::uname)[1]; close $one }
"""


INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


@pytest.fixture(scope="module")
def inotify() -> Iterator[None]:
    """As many as they take; who has more already keeps them afterwards."""
    allowed = INOTIFY.read_text()
    INOTIFY.write_text(str(max(int(allowed), 1024)))
    yield
    INOTIFY.write_text(allowed)


@pytest.fixture(scope="module")
def guests(image: str, inotify: None) -> Iterator[dict[int, StartedGuest]]:
    """They, by their ports of the host; each serves its name on its own loopback."""
    with obtain(image) as stored, ExitStack() as stack, ThreadPoolExecutor(MANY) as pool:

        def boot(port: int) -> StartedGuest:
            published = publish.read([f"{ADDRESS}:{port}:80"], NetworkMode.PRIVATE)
            spec = GuestSpec(
                layers=stored.layers, published=published, guests=MANY, boot_timeout=300
            )
            guest = stack.enter_context(start_guest(spec))
            guest.run(["perl", "-e", SERVE])
            return guest

        yield dict(zip(PORTS, pool.map(boot, PORTS), strict=True))


def answer(connection: socket.socket) -> str:
    with connection:
        return connection.makefile().read()


def test_private_network_gives_each_guest_its_own_port_80(guests: dict[int, StartedGuest]) -> None:
    for guest in guests.values():
        assert answer(guest.connect("127.0.0.1:80", "stream", 30)) == guest.name


def test_publish_gives_each_guest_a_port_of_the_host(guests: dict[int, StartedGuest]) -> None:
    names = {port: guest.name for port, guest in guests.items()}
    assert len(set(names.values())) == MANY
    assert {
        port: answer(socket.create_connection((ADDRESS, port), timeout=30)) for port in PORTS
    } == names


def test_thirty_guests_are_running_at_once(guests: dict[int, StartedGuest]) -> None:
    assert {guest.state for guest in guests.values()} == {"running"}
