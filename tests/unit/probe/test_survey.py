"""Promises about packages: which addresses, units and files are worth one, and which are chance."""

from __future__ import annotations

from postroj.container.guest import Process
from postroj.model import Image, Manager
from postroj.probe import survey
from postroj.probe.survey import Sights, of_sockets
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Discovery,
    Listener,
    Outcome,
    StepName,
    StepResult,
)
from tests.support.fake_guest import Answer, FakeGuest

IMAGE = Image(name="debian-sid", architecture="x86_64", layers=(), manager=Manager.APT)
STATE = (
    "Id={0}\nNames={0}\nLoadState=loaded\nActiveState={1}\nUnitFileState={2}\nMainPID={3}\n{4}\n"
)
STARTED = "InactiveExitTimestampMonotonic=5"
UNITS = {
    "x.service": ("active", "enabled", 7, STARTED),
    "lazy.service": ("inactive", "disabled", 0, ""),
    "static.service": ("inactive", "static", 0, ""),
    "dies.service": ("active", "enabled", 0, STARTED),
}


def listener(address: str, protocol: str = "tcp") -> Listener:
    return Listener(protocol=protocol, address=address, unit="x.service", process="x")


def subjects(*listeners: Listener) -> list[str]:
    return [f"{promise.kind} {promise.subject}" for promise in of_sockets(listeners)]


def test_sockets_are_promises_but_for_ports_that_the_kernel_chooses() -> None:
    assert subjects(listener("0.0.0.0:80"), listener("[::]:80"), listener("[::]:40000")) == [
        "network tcp://127.0.0.1:80",
        "network tcp://[::1]:80",
    ]
    assert subjects(listener("192.0.2.1:53", "udp"), listener("/run/x", "stream")) == [
        "network udp://192.0.2.1:53"
    ]


def test_sockets_of_the_loopback_only_must_be_closed_to_others() -> None:
    assert subjects(listener("127.0.0.1:6379"), listener("[::1]:6379")) == [
        "network tcp://127.0.0.1:6379",
        "network tcp://[::1]:6379",
        "closed tcp://0.0.0.0:6379",
    ]
    assert subjects(listener("127.0.0.1:80"), listener("192.0.2.1:80")) == [
        "network tcp://127.0.0.1:80",
        "network tcp://192.0.2.1:80",
    ]
    assert subjects(listener("[fe80::1%eth0]:80")) == []


def answer(argv: tuple[str, ...]) -> Answer:
    named = argv[argv.index("--") + 1 :] if "--" in argv else ()
    match argv:
        case ("systemctl", *_):
            return 0, "\n".join(STATE.format(name, *UNITS[name]) for name in named)
        case ("stat", *_):
            rows = {
                "/etc/x.conf": "regular file\t640\troot:x",
                "/etc/d": "directory\t755\troot:root",
                "/var/lib/x": "directory\t700\tx:x",
                "/usr/bin/x": "regular file\t755\troot:root",
                "/run/x.sock": "socket\t660\tx:x",
            }
            return 1, "".join(f"{rows[path]}\t{path}\n" for path in named if path in rows)
        case ("dpkg-query", *_):
            return 0, "installed\tx\t1.0-1\tall\n"
        case ("sh", "-c", text, "sh", "x") if "--listfiles" in text:
            return 0, "/etc/d\n/var/lib/x\n/etc/x.conf\n/usr/bin/x\n"
        case ("sh", "-c", _, "sh", "7"):
            return 0, "7 33\n"
        case _:
            return 0, ""


def step(name: StepName, *units: str, started: bool = False, port: int = 40001) -> StepResult:
    found = Discovery(
        units=(*UNITS, "t@.service"),
        configuration=("/etc/x.conf", "/etc/gone.conf"),
        programs=("/usr/bin/x",),
        users=("x",),
        sockets=(listener("127.0.0.1:80"), listener(f"/run/{port}", "stream"),
                 listener("/run/x.sock", "stream"), listener("@x", "stream")),
    )  # fmt: skip
    checks = tuple(
        CheckResult(
            kind=CheckKind.UNIT, subject=unit, outcome=Outcome.PASS, reason="", seconds=0,
            started=started,
        )
        for unit in units
    )  # fmt: skip
    return StepResult(
        name=name, done=Outcome.PASS, reason="", seconds=0, checks=checks, discovered=found
    )


def test_sights_hold_what_is_seen_after_the_installation_and_after_a_reboot() -> None:
    daemon = Process(pid=7, name="x", group="", unit="x.service", executable="/bin/x")
    passwd = b"www:x:33:33::/:/bin/sh\n"
    guest = FakeGuest(answer, running=[daemon], files={"/etc/passwd": passwd})
    sights = Sights(format="deb")
    sights.add(guest, IMAGE, step(StepName.INSTALL, "x.service", "dies.service"), ["x"])
    late = step(StepName.START, "lazy.service", started=True)
    sights.add(guest, IMAGE, late, ["x"])
    last = step(StepName.REBOOT, "x.service", "lazy.service", port=40002)
    sights.add(guest, IMAGE, last, ["x"])
    found = {(one.kind.value, one.subject): dict(one.keys) for one in sights.promises}
    assert found == {
        ("unit", "x.service,enabled,running"): {},
        ("unit", "lazy.service,idle"): {},
        ("unit", "lazy.service"): {},
        ("package", "x"): {"version": ">= 1.0-1"},
        ("process", "/usr/bin/x"): {"owner": "www"},
        ("network", "tcp://127.0.0.1:80"): {},
        ("closed", "tcp://0.0.0.0:80"): {},
        ("user", "x"): {},
        ("file", "/etc/x.conf"): {"type": "file", "mode": "0640", "owner": "root:x"},
        ("file", "/var/lib/x"): {"type": "folder", "mode": "0700", "owner": "x:x"},
        ("file", "/usr/bin/x"): {"type": "file", "mode": "0755", "owner": "root:root"},
        ("file", "/run/x.sock"): {
            "type": "socket", "mode": "0660", "owner": "x:x", "timeout": survey.LATE,
        },
    }  # fmt: skip


def test_sights_know_nothing_without_discovery() -> None:
    sights = Sights(format="deb")
    sights.add(FakeGuest(), IMAGE, StepResult(
        name=StepName.INSTALL, done=Outcome.PASS, reason="", seconds=0), ["x"])  # fmt: skip
    assert sights.promises == frozenset()
