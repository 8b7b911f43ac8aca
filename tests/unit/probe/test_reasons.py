"""Reasons and evidence are limited, however much a guest prints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postroj.container.guest import Entry, FileKind, Socket, Written
from postroj.model import Manager
from postroj.probe import operations
from postroj.probe.ask import journal, ports
from postroj.probe.compare import residue
from postroj.probe.managers import manager_of
from postroj.probe.managers.base import Blame
from postroj.probe.package.formats import Format
from postroj.probe.package.package_file import PackageFile
from postroj.process import LONGEST
from postroj.verdict import Outcome
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FLOOD = "\n".join("x" * 5000 for _ in range(200))
NOTHING = frozenset[str]()


def test_inspect_shows_the_end_of_the_output_for_an_unreadable_package(tmp_path: Path) -> None:
    guest = FakeGuest(lambda argv: (2 if "dpkg-deb" in argv else 0, FLOOD))
    file = PackageFile(path=tmp_path / "x.deb", format=Format.DEB)
    found = operations.inspect(guest, manager_of(Manager.APT), [file])
    assert isinstance(found, Blame)
    assert found.evidence.splitlines() == ["x" * LONGEST] * 20


def test_the_journal_of_a_unit_is_limited() -> None:
    text = journal.last(FakeGuest(lambda argv: (0, FLOOD)), "x.service")
    assert text.splitlines() == ["x" * LONGEST] * 100


def test_other_listeners_are_limited_with_the_same_port_first() -> None:
    entries = [Entry(protocol="tcp", address="[::]", port=port) for port in range(1, 3001)]
    guest = FakeGuest(listening=[Socket(entry=entry) for entry in entries])
    beside, evidence = ports._other_listeners(
        guest, ports.endpoint("tcp://localhost:3000")
    ).splitlines()
    assert beside == "listening on that port: [::]:3000"
    assert evidence.startswith("tcp sockets that listen in the guest: [::]:1, [::]:2, ")
    assert evidence.endswith(", [::]:20 and 2980 more")


def test_dangling_unit_links_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {f"/etc/systemd/system/a.wants/{number:04}.service" for number in range(3000)}
    link = partial(Written, kind=FileKind.LINK, mode=0o777, uid=0, gid=0, size=1)
    monkeypatch.setattr(FakeGuest, "written", lambda self: {p: link(path=p) for p in links})
    monkeypatch.setattr(FakeGuest, "exists", lambda self, path: False)
    before = residue.Inventory(written={}, users=NOTHING, diversions=NOTHING)
    left = residue.Residue(FakeGuest(lambda argv: (0, "")), manager_of(Manager.APT), before)
    outcome, reason = left.ask_links()
    assert outcome is Outcome.FAIL
    assert reason.splitlines() == [
        "links to units that are gone",
        *sorted(links)[:20],
        "and 2980 more",
    ]


def test_links_into_run_and_empty_homes_of_users_that_stay_are_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {
        "/etc/sv/x": FileKind.FOLDER,
        "/etc/sv/x/log": FileKind.FOLDER,
        "/etc/sv/x/log/supervise": FileKind.LINK,
        "/etc/sv/x/supervise": FileKind.LINK,
        "/var/lib/x": FileKind.FOLDER,
        "/var/lib/y": FileKind.FOLDER,
        "/etc/y": FileKind.FOLDER,
        "/etc/y/link": FileKind.LINK,
        "/etc/y/file": FileKind.FILE,
    }
    made = partial(Written, mode=0o755, uid=0, gid=0, size=0)
    written = {path: made(path=path, kind=kind) for path, kind in kinds.items()}
    monkeypatch.setattr(FakeGuest, "written", lambda self: written)
    monkeypatch.setattr(FakeGuest, "exists", lambda self, path: True)
    users = "root:x:0:0::/root:/bin/sh\nx:x:7:7::/var/lib/x:/bin/sh\n"
    into_run = "/etc/sv/x/log/supervise\0/etc/sv/x/supervise\0/etc/y/link\0"
    answers = {"cat": users, "find": into_run}
    before = residue.Inventory(written={}, users=frozenset({"root"}), diversions=NOTHING)
    guest = FakeGuest(lambda argv: (0, answers.get(argv[0], "")))
    outcome, reason = residue.Residue(guest, manager_of(Manager.APT), before).ask_files()
    wanted = ["left behind: 2 files", "/etc/y/ with 1 file", "/var/lib/y"]
    assert (outcome, reason.splitlines()) == (Outcome.FAIL, wanted)


def test_files_of_dependencies_that_left_are_not_those_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = partial(Written, kind=FileKind.FILE, mode=0o644, uid=0, gid=0, size=1)
    paths = ("/etc/mine.conf", "/etc/systemd/system/other.service")
    monkeypatch.setattr(FakeGuest, "written", lambda self: {p: file(path=p) for p in paths})
    before = residue.Inventory(written={}, users=NOTHING, diversions=NOTHING)
    guest = FakeGuest(lambda argv: (0, ""))
    left = residue.Residue(guest, manager_of(Manager.APT), before, foreign=paths[1:])
    outcome, reason = left.ask_files()
    assert (outcome, reason.splitlines()[0]) == (Outcome.FAIL, "left behind: 1 file")
    assert paths[1] not in reason
