"""Which addresses accept connections, and how they are reached."""

from __future__ import annotations

import pytest

from postroj.probe.ask.addresses import can_connect, destination


@pytest.mark.parametrize(
    ("address", "kind", "known"),
    [
        ("127.0.0.1:80", "Stream", True),
        ("[::]:80", "stream", True),
        ("[fe80::1%eth0]:80", "Stream", True),
        ("/run/x.sock", "SequentialPacket", True),
        ("@name", "seqpacket", True),
        ("127.0.0.1:53", "Datagram", False),
        ("/run/x.fifo", "FIFO", False),
        ("vsock::22", "Stream", False),
        ("route 1361", "Netlink", False),
    ],
)
def test_can_connect_needs_a_stream_address(address: str, kind: str, known: bool) -> None:
    assert can_connect(address, kind) is known


def test_destination_of_a_wildcard_is_the_loopback() -> None:
    assert [destination(host) for host in ("0.0.0.0", "::", "10.0.0.1", "::1")] == [
        *("127.0.0.1", "::1", "10.0.0.1", "::1")
    ]
