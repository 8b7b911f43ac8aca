"""Which units are judged without being asked, and why others are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.container.guest import Entry, Socket
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.discover.discover import (
    Found,
    ask_sockets,
    candidates,
    questions,
    unasked_units,
    why_not,
)
from postroj.probe.discover.payload import Payload
from postroj.probe.discover.snapshot import Snapshot, read
from postroj.verdict import CheckKind


def state(name: str = "x.service", **changes: object) -> UnitState:
    options = {"load": "loaded", "active": "inactive", "sub": "dead", "names": (name,)} | changes
    return UnitState(name=name, **options)  # type: ignore[arg-type]


def snap(units: tuple[str, ...] = (), **files: str) -> Snapshot:
    return Snapshot(
        unit_files={name.replace("_", ".").replace("AT", "@"): how for name, how in files.items()},
        units=frozenset(units),
        users=frozenset(),
        groups=frozenset(),
        sockets=(),
    )


JUDGED = [
    state(active="active", file_state="enabled"),
    state(active="active", file_state="static"),
    state(active="active", file_state="disabled"),
    state(active="failed", file_state="disabled"),
    state(active="activating", kind="notify", triggered_by=("x.socket",)),
    state(has_job=True, file_state="disabled"),
    state(file_state="enabled", started=7.0),
    state(file_state="generated", wanted_by=("multi-user.target",), started=7.0),
    state(file_state="enabled", unmet_condition=True),
    state(file_state="enabled", unmet_assertion=True),
    state(load="bad-setting", file_state="disabled"),
    state(load="error"),
    state(load="not-found"),
]


@pytest.mark.parametrize("unit", JUDGED)
def test_it_is_judged(unit: UnitState) -> None:
    assert why_not(unit) == ""


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (state(load="masked"), "masked"),
        (state(file_state="disabled"), "not enabled by the package"),
        (state(file_state="indirect"), "not enabled by the package"),
        (state(file_state="generated"), "not enabled by the package"),
        (state(file_state="disabled", started=7.0), "not enabled by the package"),
        (state(file_state="static"), "static, and nothing has started it"),
        (state(file_state="static", triggered_by=("x.timer",)), "waits for x.timer"),
        (state(file_state="enabled", triggered_by=("x.socket",)), "waits for x.socket"),
        (state(file_state="enabled"), "enabled, but not started by the installation"),
        (
            state(active="activating", kind="oneshot", triggered_by=("x.timer",)),
            "at work, which x.timer started",
        ),
    ],
)
def test_it_is_not_and_says_why(unit: UnitState, reason: str) -> None:
    assert why_not(unit) == reason


def test_a_script_of_which_systemd_has_made_no_unit() -> None:
    assert "no unit" in why_not(state(load="not-found"), is_script=True)


def test_one_that_could_not_be_started_is_judged() -> None:
    assert why_not(state(file_state="enabled"), is_refused=True) == ""


def test_what_is_looked_at() -> None:
    before = snap(("old.service", "getty@tty1.service"), old_service="enabled", gettyAT_service="x")
    after = snap(
        ("old.service", "new.service", "own@1.service", "getty@tty2.service", "logind.service"),
        old_service="enabled",
        gettyAT_service="x",
        new_service="enabled",
        new_target="static",
        run_service="transient",
        ownAT_service="disabled",
    )
    brought = Payload(units=("own@.service", "own.target", "gone.service"), scripts=("old-style",))
    assert candidates(brought, before, after) == [
        *("gone.service", "new.service", "old-style.service", "own.target", "own@1.service"),
    ]


def test_questions_name_what_is_not_judged_and_is_the_packages_own() -> None:
    brought = Payload(units=("a.service", "b.service", "t@.service", "other@.service"))
    states = [
        state("a.service", file_state="disabled"),
        state("b.service", active="active"),
        state("dependency.service", file_state="disabled"),
        state("needed.service", active="active"),
        state("t@1.service", active="active"),
    ]
    found = questions(brought, snap(), states, [])
    assert all(question.is_found for question in found)
    assert [(question.subject, question.skip) for question in found] == [
        ("b.service", ""),
        ("needed.service", ""),
        ("t@1.service", ""),
        ("a.service", "not enabled by the package"),
        ("other@.service", "a template"),
        ("t@.service", "a template, of which it has made t@1.service"),
    ]


def found(*states: UnitState) -> Found:
    return Found(
        payload=Payload(units=tuple(each.name for each in states)),
        states=states,
        questions=tuple(questions(Payload(), snap(), states, [])),
        users=(),
        groups=(),
    )


def test_a_unit_that_is_asked_about_by_an_alias_is_not_asked_twice() -> None:
    both = found(
        state(
            "redis-server.service", active="active", names=("redis-server.service", "redis.service")
        ),
        state("y.service", active="active"),
    )
    assert [q.subject for q in unasked_units(both, ["redis"])] == ["y.service"]
    assert len(unasked_units(both, [])) == 2
    assert both.judged == {"redis-server.service", "redis.service", "y.service"}


def listener(protocol: str, address: str, port: int = 0, unit: str = "x.service") -> Socket:
    entry = Entry(protocol=protocol, address=address, port=port)
    return Socket(entry=entry, process="x", unit=unit)


def test_what_listens_is_connected_to() -> None:
    new = [
        listener("tcp", "0.0.0.0", 80),
        listener("tcp", "127.0.0.1", 80),
        listener("tcp", "[::]", 80),
        listener("tcp", "[::1]", 81),
        listener("udp", "0.0.0.0", 53),
        listener("tcp", "127.0.0.1", 99, unit=""),
        listener("stream", "/run/x"),
        listener("tcp", "127.0.0.1", 82),
        listener("stream", "/run/y", unit="y.service"),
        listener("seqpacket", "@y", unit="y.service"),
    ]
    asked = ask_sockets(found(), new, ["tcp://[::1]:81"])
    assert [(q.subject, q.note) for q in asked] == [
        (
            "tcp://127.0.0.1:80",
            "x.service listens on 0.0.0.0:80, x.service listens on 127.0.0.1:80",
        ),
        ("tcp://[::1]:80", "x.service listens on [::]:80"),
        ("tcp://127.0.0.1:99", "process 'x', which is in no unit, listens on 127.0.0.1:99"),
        ("tcp://127.0.0.1:82", "x.service listens on 127.0.0.1:82"),
        ("unix:/run/x", "x.service"),
        ("unix sockets of y.service", "y.service"),
    ]
    assert {q.kind for q in asked} == {CheckKind.NETWORK}
    assert [len(q.unix) for q in asked] == [0, 0, 0, 0, 1, 2]


def test_what_a_socket_unit_listens_on_is_knocked_on_already() -> None:
    unit = state("x.socket", active="active", listens=(("/run/x", "Stream"), ("[::]:80", "Stream")))
    new = [listener("stream", "/run/x"), listener("tcp", "[::]", 80)]
    assert ask_sockets(found(unit), new, []) == []


def test_a_snapshot() -> None:
    text = (
        "a.service enabled enabled\nb@.service static -\n\0a.service loaded active running A\n\0"
        "root:x:0:0::/root:/bin/sh\n\0root:x:0:\nadm:x:4:\n"
    )
    shot = read(text, ())
    assert shot.unit_files == {"a.service": "enabled", "b@.service": "static"}
    assert shot.units == {"a.service"}
    assert sorted(shot.users) == ["root"]
    assert sorted(shot.groups) == ["adm", "root"]
    assert read("", ()).unit_files == {}


def test_what_it_brings_in_numbers() -> None:
    one = Found(
        payload=Payload(units=("a.service",), scripts=("a", "b")),
        states=(),
        questions=(Question(kind=CheckKind.UNIT, subject="a.service"),),
        users=("web",),
        groups=("ssl", "web", "www"),
    )
    assert one.sentence == "brings 1 unit, 2 SysV scripts, user web, groups ssl, www"
    assert found().sentence == ""
    lacking = replace(one, missing=("web", "www"))
    assert lacking.sentence.splitlines()[1] == "declared in sysusers.d, but not there: web, www"
