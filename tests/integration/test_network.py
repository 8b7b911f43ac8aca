"""A guest's network is its own: outbound access, names, and no way to anybody else's ports."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.cli import POSTROJ, postroj, start

pytestmark = pytest.mark.usefixtures("image")

LISTEN = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', "
    "LocalPort => {port}, Listen => 1) or die $!; $| = 1; print qq(listening\\n); sleep 60;"
)


def mirror_host() -> str:
    """The host that the guest fetches its packages from."""
    script = "sed -n 's,^deb .*https*://\\([^/ ]*\\).*,\\1,p' /etc/apt/sources.list | head -1"
    return postroj("run", "--no-boot", "--", "sh", "-c", script).stdout.strip()


def test_a_private_guest_reaches_its_mirror_by_name() -> None:
    done = postroj("run", "--", "apt-get", "--option=APT::Update::Error-Mode=any", "update")
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_guests_and_the_host_listen_on_the_same_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = LISTEN.format(port=server.getsockname()[1])
        guests = [start("run", "--", "perl", "-e", listen) for _ in range(2)]
        try:
            for process in guests:
                assert process.stdout
                assert process.stdout.readline() == b"listening\n"
        finally:
            for process in guests:
                process.terminate()
                process.communicate(timeout=20)


CONNECT = (
    "use IO::Socket::INET; print IO::Socket::INET->new(PeerAddr => '{host}', PeerPort => {port}, "
    "Timeout => 3) ? 'reached' : qq(refused);"
)


def reach(network: str, host: str, port: int) -> str:
    script = CONNECT.format(host=host, port=port)
    return postroj("run", "--no-boot", "--network", network, "--", "perl", "-e", script).stdout


def test_a_private_guest_cannot_reach_the_loopback_of_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (
            reach("host", "127.0.0.1", port) == "reached"
        )  # so that the next line means something
        assert reach("private", "127.0.0.1", port) == "refused"
        assert reach("none", "127.0.0.1", port) == "refused"


def test_without_network_there_is_loopback_only() -> None:
    done = postroj("run", "--network", "none", "--", "sh", "-c", "ls /sys/class/net")
    assert done.stdout.split() == ["lo"]


def test_names_are_resolved_when_the_host_has_a_stub_resolver_only(tmp_path: Path) -> None:
    """As on a host with systemd-resolved: /etc/resolv.conf names 127.0.0.53 and nobody else."""
    upstream = next(
        line.split()[1]
        for line in Path("/etc/resolv.conf").read_text().splitlines()
        if line.startswith("nameserver")
    )
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stub:
        stub.bind(("127.0.0.53", 53))
        thread = threading.Thread(target=forward, args=(stub, upstream, asked))
        thread.start()
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0\n")
        script = 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'
        guest = [*POSTROJ, "run", "--", "getent", "hosts", mirror_host()]
        argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(tmp_path / "resolv.conf")]
        done = subprocess.run(
            [*argv, *guest], check=False, capture_output=True, text=True, timeout=60
        )
        stub.sendto(b"", ("127.0.0.53", 53))
        thread.join()
    assert done.returncode == 0, done.stderr
    assert asked


def forward(stub: socket.socket, upstream: str, asked: list[bytes]) -> None:
    """Pass questions on to a real server until an empty one comes."""
    while True:
        question, peer = stub.recvfrom(4096)
        if not question:
            return
        asked.append(question)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(10)
            out.sendto(question, (upstream, 53))
            stub.sendto(out.recv(4096), peer)
