"""What a package brings by the thousands: no command gets more of it than fits."""

from __future__ import annotations

import pytest

from postroj.errors import GuestError
from postroj.probe import operations
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import UnitState, read_states
from postroj.probe.compare import complaints
from postroj.probe.discover import examine, other_files, snapshot
from postroj.probe.discover.payload import Payload
from postroj.probe.managers.base import Query
from postroj.verdict import CheckKind, CheckResult, Outcome
from tests.support.fake_guest import Answer, FakeGuest

COUNT = 5001
PROGRAM = "ExecStart={ path=/bin/x ; argv[]=/bin/x ; ignore_errors=no ; start_time=[n/a] }"
ROOM = 256 << 10
"""Bytes of argv; each command takes less."""


def room_of(argv: tuple[str, ...]) -> int:
    return sum(len(word) + 1 for word in argv)


def show(argv: tuple[str, ...]) -> Answer:
    names = argv[argv.index("--") + 1 :]
    return 0, "\n\n".join(f"Id={name}\nLoadState=loaded" for name in names)


def test_states_of_units_come_whole_and_in_their_order() -> None:
    names = [f"{number:0240}.service" for number in range(COUNT)]
    guest = FakeGuest(show)
    assert [state.name for state in read_states(guest, names)] == names
    assert max(map(room_of, guest.ran)) < ROOM
    assert len(guest.ran) == 26


def test_read_states_without_names_asks_nothing() -> None:
    guest = FakeGuest(show)
    assert read_states(guest, []) == []
    assert guest.ran == []


def test_errors_in_the_journal_of_many_units() -> None:
    def said(argv: tuple[str, ...]) -> Answer:
        units = [word for word in argv if word.startswith("UNIT=")]
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
    *same, errors = complaints.with_errors(guest, passed, 0)
    assert same == passed
    assert max(map(room_of, guest.ran)) < ROOM
    assert errors.reason.startswith("5 lines, not a failure\n")


def test_all_files_of_a_large_package_are_known() -> None:
    paths = [f"/usr/share/x/{number:0100}" for number in range(50_000)]
    listing = "".join(f"{path}\n" for path in paths)
    guest = FakeGuest(lambda argv: (0, listing))
    query = Query(argv=("list",), read=str.split)
    assert operations.ask(guest, query) == paths


def test_a_truncated_answer_of_the_package_manager_is_an_error() -> None:
    guest = FakeGuest(lambda argv: (0, "x\n" * operations.WHOLE))
    query = Query(argv=("list", "x"), read=str.split)
    with pytest.raises(GuestError, match="'list' printed more than 16 MiB in the guest"):
        operations.ask(guest, query)


def test_accounts_that_many_files_declare() -> None:
    files = {f"/usr/lib/sysusers.d/{n:0200}.conf": f"u {n:04} -\n".encode() for n in range(COUNT)}
    guest = FakeGuest(files=files)
    brought = Payload(sysusers=(*files, "/usr/lib/sysusers.d/gone.conf"))
    found = other_files.check(guest, brought, snapshot.parse("", ()), lambda: "")
    assert len(found.remarks) == COUNT
    assert len(guest.ran) < 100


def test_many_idle_units_without_a_program() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        names = argv[argv.index("--") + 1 :]
        if argv[:2] == ("systemctl", "show"):
            return 0, "\n\n".join(f"Id={name}\nLoadState=loaded\n{PROGRAM}" for name in names)
        lines = (f"{name.rpartition('/')[2]}: Command /bin/x" for name in names)
        return 1, "\n".join(lines) if argv[0] == "systemd-analyze" else ""

    guest = FakeGuest(answer)
    names = [f"{number:0200}.service" for number in range(COUNT)]
    idle = {
        name: UnitState(
            name=name, load="loaded", active="inactive", sub="dead", file=f"/lib/systemd/{name}"
        )
        for name in names
    }
    asked = [Question(kind=CheckKind.UNIT, subject=name, skip="disabled") for name in names]
    empty = snapshot.parse("", ())
    found, _ = examine.examine(guest, Payload(), idle, asked, empty, lambda: "")
    assert [question.subject for question in found if question.fault] == names
    assert found[0].fault.endswith(f"{names[0]}: Command /bin/x")
    assert max(map(room_of, guest.ran)) < ROOM
    assert len(guest.ran) < 100
