"""Kinds of checks that tables `check` ask: what each demands, and how often it is asked."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.guest import Entry, Process, Socket
from postroj.errors import UsageError
from postroj.model import Manager
from postroj.probe.ask import accounts, closed, dns, installed, kinds, running
from postroj.probe.ask.kinds import Manners
from postroj.probe.ask.question import Question, Required, Scene
from postroj.probe.managers import manager_of
from postroj.verdict import CheckKind, Outcome
from tests.support.fake_guest import Answer, FakeGuest

if TYPE_CHECKING:
    from collections.abc import Callable

PASS, FAIL = Outcome.PASS, Outcome.FAIL
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/usr/sbin/nologin\nodd\n"
GROUP = b"adm:x:4:syslog,me\nwww:x:34:\n"
NGINX = Process(
    pid=7,
    name="nginx",
    group="/system.slice/nginx.service",
    unit="nginx.service",
    executable="/usr/sbin/nginx",
    arguments=("nginx: master process",),
)
SCRIPT = Process(
    pid=8,
    name="a-name-longer-t",
    group="/",
    unit="",
    executable="/usr/bin/python3.13",
    arguments=("/usr/bin/python3", "/usr/bin/a-name-longer-than-15"),
)
ZOMBIE = Process(pid=9, name="dead", group="/", unit="")


def ask(
    guest: FakeGuest,
    kind: CheckKind,
    subject: str,
    timeout: float | None = None,
    units: tuple[str, ...] = (),
    **required: Any,
) -> tuple[Outcome, str]:
    question = Question(kind=kind, subject=subject, timeout=timeout, required=Required(**required))
    scene = Scene(manager=manager_of(Manager.APT), units=lambda: units, began=1000.0)
    manners = Manners(timeout=0.1, settle=0)
    return kinds.ask(guest, manners, kinds.no_owner, scene, question, threading.Event())


def stat(*facts: str) -> FakeGuest:
    return FakeGuest(lambda argv: (0, "\t".join(facts) + "\n"))


CONF = stat("regular file", "9", "640", "root", "www", "0", "34")


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        ({}, ""),
        ({"type": "file", "mode": "0640", "owner": "root:www", "content": r"^port=\d+$"}, ""),
        ({"owner": "0:34"}, ""),
        ({"owner": ":www"}, ""),
        ({"mode": "0600"}, "mode 640 instead of 600"),
        ({"type": "folder"}, "regular file instead of directory"),
        ({"owner": "www"}, "owner root:www instead of www"),
        ({"owner": "root:root"}, "owner root:www instead of root:root"),
        ({"content": "^ort"}, "nothing in it matches '^ort'\n# x\nport=80"),
        (
            {"mode": "0", "owner": ":x"},
            "mode 640 instead of 0, owner root:www instead of :x",
        ),
    ],
)
def test_file_must_be_as_it_is_required_to_be(required: dict[str, Any], reason: str) -> None:
    CONF.files["/etc/x"] = b"# x\nport=80\n"
    found = ask(CONF, CheckKind.FILE, "/etc/x", **required)
    assert found[0] is (FAIL if reason else PASS)
    if reason:
        assert found[1] == reason


def test_file_whose_content_cannot_be_read_fails() -> None:
    found = ask(stat("socket", "0", "666", "root", "root", "0", "0"), CheckKind.FILE, "/s")
    assert found == (PASS, "socket, 0 bytes, mode 666, owner root:root")
    outcome, reason = ask(CONF, CheckKind.FILE, "/none", content="x")
    assert (outcome, reason) == (FAIL, "its content cannot be read (/none)")


@pytest.mark.parametrize(("kind", "is_followed"), [("link", False), ("file", True), ("", True)])
def test_file_follows_links_unless_a_link_is_required(kind: str, *, is_followed: bool) -> None:
    guest = stat("symbolic link", "1", "777", "root", "root", "0", "0")
    ask(guest, CheckKind.FILE, "/l", type=kind)
    assert ("-L" in guest.ran[0]) is is_followed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nginx", [NGINX]),
        ("/usr/sbin/nginx", [NGINX]),
        ("/sbin/nginx", [NGINX]),
        ("a-name-longer-than-15", [SCRIPT]),
        ("/usr/bin/a-name-longer-than-15", [SCRIPT]),
        ("python3", [SCRIPT]),
        ("ngin", []),
        ("/usr/bin/nginx", []),
        ("dead", []),
    ],
)
def test_process_is_found_by_path_or_name(text: str, found: list[Process]) -> None:
    assert running.matching([NGINX, SCRIPT, ZOMBIE], text) == found


def test_process_must_run_as_its_owner() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        return (2, "") if argv[0] == "getent" else (0, "7 33\n")

    guest = FakeGuest(answer, files={"/etc/passwd": PASSWD}, running=[NGINX])
    assert ask(guest, CheckKind.PROCESS, "nginx", owner="www") == (
        PASS,
        "nginx (PID 7, nginx.service), user www",
    )
    outcome, reason = ask(guest, CheckKind.PROCESS, "nginx", owner="root")
    assert outcome is FAIL
    assert reason == "runs as www instead of root: nginx (PID 7, nginx.service) after 0.1 s"
    outcome, reason = ask(guest, CheckKind.PROCESS, "nginx", owner="nobody-knows")
    assert (outcome, reason.split(";")[0]) == (FAIL, "there is no user 'nobody-knows'")
    outcome, reason = ask(guest, CheckKind.PROCESS, "redis")
    assert reason.splitlines() == [
        "no such process runs after 0.1 s",
        "processes of units: nginx (PID 7, nginx.service)",
    ]


def test_accounts_come_from_the_files_of_the_guest_or_from_getent() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        return (0, "far:x:900:900::/:/bin/sh") if argv[-1] == "far" else (2, "")

    guest = FakeGuest(answer, files={"/etc/passwd": PASSWD, "/etc/group": GROUP})
    user, group = CheckKind.USER, CheckKind.GROUP
    www = "UID 33, GID 34, home /var/www, shell /usr/sbin/nologin"
    assert ask(guest, user, "www") == (PASS, www)
    assert guest.ran == []
    assert ask(guest, user, "far") == (PASS, "UID 900, GID 900, home /, shell /bin/sh")
    assert ask(guest, user, "near") == (FAIL, "there is no such user")
    assert ask(guest, group, "adm") == (PASS, "GID 4, members syslog,me")
    assert ask(guest, group, "far2") == (FAIL, "there is no such group")
    found = accounts.find(guest, user, "33")
    assert found
    assert found.name == "www"


def test_versions_are_conditions_or_a_pattern() -> None:
    assert [(one.sign, one.version) for one in installed.parse(">= 1:2.0~rc1-1,<3")] == [
        (">=", "1:2.0~rc1-1"),
        ("<", "3"),
    ]
    assert installed.parse("2.*")[0].sign == ""
    for text in ("", ">=", "> 1 < 2", ">= 2.*", "1.0 or 2", "$(x)"):
        with pytest.raises(UsageError, match="is not a version"):
            installed.parse(text)


@pytest.mark.parametrize(
    ("version", "is_met"),
    [
        ("", True),
        ("1.*", True),
        ("2.*", False),
        ("= 1.5", True),
        ("!= 1.5", False),
        (">= 1.5", True),
        ("> 1.5", False),
        ("<= 1.5", True),
        ("< 1.5", False),
        ("> 1.4, < 1.6", True),
        ("> 1.4, < 1.5", False),
    ],
)
def test_package_must_meet_its_version(version: str, *, is_met: bool) -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        if "--compare-versions" in argv[2]:
            return 0, "yes" if argv[-2] < argv[-1] else ""
        return 0, "installed\tx\t1.5\tall\n"

    outcome, reason = ask(FakeGuest(answer), CheckKind.PACKAGE, "x", version=version)
    assert outcome is (PASS if is_met else FAIL)
    assert reason == ("1.5 (all)" if is_met else f"version 1.5 (all), not {version}")


def test_package_whose_version_cannot_be_compared_is_skipped() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        return (127, "") if "--compare-versions" in argv[2] else (0, "installed\tx\t1.5\tall\n")

    found = ask(FakeGuest(answer), CheckKind.PACKAGE, "x", version=">= 1")
    assert found == (Outcome.SKIP, "version 1.5; the guest has no sh to compare it")


def test_package_that_is_not_installed_fails() -> None:
    found = ask(FakeGuest(), CheckKind.PACKAGE, "x", version=">= 1")
    assert found == (FAIL, "the package is not installed")


def test_log_is_searched_in_the_journal_of_the_packages_units() -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        if argv[0] == "systemctl":
            return 0, "Id=x.service\nInactiveExitTimestampMonotonic=0\n"
        return 0, "starting\n  now ready on 80 \n" if "--output=cat" in argv else "evidence"

    guest = FakeGuest(answer)
    found = ask(guest, CheckKind.LOG, r"ready on \d+", units=("x.service", "y@.service"))
    assert found == (PASS, "now ready on 80")
    (search,) = (argv for argv in guest.ran if argv[0] == "journalctl")
    assert "--since=@1000.000000" in search
    assert "_SYSTEMD_UNIT=x.service" in search
    assert "y@.service" not in "".join(search)
    found = ask(guest, CheckKind.LOG, "^ready", units=("x.service",))
    assert found == (FAIL, "not in the journal of x.service after 0.1 s\nevidence")
    assert ask(guest, CheckKind.LOG, "x")[1].startswith("the package has no unit")


def test_log_begins_when_a_unit_was_started_before_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = "Id=x.service\nInactiveExitTimestampMonotonic=5000000\n"
    monkeypatch.setattr("postroj.probe.ask.journal.wall_time", lambda moment: 100 + moment)
    guest = FakeGuest(lambda argv: (0, started))
    ask(guest, CheckKind.LOG, "Id", units=("x.service",))
    assert "--since=@105.000000" in guest.ran[-1]


@pytest.mark.parametrize(
    ("address", "url", "is_taken"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:80", True),
        ("127.0.0.1", "tcp://*:80", True),
        ("127.0.0.1", "tcp://0.0.0.0:80", False),
        ("127.0.0.1", "tcp://127.0.0.1:81", False),
        ("127.0.0.1", "udp://127.0.0.1:80", False),
        ("0.0.0.0", "tcp://127.0.0.1:80", True),
        ("0.0.0.0", "tcp://[::1]:80", False),
        ("[::]", "tcp://127.0.0.1:80", True),
        ("[::]", "tcp://[::1]:80", True),
        ("[::1]", "tcp://[::1]:80", True),
    ],
)
def test_closed_address_is_one_that_no_socket_takes(
    address: str, url: str, *, is_taken: bool
) -> None:
    entry = Entry(protocol="tcp", address=address, port=80)
    guest = FakeGuest(listening=[Socket(entry=entry, process="x", unit="x.service")])
    found = ask(guest, CheckKind.CLOSED, url)
    taken = (FAIL, f"x.service listens on {entry.text}")
    assert found == (taken if is_taken else (PASS, "nobody listens"))


def test_closed_takes_no_page() -> None:
    with pytest.raises(UsageError, match="is not an address that can be closed"):
        closed.place("http://127.0.0.1/")


def test_name_must_resolve_to_its_address() -> None:
    text = "::1             STREAM x\n::1 DGRAM\n127.0.0.1 STREAM\nfe80::1%eth0 RAW\n"
    guest = FakeGuest(lambda argv: (0, text))
    assert ask(guest, CheckKind.DNS, "x") == (PASS, "resolves to ::1, 127.0.0.1, fe80::1")
    assert ask(guest, CheckKind.DNS, "x", address="0:0::1")[0] is PASS
    outcome, reason = ask(guest, CheckKind.DNS, "x", address="127.0.0.2")
    assert (outcome, reason.partition(",")[0]) == (FAIL, "resolves to ::1")
    without = FakeGuest(lambda argv: (127, "getent: not found"))
    assert ask(without, CheckKind.DNS, "x")[0] is Outcome.SKIP


def refuse(number: int) -> Callable[..., object]:
    def getaddrinfo(*args: object) -> object:
        raise socket.gaierror(number, "no")

    return getaddrinfo


def test_name_that_does_not_resolve_is_the_packages_only_if_a_server_could_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", refuse(socket.EAI_NONAME))
    assert dns.blame("x", has_network=lambda: False) == (FAIL, "does not resolve")
    monkeypatch.setattr(socket, "getaddrinfo", refuse(socket.EAI_AGAIN))
    assert dns.blame("x", has_network=lambda: True)[0] is Outcome.ERROR
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [])
    assert dns.blame("x", has_network=lambda: False)[0] is Outcome.ERROR
    assert dns.blame("x", has_network=lambda: True)[0] is FAIL
    found = ask(FakeGuest(lambda argv: (2, "") if argv[0] == "getent" else (0, "lo\n")),
                CheckKind.DNS, "x")  # fmt: skip
    assert found == (Outcome.ERROR, "does not resolve, since the guest has no network after 0.1 s")


@pytest.mark.parametrize(
    ("kind", "timeout", "is_repeated"),
    [
        (CheckKind.FILE, None, False),
        (CheckKind.FILE, 0.1, True),
        (CheckKind.LOG, None, True),
        (CheckKind.LOG, 0.0, False),
    ],
)
def test_what_is_there_at_once_is_asked_once_unless_it_has_a_timeout(
    kind: CheckKind, timeout: float | None, *, is_repeated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "INTERVAL", 0.01)
    guest = FakeGuest(lambda argv: (1 if argv[0] == "stat" else 0, "Id=x.service"))
    assert ask(guest, kind, "/none", timeout, units=("x.service",))[0] is FAIL
    attempts = sum(argv[0] in ("stat", "systemctl") for argv in guest.ran)
    assert (attempts > 1) is is_repeated
