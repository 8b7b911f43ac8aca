"""How a guest resolves names, and pasta's command line."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from postroj.container import network
from postroj.errors import GuestError
from postroj.model import NetworkMode

STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan.example\n"
UPLINK = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch lan.example\n"
FORWARDED = f"nameserver {network.FORWARDER}\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([STUB], f"{FORWARDED}options edns0 trust-ad\nsearch lan.example\n"),
        (
            [STUB, UPLINK],
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"
            "options edns0 trust-ad\nsearch lan.example\n",
        ),
        ([UPLINK, UPLINK], UPLINK),
        (["nameserver ::1\n"], FORWARDED),
        (["nameserver fe80::1%eth0\nnameserver fe80::1\nnameserver 169.254.7.7\n"], FORWARDED),
        (
            ["".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6))],
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n",
        ),
        (["nameserver\nnameserver dns.example\nnonsense\n\n; comment\n"], FORWARDED),
        (["\tnameserver\t192.0.2.1 # mine\n"], "nameserver 192.0.2.1\n"),
        ([], FORWARDED),
        (["", ""], FORWARDED),
    ],
)
def test_resolv_conf_of_a_private_network(texts: list[str], expected: str) -> None:
    assert network.resolv_conf(NetworkMode.PRIVATE, texts) == expected


def test_resolv_conf_of_the_other_networks() -> None:
    assert network.resolv_conf(NetworkMode.HOST, [STUB, UPLINK]) == STUB
    assert network.resolv_conf(NetworkMode.HOST, []) == ""
    assert "nameserver" not in network.resolv_conf(NetworkMode.NONE, [STUB, UPLINK])


PASTA = [
    *("pasta", "--quiet", "--config-net", "--no-map-gw", "--runas", "0"),
    *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
]


def test_pasta() -> None:
    assert network.pasta_argv(UPLINK) == PASTA
    assert network.pasta_argv(FORWARDED) == [*PASTA, "--dns-forward", network.FORWARDER]


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace takes root")
class TestInside:
    def test_it_is_the_namespace_of_the_process(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            network.inside(os.getpid(), lambda: socket.create_connection(address).close())

    def test_it_happens_in_a_thread_of_its_own(self) -> None:
        assert network.inside(os.getpid(), threading.get_ident) != threading.get_ident()

    def test_what_is_raised_comes_back(self) -> None:
        with pytest.raises(ZeroDivisionError):
            network.inside(os.getpid(), lambda: 1 // 0)


def test_a_process_that_is_gone() -> None:
    with pytest.raises(GuestError, match="cannot be entered"):
        network.inside(2**22 + 1, lambda: None)
