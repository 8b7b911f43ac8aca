"""Which sockets are a unit's, and how their addresses are written."""

from __future__ import annotations

from postroj.container.guest import Entry, Socket
from postroj.probe.ask import sockets
from tests.support.fake_guest import FakeGuest


def test_listening_leaves_out_what_no_process_of_the_guest_has_open() -> None:
    entry = Entry(protocol="tcp", address="127.0.0.1", port=22)
    own = Socket(entry=entry, process="sshd", unit="ssh.service")
    assert sockets.listening(FakeGuest(listening=[Socket(entry=entry), own])) == [own]


def sockets_of(*entries: Entry) -> list[Socket]:
    return [Socket(entry=entry, process="x", unit="x.service") for entry in entries]


def test_addresses_are_listed_once_and_up_to_a_limit() -> None:
    six = Entry(protocol="tcp", address="[::]", port=80)
    entries = [six, Entry(protocol="udp", address="0.0.0.0", port=53), six]
    entries.append(Entry(protocol="stream", address="/run/x"))
    assert sockets.addresses(sockets_of(*entries)) == "[::]:80, udp 0.0.0.0:53, /run/x"
    many = [Entry(protocol="tcp", address="127.0.0.1", port=port) for port in range(9)]
    assert sockets.addresses(sockets_of(*many)).endswith("127.0.0.1:5 and 3 more")
    assert sockets.addresses([]) == ""


def test_of_units_selects_by_the_unit_of_the_process() -> None:
    found = sockets_of(Entry(protocol="stream", address="/run/x"))
    assert sockets.of_units(found, ["alias.service", "x.service"]) == found
    assert sockets.of_units(found, ["y.service"]) == []
