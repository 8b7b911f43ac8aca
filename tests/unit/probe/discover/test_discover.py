"""Which units are judged by discovery, and why others are skipped."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.probe.ask.question import Demand, Question
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.discover.discover import (
    Brought,
    _is_of_generator,
    candidates,
    pruned,
    unasked_units,
    unit_questions,
    why_not,
    with_faults,
    woken,
)
from postroj.probe.discover.payload import Payload
from postroj.probe.discover.snapshot import SCRIPT, UNIT_FILES, Snapshot, parse, take, touched
from postroj.verdict import CheckKind
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from pathlib import Path


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


def test_woken_are_units_that_were_there_and_came_up_later() -> None:
    before = replace(snap(("failed.service", "up.service")), up=frozenset({"up.service"}))
    names = {"up.service", "failed.service", "new@1.service", "session-1.scope", "own.service"}
    names |= {"user@7.service", "user-runtime-dir@7.service"}
    after = replace(snap(tuple(names)), up=frozenset(names))
    assert woken(before, after, {"own.service"}) == ["failed.service", "new@1.service"]


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
def test_units_that_run_or_should_run_are_judged(unit: UnitState) -> None:
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
            "still at work, started by x.timer",
        ),
    ],
)
def test_other_units_are_skipped_with_a_reason(unit: UnitState, reason: str) -> None:
    assert why_not(unit) == reason


def test_a_start_before_the_package_came_again_does_not_count() -> None:
    had_run = state(file_state="enabled", started=7.0)
    assert why_not(pruned(had_run, snap(), 6.0)) == ""
    reason = "enabled, but not started by the installation"
    assert why_not(pruned(had_run, snap(), 8.0)) == reason


def test_a_sysv_script_without_a_unit_is_skipped() -> None:
    assert "no unit" in why_not(state(load="not-found"), is_script=True)


def test_a_unit_whose_start_job_failed_is_judged() -> None:
    assert why_not(state(file_state="enabled"), is_refused=True) == ""


def test_candidates_are_own_units_and_new_ones() -> None:
    before = snap(("old.service", "getty@tty1.service"), old_service="enabled", gettyAT_service="x")
    after = snap(
        ("old.service", "new.service", "own@1.service", "getty@tty2.service", "logind.service"),
        old_service="enabled",
        gettyAT_service="x",
        new_service="enabled",
        new_path="static",
        new_target="static",
        run_service="transient",
        ownAT_service="disabled",
    )
    brought = Payload(units=("own@.service", "own.target", "gone.service"), scripts=("old-style",))
    assert candidates(brought, before, after) == [
        *(
            "gone.service",
            "new.path",
            "new.service",
            "old-style.service",
            "own.target",
            "own@1.service",
        ),
    ]


def test_own_units_that_are_not_judged_become_skipped_questions() -> None:
    brought = Payload(units=("a.service", "b.service", "t@.service", "other@.service"))
    states = [
        state("a.service", file_state="disabled"),
        state("b.service", active="active"),
        state("dependency.service", file_state="disabled"),
        state("needed.service", active="active"),
        state("t@1.service", active="active"),
    ]
    foreign = {"dependency.service", "needed.service"}
    found = unit_questions(brought, snap(), states, [], foreign)
    assert [q.subject for q in found if q.is_dependency] == ["needed.service"]
    assert all(question.is_found for question in found)
    assert [(question.subject, question.skip) for question in found] == [
        ("b.service", ""),
        ("needed.service", ""),
        ("t@1.service", ""),
        ("a.service", "not enabled by the package"),
        ("other@.service", "a template"),
        ("t@.service", "a template, instantiated as t@1.service"),
    ]


def found(*states: UnitState) -> Brought:
    return Brought(
        payload=Payload(units=tuple(each.name for each in states)),
        states=states,
        questions=tuple(unit_questions(Payload(), snap(), states, [])),
        users=(),
        groups=(),
    )


def test_a_unit_that_the_user_asks_about_by_an_alias_is_not_asked_twice() -> None:
    both = found(
        state(
            "redis-server.service", active="active", names=("redis-server.service", "redis.service")
        ),
        state("y.service", active="active"),
    )
    redis = Question(kind=CheckKind.UNIT, subject="redis")
    assert [q.subject for q in unasked_units(both, [redis])] == ["y.service"]
    assert len(unasked_units(both, [])) == 2
    assert both.judged == {"redis-server.service", "redis.service", "y.service"}


PLACES = """\
/etc/systemd/system/a.service\t/lib/systemd/system/other.service
/etc/systemd/system/multi-user.target.wants/b@1.service\t/lib/systemd/system/b@.service
/run/systemd/generator.late/c.service\t\t17.0 4 9
/lib/systemd/system/other.service\t\t17.0 4 9
/lib/systemd/system/b@.service\t\t17.0 4 9
/lib/systemd/system/b@.service.d/x.conf\t\t17.0 4 9
"""


def test_parse_a_snapshot() -> None:
    text = (
        f"{PLACES}\0a.service loaded active running A\nb@1.service loaded failed failed B\n\0"
        "root:x:0:0::/root:/bin/sh\n\0root:x:0:\nadm:x:4:\n"
    )
    shot = parse(text, ())
    assert shot.unit_files == {
        "a.service": "alias",
        "c.service": "generated",
        "other.service": "",
        "b@.service": "",
    }
    assert shot.units == {"a.service", "b@1.service"}
    assert shot.up == {"a.service"}
    assert shot.failed == ("b@1.service",)
    assert sorted(shot.users) == ["root"]
    assert sorted(shot.groups) == ["adm", "root"]
    assert shot.places["/lib/systemd/system/other.service"] == "\t17.0 4 9"
    assert parse("", ()).unit_files == {}


@pytest.mark.parametrize(
    ("before", "now", "names"),
    [
        ({"/x/a.service": "\t1 2 3"}, {"/x/a.service": "\t1 2 3"}, set()),
        ({"/x/a.service": "\t1 2 3"}, {"/x/a.service": "\t9 2 3"}, {"a.service"}),
        ({}, {"/etc/m.target.wants/a.service": "/x/a.service"}, {"a.service", "m.target"}),
        ({"/etc/alias.service": "/x/a.service"}, {}, {"alias.service", "a.service"}),
        (
            {},
            {"/etc/m.target.wants/a@1.service": "../a@.service"},
            {"a@1.service", "a@.service", "m.target"},
        ),
        ({}, {"/x/a.service.d/extra.conf": "\t1 2 3"}, {"a.service", "extra.conf"}),
    ],
)
def test_unit_files_whose_states_may_differ(
    before: dict[str, str], now: dict[str, str], names: set[str]
) -> None:
    assert touched(before, now) == names


@pytest.mark.parametrize(
    ("said", "found"),
    [("UnitPath={0}/a {0}/b", ["a/x.service", "b/y.service"]), ("", [])],
)
def test_snapshot_script_searches_only_the_folders_of_units(
    tmp_path: Path, said: str, found: list[str]
) -> None:
    """systemd < 230 has no --value, and find(1) without a folder searches the current one."""
    for name in ("a/x.service", "b/y.service", "c/z.service", "bin/systemctl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(
        '#!/bin/sh\n[ "$*" = "show --property=UnitPath" ] && '
        f"echo '{said.format(tmp_path)}'\nexit 0\n"
    )
    systemctl.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", SCRIPT], cwd=tmp_path, env={"PATH": path}, stdout=subprocess.PIPE, check=True
    )
    places = parse(done.stdout.decode(), ()).places
    assert sorted(places) == [str(tmp_path / name) for name in found]


def test_snapshot_asks_only_for_changed_unit_files() -> None:
    more = ["/etc/systemd/system/a.service\t/dev/null\n"]

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "systemctl":
            return 0, "a.service masked -\n"
        return 0, "/x/a.service\t\t1 2 3\n/x/b.service\t\t1 2 3\n" + more[-1]

    guest = FakeGuest(answer)
    more.append("")
    first = take(guest)
    assert first.unit_files == {"a.service": "", "b.service": ""}
    more.pop()
    second = take(guest, first)
    assert second.unit_files == {"a.service": "masked", "b.service": ""}
    assert guest.ran[-1] == (*UNIT_FILES, "a.service")
    guest.ran.clear()
    assert take(guest, second).unit_files == second.unit_files
    assert len(guest.ran) == 1


def test_snapshot_misses_no_file_whose_state_the_manager_does_not_tell() -> None:
    times = ["1", "2"]

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "systemctl":
            return 1, ""  # stderr: Failed to connect to bus
        return 0, f"/x/a.service\t\t{times.pop()} 2 3\n"

    guest = FakeGuest(answer)
    assert take(guest, take(guest)).unit_files == {"a.service": ""}


def test_snapshot_without_find_asks_for_all_unit_files() -> None:
    guest = FakeGuest(
        lambda argv: (0, "a.service static -\n") if argv[0] == "systemctl" else (0, "")
    )
    assert take(guest).unit_files == {"a.service": "static"}
    assert guest.ran[-1] == UNIT_FILES


def test_sentence_counts_what_the_packages_bring() -> None:
    one = Brought(
        payload=Payload(units=("a.service",), scripts=("a", "b")),
        states=(),
        questions=(Question(kind=CheckKind.UNIT, subject="a.service"),),
        users=("web",),
        groups=("ssl", "web", "www"),
    )
    assert one.sentence == "brings 1 unit, 2 SysV scripts, user web, groups ssl, www"
    assert found().sentence == ""
    remarked = replace(one, remarks=("a",) * 7)
    assert remarked.sentence.splitlines()[1:] == [*"aaaaa", "and 2 more"]


def test_with_faults_tells_the_user_what_is_wrong_with_a_unit_that_is_not_started() -> None:
    fault = Question(kind=CheckKind.UNIT, subject="x.service", is_found=True, fault="no program")
    unit = state(names=("x.service", "y.service"))
    brought = Brought(payload=Payload(), states=(unit,), questions=(fault,), users=(), groups=())
    asked = [
        *(Question(kind=CheckKind.UNIT, subject=name) for name in ("x", "y", "z")),
        Question(kind=CheckKind.COMMAND, subject="x.service"),
        Question(kind=CheckKind.UNIT, subject="x", demand=Demand.ENABLED),
    ]
    found = [question.fault for question in with_faults(asked, brought)]
    assert found == ["no program", "no program", "", "", ""]


@pytest.mark.parametrize(
    ("name", "how", "payload", "is_foreign"),
    [
        ("sshd-unix-local.socket", "generated", Payload(units=("ssh.service",)), True),
        ("x.service", "generated", Payload(scripts=("x",)), False),
        ("y.service", "generated", Payload(generators=("/usr/lib/systemd/x",)), False),
        ("y.service", "enabled", Payload(), False),
    ],
)
def test_units_of_others_generators_are_not_the_packages(
    name: str, how: str, payload: Payload, *, is_foreign: bool
) -> None:
    assert _is_of_generator(state(name, file_state=how), payload) is is_foreign
