"""Ports that are published, name servers and IPv6: on a host with a neighbour and nobody else."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.dns import ADDRESS, ADDRESS_6, NAME, answering
from tests.support.nets import HOST, HOST_6, NEIGHBOUR, NEIGHBOUR_6, Wire, inside, wired

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("image")

SERVE = """
use Socket; use IO::Socket::IP; use IO::Select; $| = 1;
my @tcp = map { IO::Socket::IP->new(LocalHost => $_->[0], LocalPort => $_->[1], Listen => 9,
    ReuseAddr => 1, V6Only => 1) or die "@$_: $@" }
    ['0.0.0.0', 80], ['::', 80], ['127.0.0.1', 81], ['0.0.0.0', 90], ['0.0.0.0', 91];
my $udp = IO::Socket::IP->new(LocalHost => '0.0.0.0', LocalPort => 5353, Proto => 'udp') or die $@;
print "listening\\n";
my $all = IO::Select->new(@tcp, $udp);
while (1) {
    for my $ready ($all->can_read) {
        if ($ready == $udp) { $udp->recv(my $text, 99); $udp->send("udp $text"); next }
        my $one = $ready->accept; <$one>; print $one 'port ' . $one->sockport; close $one
    }
}
"""


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with wired() as found:
        yield found


@pytest.fixture(scope="module")
def served(wire: Wire) -> Iterator[subprocess.Popen[str]]:
    """A guest that listens on several ports, of which some are published."""
    argv = ["run", "--publish", "8080:80", "-p", "[::1]:8081:80", "-p", "8082:81"]
    argv += ["-p", f"{HOST}:9080:80", "-p", "0.0.0.0:9190-9191:90-91"]
    argv += ["-p", "0.0.0.0:5353:5353/udp", "--", "perl", "-e", SERVE]
    with wire.start(*argv) as process:
        try:
            assert process.stdout and process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.terminate()


def asked(pid: int, address: str, port: int) -> str:
    """Say what a port answers those in the network of `pid`; '' if nobody does."""

    def connect() -> bytes:
        with socket.create_connection((address, port), timeout=10) as connection:
            # pasta of Debian 12 tells the guest of a connection from afar when the caller speaks
            connection.sendall(b"which?\n")
            return connection.recv(99)

    try:
        return inside(pid, connect).decode()
    except ConnectionError:
        return ""


@pytest.mark.usefixtures("served")
def test_publish_is_reached_from_the_host(wire: Wire) -> None:
    assert asked(wire.host, "127.0.0.1", 8080) == "port 80"
    assert asked(wire.host, "::1", 8081) == "port 80"
    assert asked(wire.host, "127.0.0.1", 8082) == "port 81"
    assert asked(wire.host, "127.0.0.1", 9190) == "port 90"
    assert asked(wire.host, "127.0.0.1", 9191) == "port 91"


@pytest.mark.usefixtures("served")
def test_publish_on_an_address_is_reached_from_its_network(wire: Wire) -> None:
    assert asked(wire.neighbour, HOST, 9080) == "port 80"
    assert asked(wire.neighbour, HOST, 9191) == "port 91"


@pytest.mark.usefixtures("served")
def test_publish_opens_no_other_port_of_the_guest(wire: Wire) -> None:
    for port in (80, 81, 90):
        assert asked(wire.host, "127.0.0.1", port) == ""
        assert asked(wire.neighbour, HOST, port) == ""
    for port in (8080, 8082):
        assert asked(wire.neighbour, HOST, port) == ""
    assert asked(wire.neighbour, HOST_6, 8081) == ""


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("address", ["127.0.0.1", HOST])
def test_publish_forwards_udp(wire: Wire, address: str) -> None:
    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.settimeout(10)
            end.sendto(b"hello", (address, 5353))
            return end.recv(99)

    pid = wire.host if address == "127.0.0.1" else wire.neighbour
    assert inside(pid, ask) == b"udp hello"


@pytest.mark.usefixtures("served")
def test_publish_of_a_port_that_another_guest_has_is_refused(wire: Wire) -> None:
    done = wire.postroj("run", "-p", "8080:80", "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith(
        "error: port 8080/tcp of 127.0.0.1 cannot be published: it is in use on this host\n"
    )


def resolved(wire: Wire, resolv_conf: Path) -> dict[str, str]:
    """Say what a guest takes the addresses of a name to be, and what its resolv.conf says."""
    script = f"getent ahostsv4 {NAME} | head -1; getent ahostsv6 {NAME} | head -1"
    script += "; cat /etc/resolv.conf"
    argv = ["run", "--no-boot", "--", "sh", "-c", script]
    done = wire.postroj(*argv, resolv_conf=resolv_conf)
    assert done.returncode == 0, done.stderr
    four, six, *lines = done.stdout.splitlines()
    return {"4": four.split()[0], "6": six.split()[0], "file": "\n".join(lines)}


@pytest.mark.parametrize(
    ("server", "seen"),
    [
        ("127.0.0.1", "169.254.1.1"),
        ("127.0.0.53", "169.254.1.1"),
        ("::1", "fd70:6f73:7472:6f6a::53"),
        (HOST, "169.254.1.1"),
        (HOST_6, "fd70:6f73:7472:6f6a::53"),
    ],
)
def test_resolv_conf_reaches_a_name_server_on_the_host(
    wire: Wire, tmp_path: Path, server: str, seen: str
) -> None:
    """The host's loopback is out of reach, and its addresses are the guest's own."""
    (tmp_path / "resolv.conf").write_text(f"nameserver {server}\nsearch lan.example\n")
    with answering(wire.host, server) as names:
        found = resolved(wire, tmp_path / "resolv.conf")
    expected = f"nameserver {seen}\nsearch lan.example"
    assert found == {"4": ADDRESS, "6": ADDRESS_6, "file": expected}
    assert set(names) == {NAME}


@pytest.mark.parametrize("server", [NEIGHBOUR, NEIGHBOUR_6])
def test_resolv_conf_reaches_a_name_server_beside_the_host(
    wire: Wire, tmp_path: Path, server: str
) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {server}\n")
    with answering(wire.neighbour, server):
        found = resolved(wire, tmp_path / "resolv.conf")
    assert found == {"4": ADDRESS, "6": ADDRESS_6, "file": f"nameserver {server}"}


def test_resolv_conf_has_the_search_domain(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nsearch lan.example\n")
    short = NAME.partition(".")[0]
    argv = ["run", "--no-boot", "--", "getent", "ahostsv4", short]
    with answering(wire.host, "127.0.0.1"):
        done = wire.postroj(*argv, resolv_conf=tmp_path / "resolv.conf")
    assert done.stdout.startswith(f"{ADDRESS} "), done.stderr


TALK = """
use IO::Socket::IP; my ($host, $port) = @ARGV;
my $end = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port) or die $@;
print scalar <$end>;
"""


def test_network_private_reaches_ipv6(wire: Wire) -> None:
    """Its own loopback, and out of it."""
    server = inside(
        wire.neighbour, lambda: socket.create_server((NEIGHBOUR_6, 0), family=socket.AF_INET6)
    )
    with server:
        port = server.getsockname()[1]
        own = "my $own = IO::Socket::IP->new(LocalHost => '::1', Listen => 1) or die; "
        own += "IO::Socket::IP->new(PeerHost => '::1', PeerPort => $own->sockport) or die; "
        argv = ["run", "--no-boot", "--", "perl", "-e", f"use IO::Socket::IP; {own} {TALK}"]
        with wire.start(*argv, NEIGHBOUR_6, port) as process:
            server.settimeout(60)
            connection, peer = server.accept()
            with connection:
                connection.sendall(b"hello over 6\n")
            out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "hello over 6\n")
    assert peer[0] == HOST_6
