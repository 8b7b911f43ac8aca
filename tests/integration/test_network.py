"""A guest's network is its own: outbound access, names, and no way to anybody else's ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from postroj.model import Manager
from postroj.prepare import obtain
from tests.integration.test_warm import lay_in
from tests.support import debs
from tests.support.cli import POSTROJ, postroj, start
from tests.support.proxy import proxied

pytestmark = pytest.mark.usefixtures("image")

LISTEN = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', "
    "LocalPort => {port}, Listen => 1) or die $!; $| = 1; print qq(listening\\n); sleep 60;"
)


def mirror_host() -> str:
    """The host that the guest fetches its packages from."""
    script = "sed -n 's,^deb .*https*://\\([^/ ]*\\).*,\\1,p' /etc/apt/sources.list | head -1"
    return postroj("run", "--no-boot", "--", "sh", "-c", script).stdout.strip()


def test_network_private_resolves_and_reaches_a_mirror() -> None:
    done = postroj("run", "--", "apt-get", "--option=APT::Update::Error-Mode=any", "update")
    assert done.returncode == 0, done.stdout + done.stderr


def test_network_private_lets_guests_and_host_listen_on_one_port() -> None:
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


def test_network_private_does_not_reach_the_loopback_of_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (
            reach("host", "127.0.0.1", port) == "reached"
        )  # so that the next line means something
        assert reach("private", "127.0.0.1", port) == "refused"
        assert reach("none", "127.0.0.1", port) == "refused"


def test_network_none_has_only_loopback() -> None:
    done = postroj("run", "--network", "none", "--", "sh", "-c", "ls /sys/class/net")
    assert done.stdout.split() == ["lo"]


def test_network_private_resolves_names_behind_a_stub_resolver(tmp_path: Path) -> None:
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


TUNNEL = (
    "! /usr/lib/apt/apt-helper -o Acquire::Retries=0 download-file https://tunnel.example/x /tmp/x"
    " >/dev/null 2>&1"
)


def test_proxy_on_the_loopback_of_the_host_is_reached_and_no_other_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, proxied() as proxy:
        reach_other = CONNECT.format(host="127.0.0.1", port=other.getsockname()[1])
        update = "apt-get --option=APT::Update::Error-Mode=any update >/dev/null"
        argv = ["sh", "-ec", f'{update}; {TUNNEL}; perl -e "$1"', "sh", reach_other]
        done = postroj("-v", "run", "--no-boot", "--proxy", proxy.url, "--", *argv)
    assert (done.returncode, done.stdout) == (0, "refused"), done.stderr
    assert any(asked.startswith(f"http://{mirror_host()}/") for asked in proxy.asked)
    assert "tunnel.example:443" in proxy.asked
    assert "secret" not in done.stderr


def test_proxy_of_the_environment_is_used_only_with_the_option() -> None:
    environ = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": "lan.example"}
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        environ.pop(name, None)
    show = ["--", "sh", "-c", "env | grep -i proxy | sort"]
    for options, expected in (
        ([], ""),
        (["--proxy=host"], "http_proxy=http://127.0.0.1:9\nno_proxy=lan.example\n"),
    ):
        done = postroj("run", "--no-boot", *options, *show, env=environ)
        assert done.stdout == expected, done.stderr


def test_pkgprobe_proxy_fetches_through_it_and_hides_its_password(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with obtain(image) as stored:
        files = stored.layers
        monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
        lay_in(files, "behind-proxy", Manager.APT)
    package = debs.build(tmp_path, "proxied")
    argv = ["pkgprobe", "-p", package, "-i", "behind-proxy", "--no-project", "--json"]
    with proxied() as proxy:
        argv += ["--settle=0", "--proxy", proxy.url.replace("127.0.0.1", "localhost")]
        done = postroj(*argv, "--setup", TUNNEL, "--check-command", "! env | grep -i _proxy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(asked.endswith("/InRelease") for asked in proxy.asked)
    assert "tunnel.example:443" in proxy.asked
    assert "secret" not in done.stdout + done.stderr
    (probe,) = json.loads(done.stdout)["probes"]
    assert f"***@localhost:{proxy.server_port}" in probe["reproduce"]
