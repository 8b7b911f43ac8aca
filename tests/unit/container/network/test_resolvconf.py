"""Which name servers a guest asks, for the files that hosts have."""

from __future__ import annotations

import pytest

from postroj.container.network import resolvconf
from postroj.model import NetworkMode

STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan.example\n"
UPLINK = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch lan.example\n"
SEARCH = "search lan.example\n"
FORWARDED = f"nameserver {resolvconf.FORWARDER}\n"
FORWARDED_6 = f"nameserver {resolvconf.FORWARDER_6}\n"


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
def test_choose_for_a_private_network(texts: list[str], expected: str) -> None:
    assert resolvconf.choose(NetworkMode.PRIVATE, texts) == expected


def test_choose_for_the_host_network_and_for_none() -> None:
    assert resolvconf.choose(NetworkMode.HOST, [STUB, UPLINK]) == STUB
    assert resolvconf.choose(NetworkMode.HOST, []) == ""
    assert "nameserver" not in resolvconf.choose(NetworkMode.NONE, [STUB, UPLINK])


def test_choose_leaves_out_servers_on_addresses_that_the_guest_has() -> None:
    texts = [f"nameserver 192.0.2.7\n{SEARCH}"]
    assert resolvconf.choose(NetworkMode.PRIVATE, texts, {"192.0.2.7"}) == FORWARDED + SEARCH
    both = ["nameserver 192.0.2.7\nnameserver 192.0.2.8\n"]
    found = resolvconf.choose(NetworkMode.PRIVATE, both, {"192.0.2.7"})
    assert found == "nameserver 192.0.2.8\n"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "0.0.0.0"])
def test_is_own_address(address: str) -> None:
    assert resolvconf.is_own(address)


@pytest.mark.parametrize("address", ["192.0.2.250", "2001:db8::7", "localhost", "", "fe80::1%no"])
def test_is_not_own_address(address: str) -> None:
    assert not resolvconf.is_own(address)
