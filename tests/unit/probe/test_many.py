"""What a package brings by the thousands: no command gets more of it than fits."""

from __future__ import annotations

from postroj.model import CheckKind, CheckResult, Outcome
from postroj.probe import complaints, discover
from postroj.probe.payload import Payload
from postroj.probe.unitstate import look_all
from tests.unit.probe.fake_guest import Answer, FakeGuest, as_guest

COUNT = 5001
ROOM = 64 << 10
"""Bytes of argv; each command takes less."""


def room_of(argv: tuple[str, ...]) -> int:
    return sum(len(word) + 1 for word in argv)


def show(argv: tuple[str, ...]) -> Answer:
    names = argv[argv.index("--") + 1 :]
    return 0, "\n\n".join(f"Id={name}\nLoadState=loaded" for name in names)


def test_states_of_units_come_whole_and_in_their_order() -> None:
    names = [f"{number:0240}.service" for number in range(COUNT)]
    guest = FakeGuest(show)
    assert [state.name for state in look_all(as_guest(guest), names)] == names
    assert max(map(room_of, guest.ran)) < ROOM
    assert len(guest.ran) == 26


def test_nothing_is_asked_about_no_unit() -> None:
    guest = FakeGuest(show)
    assert look_all(as_guest(guest), []) == []
    assert guest.ran == []


def test_errors_in_the_journal_of_many_units() -> None:
    def said(argv: tuple[str, ...]) -> Answer:
        units = [word for word in argv if word.startswith("--unit=")]
        return 0, f"{units[0]}: no\n" if units[0].endswith("200.service") else ""

    passed = [
        CheckResult(
            kind=CheckKind.UNIT,
            subject=f"{number:0240}.service",
            outcome=Outcome.PASS,
            reason="",
            seconds=0,
        )
        for number in range(COUNT)
    ]
    guest = FakeGuest(said)
    *same, told = complaints.tell(as_guest(guest), passed, 0)
    assert same == passed
    assert max(map(room_of, guest.ran)) < ROOM
    assert told.reason.startswith("5 lines, which is no failure\n")


def test_accounts_that_many_files_declare() -> None:
    def cat(argv: tuple[str, ...]) -> Answer:
        return 0, "".join(f"u {path[-9:-5]} -\n" for path in argv[2:])

    files = tuple(f"/usr/lib/sysusers.d/{number:0200}.conf" for number in range(COUNT))
    guest = FakeGuest(cat)
    found = discover._declared(as_guest(guest), Payload(sysusers=files))
    assert found == {f"{number:04}" for number in range(COUNT)}
    assert max(map(room_of, guest.ran)) < ROOM
