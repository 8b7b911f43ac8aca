"""Which evidence is collected after a failure, and how much of it; the guest is a fake."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import Entry, Socket
from postroj.errors import CommandTimeout, GuestError
from postroj.probe.ask import sockets
from postroj.probe.ask.journal import about
from postroj.probe.evidence import collector
from postroj.probe.evidence.collector import Collector, of_console, units_of
from postroj.verdict import CheckKind, CheckResult, Evidence, EvidenceName, Outcome
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_guest import Answer


def echo(argv: tuple[str, ...]) -> Answer:
    return 0, " ".join(argv)


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "listening", lambda leader: [])


def collect(guest: FakeGuest, *units: str, output: str = "") -> dict[str, str]:
    found = Collector(guest).collect(units, 12.9, output)
    return {one.name: one.text for one in found}


def test_collect_asks_for_all_evidence_in_order() -> None:
    guest = FakeGuest(echo, failed=["b.service", "a.service"])
    found = collect(guest, "t@.service", "a.service", output="Setting up a\n")
    assert list(found) == [
        *("output", "status", "unit-journal", "journal", "failed", "jobs", "sockets"),
        *("packages", "cores", "console"),
    ]
    assert found["output"] == "Setting up a"
    assert found["status"] == (
        "systemctl --no-pager status --full --lines=50 -- a.service b.service"
    )
    journal = "journalctl --no-pager --output=short-precise --since=@12 --lines=5000"
    assert found["journal"] == journal
    assert found["unit-journal"] == " ".join([journal, *about(["a.service", "b.service"])])
    assert found["failed"] == "systemctl --no-pager --failed"
    assert found["jobs"] == "systemctl --no-pager list-jobs"
    assert found["sockets"] == "none"
    assert "/var/log/dpkg.log" in found["packages"].split()
    assert found["cores"].endswith(" sh a.service b.service")
    assert found["console"] == "what its console shows"


def test_collect_without_units_and_output() -> None:
    assert {"status", "unit-journal", "output"}.isdisjoint(collect(FakeGuest(echo)))


def test_collect_asks_about_a_limited_number_of_units() -> None:
    guest = FakeGuest(echo, failed=[f"{number}.service" for number in range(1000)])
    assert len(collect(guest, "a.service")["status"].partition("-- ")[2].split()) == 20


def test_a_guest_that_has_ended_leaves_only_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = FakeGuest(echo)
    monkeypatch.setattr(guest, "has_ended", lambda: True)
    assert collect(guest, "a.service", output="half") == {
        "output": "half",
        "console": "what its console shows",
    }
    assert guest.ran == []


def test_unavailable_evidence_has_a_reason() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        match argv:
            case ("journalctl", *_):
                return CommandTimeout(argv, 10, "some lines\nand more")
            case ("systemctl", *_, "list-jobs"):
                return GuestError("the guest ended meanwhile", evidence="panic")
            case _:
                return 4, "odd"

    found = collect(FakeGuest(answer))
    assert found["journal"] == "some lines\nand more\n'journalctl' did not end within 10 s"
    assert found["jobs"] == "not available: the guest ended meanwhile"
    assert found["failed"] == "odd"


def test_evidence_that_the_kernel_refuses_has_a_reason() -> None:
    found = collect(FakeGuest(lambda argv: OSError(5, "Input/output error")))
    assert found["journal"] == "not available: [Errno 5] Input/output error"
    assert found["console"] == "what its console shows"


def test_evidence_is_left_out_after_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Passed:
        left = 0.0

        def __init__(self, seconds: float) -> None: ...

    monkeypatch.setattr(collector, "Deadline", Passed)
    guest = FakeGuest(echo)
    assert set(collect(guest).values()) == {"left out: the evidence before it took 30 s"}
    assert guest.ran == [("failed_units",)]


def test_texts_are_truncated_at_the_size_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "".join(f"line {number}\n" for number in range(200_000))
    monkeypatch.setattr(collector, "LIMIT", 8 << 10)
    monkeypatch.setattr(collector, "ROOM", 20 << 10)
    collecting = Collector(FakeGuest(lambda argv: (0, text)))
    found = [one.text for one in collecting.collect(["a.service"], 0, "")]
    assert all(text.startswith("... the last ") for text in found[:3])
    assert found[0].endswith("\nline 199999")
    assert [len(text) > 7000 for text in found[:3]] == [True, True, False]
    assert set(found[3:]) == {"left out: this probe already has 20 KiB of evidence"}
    assert sum(map(len, found[:3])) < 21 << 10
    assert {one.text for one in collecting.collect([], 0, "")} == set(found[3:])


def test_a_long_text_keeps_whole_lines_of_its_end() -> None:
    long = Evidence(name=EvidenceName.JOURNAL, text="ä" * 3000 + "\n" + "é\n" * 100)
    assert long.within(10_000) is long
    assert long.within(1024).text == "... the last 1 KiB ...\n" + "é\n" * 100
    assert long.within(250).text == "... the last 0 KiB ...\n" + "é\n" * 83
    surrogates = Evidence(name=EvidenceName.SOCKETS, text="\udcff\n" * 2000)
    assert len(surrogates.within(1024).text) < 1100


def test_units_of_bad_checks() -> None:
    def answer(subject: str, outcome: Outcome, kind: CheckKind = CheckKind.UNIT) -> CheckResult:
        return CheckResult(kind=kind, subject=subject, outcome=outcome, reason="", seconds=0)

    assert units_of(
        [
            answer("a", Outcome.FAIL),
            answer("b.socket", Outcome.ERROR),
            answer("c", Outcome.PASS),
            answer("no newly failed unit", Outcome.FAIL, CheckKind.SYSTEM),
            answer("/etc/x", Outcome.FAIL, CheckKind.FILE),
        ]
    ) == ["a.service", "b.socket"]


def test_an_empty_console_is_no_evidence() -> None:
    assert of_console(" \n") == ()
    assert of_console("panic\n") == (Evidence(name=EvidenceName.CONSOLE, text="panic"),)


def test_describe_sockets_names_units_and_processes() -> None:
    tcp = Entry(protocol="tcp", address="[::1]", port=80)
    unix = Entry(protocol="stream", address="/run/x")
    lines = collector.describe_sockets(
        [
            Socket(entry=tcp, process="httpd", unit="httpd.service"),
            Socket(entry=unix, process="systemd"),
        ]
    ).splitlines()
    assert [line.split() for line in lines] == [
        ["tcp", "[::1]:80", "httpd.service", "(httpd)"],
        ["stream", "/run/x", "-", "(systemd)"],
    ]


def test_logs_argv_prints_the_ends_of_regular_files(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 100_000 + "end")
    (tmp_path / "folder").mkdir()
    sh, option, script, *_ = collector.logs_argv()
    paths = [tmp_path / name for name in ("long", "folder", "none")]
    done = subprocess.run([sh, option, script, "sh", *paths], check=True, capture_output=True)
    head, text = done.stdout.decode().split("\n")
    assert head == f"==> {tmp_path / 'long'} <=="
    assert len(text) == 64 << 10
    assert text.endswith("end")
