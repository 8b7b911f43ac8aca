"""Which sockets of a unit are waited for."""

from __future__ import annotations

from postroj.container.guest import Entry, Socket
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.lateness import await_sockets, count
from tests.support.fake_guest import FakeGuest


def socket(port: int, unit: str = "x.service", protocol: str = "tcp") -> Socket:
    entry = Entry(protocol=protocol, address="127.0.0.1", port=port)
    return Socket(entry=entry, process="x", unit=unit)


def test_count_leaves_out_udp_and_processes_in_no_unit() -> None:
    found = [socket(1), socket(2), socket(3, protocol="udp"), socket(4, unit="")]
    assert count(found) == {("x.service", "tcp"): 2}


def test_await_sockets_is_content_with_other_ports() -> None:
    guest = FakeGuest(listening=[socket(700), socket(701)])
    await_sockets(guest, [socket(80), socket(81)], Deadline(30))
    assert guest.ran == []


def test_await_sockets_does_not_wait_for_a_unit_that_is_down() -> None:
    guest = FakeGuest(answer=lambda argv: (0, "Id=x.service\nActiveState=failed\n"))
    deadline = Deadline(30)
    await_sockets(guest, [socket(80)], deadline)
    assert deadline.spent < 5


def test_await_sockets_waits_for_a_unit_that_is_up_until_the_deadline() -> None:
    guest = FakeGuest(answer=lambda argv: (0, "Id=x.service\nActiveState=active\n"))
    deadline = Deadline(0.6)
    await_sockets(guest, [socket(80)], deadline)
    assert deadline.spent >= 0.6
