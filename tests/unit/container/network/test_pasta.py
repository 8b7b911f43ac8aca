"""How a guest resolves names, and pasta's command line."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from postroj.container.network import pasta, publish
from postroj.errors import GuestError
from postroj.model import NetworkMode
from tests.support.nets import inside

if TYPE_CHECKING:
    from pathlib import Path

STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan.example\n"
UPLINK = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch lan.example\n"
SEARCH = "search lan.example\n"
FORWARDED = f"nameserver {pasta.FORWARDER}\n"
FORWARDED_6 = f"nameserver {pasta.FORWARDER_6}\n"


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
        (["nameserver ::1\n"], FORWARDED_6),
        (["nameserver ::1\nnameserver 127.0.0.1\n"], FORWARDED),
        ([f"domain lan.example\n{FORWARDED}"], f"{FORWARDED}domain lan.example\n"),
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
    assert pasta.resolv_conf(NetworkMode.PRIVATE, texts) == expected


def test_resolv_conf_of_the_other_networks() -> None:
    assert pasta.resolv_conf(NetworkMode.HOST, [STUB, UPLINK]) == STUB
    assert pasta.resolv_conf(NetworkMode.HOST, []) == ""
    assert "nameserver" not in pasta.resolv_conf(NetworkMode.NONE, [STUB, UPLINK])


def test_a_server_on_an_address_that_the_guest_has_too_is_asked_by_pasta() -> None:
    texts = [f"nameserver 192.0.2.7\n{SEARCH}"]
    assert pasta.resolv_conf(NetworkMode.PRIVATE, texts, {"192.0.2.7"}) == FORWARDED + SEARCH
    both = ["nameserver 192.0.2.7\nnameserver 192.0.2.8\n"]
    found = pasta.resolv_conf(NetworkMode.PRIVATE, both, {"192.0.2.7"})
    assert found == "nameserver 192.0.2.8\n"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "0.0.0.0"])
def test_addresses_of_this_host(address: str) -> None:
    assert pasta.is_own(address)


@pytest.mark.parametrize("address", ["192.0.2.250", "2001:db8::7", "localhost", "", "fe80::1%no"])
def test_other_addresses(address: str) -> None:
    assert not pasta.is_own(address)


PASTA = ["pasta", "--quiet", "--config-net", "--no-map-gw", "--runas", "0"]
CLOSED = ["--tcp-ports", "none", "--udp-ports", "none"]
APART = ["--tcp-ns", "none", "--udp-ns", "none"]


def test_pasta() -> None:
    assert pasta.pasta_argv(UPLINK) == [*PASTA, *CLOSED, *APART]
    for text, forwarder in (
        (FORWARDED, pasta.FORWARDER),
        (FORWARDED_6, pasta.FORWARDER_6),
    ):
        argv = [*PASTA, *CLOSED, *APART, "--dns-forward", forwarder]
        assert pasta.pasta_argv(text) == argv


def test_pasta_opens_what_was_asked_for_and_nothing_else() -> None:
    one, two = publish.read(["8080:80", "[::1]:7000-7009:7100-7109"], NetworkMode.PRIVATE)
    opened = ["--tcp-ports", "127.0.0.1/8080-8080:80-80", "--tcp-ports", "::1/7000-7009:7100-7109"]
    argv = [*PASTA, "--udp-ports", "none", *opened, *APART]
    assert pasta.pasta_argv(UPLINK, [one, two]) == argv
    shown = [*PASTA, *CLOSED, "--tcp-ns", "3128,8118", "--udp-ns", "none"]
    assert pasta.pasta_argv(UPLINK, shown=(3128, 8118)) == shown


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace takes root")
class TestInside:
    def test_it_is_the_namespace_of_the_process(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            inside(os.getpid(), lambda: socket.create_connection(address).close())

    def test_it_happens_in_a_thread_of_its_own(self) -> None:
        assert inside(os.getpid(), threading.get_ident) != threading.get_ident()

    def test_what_is_raised_comes_back(self) -> None:
        with pytest.raises(ZeroDivisionError):
            inside(os.getpid(), lambda: 1 // 0)

    def test_a_file_that_is_no_namespace(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file, pytest.raises(GuestError, match="be entered"):
            pasta.inside(file.fileno(), lambda: None)
