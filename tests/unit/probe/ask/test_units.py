"""The judgement on a unit, from properties as releases of systemd print them."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from postroj.container.guest import Entry, Socket
from postroj.probe.ask import judge as judging
from postroj.probe.ask import units
from postroj.probe.ask.conditions import escape, parse_unmet
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.judge import Decided, Undecided, judge
from postroj.probe.ask.unitstate import (
    UnitState,
    is_template,
    parse,
    template_of,
    unit_name,
)
from postroj.verdict import Outcome
from tests.support.fake_guest import Answer, FakeGuest

RUNNING = """\
ActiveEnterTimestampMonotonic=5000000
ActiveState=active
ConditionResult=yes
ExecMainCode=0
ExecMainStatus=0
Id=redis-server.service
LoadState=loaded
MainPID=321
NRestarts=0
Result=success
SubState=running
"""
# systemd < 235, as in Debian 9, knows no NRestarts; a unit that waits prints its job
OLD = """\
MainPID=0
Result=success
ExecMainCode=0
ExecMainStatus=0
Id=nginx.service
LoadState=loaded
ActiveState=activating
SubState=start-pre
ActiveEnterTimestampMonotonic=0
Job=117
ConditionResult=yes
"""
KILLED = """\
ActiveEnterTimestampMonotonic=1000000
ActiveState=failed
ConditionResult=yes
ExecMainCode=2
ExecMainStatus=9
Id=x.service
LoadState=loaded
MainPID=0
NRestarts=5
Result=signal
SubState=failed
"""


def up(**changes: Any) -> UnitState:
    state = UnitState(
        name="x.service", load="loaded", active="active", sub="running", main_pid=7, since=100.0
    )
    return dataclasses.replace(state, **changes)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (
            RUNNING,
            UnitState(
                name="redis-server.service",
                load="loaded",
                active="active",
                sub="running",
                result="success",
                main_pid=321,
                since=5.0,
            ),
        ),
        (
            OLD,
            UnitState(
                name="nginx.service",
                load="loaded",
                active="activating",
                sub="start-pre",
                result="success",
                has_job=True,
            ),
        ),
        (
            KILLED,
            UnitState(
                name="x.service",
                load="loaded",
                active="failed",
                sub="failed",
                result="signal",
                restarts=5,
                since=1.0,
                exit="killed by signal 9",
                exit_status=9,
            ),
        ),
        ("", UnitState(name="", load="", active="", sub="")),
        ("NRestarts=\nMainPID=\nJob=0\n", UnitState(name="", load="", active="", sub="")),
        ("Id=a=b.service\n", UnitState(name="a=b.service", load="", active="", sub="")),
    ],
)
def test_parse_reads_what_releases_of_systemd_print(text: str, state: UnitState) -> None:
    assert parse(text) == state


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("0", ""),
        ("1", "ended with status 6"),
        ("2", "killed by signal 6"),
        ("3", "dumped core by signal 6"),
    ],
)
def test_parse_describes_how_the_main_process_ended(code: str, words: str) -> None:
    assert parse(f"ExecMainCode={code}\nExecMainStatus=6\n").exit == words


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nginx", "nginx.service"),
        ("nginx.service", "nginx.service"),
        ("nginx.socket", "nginx.socket"),
        ("getty@tty1", "getty@tty1.service"),
        ("openvpn@my.vpn", "openvpn@my.vpn.service"),
        ("a.b@c", "a.b@c.service"),
        ("a.b@c.service", "a.b@c.service"),
        ("dev-sda.device", "dev-sda.device"),
    ],
)
def test_unit_name_adds_the_suffix_of_services(text: str, name: str) -> None:
    assert unit_name(text) == name


PASSES = [
    (
        up(
            active="inactive",
            sub="dead",
            kind="oneshot",
            result="success",
            exit="ended with status 0",
        ),
        "inactive (dead), has done its work, its main process ended with status 0",
    ),
    (up(name="x.timer", sub="waiting", main_pid=0), "active (waiting)"),
    (up(name="x.timer", sub="elapsed", main_pid=0, elapsed=True), "active (elapsed)"),
    (up(), "active (running), main PID 7"),
    (up(sub="exited", main_pid=0), "active (exited)"),
    (up(restarts=1, since=91.0), "active (running), main PID 7, restarted once"),
    (up(sub="listening", main_pid=0, since=0), "active (listening)"),
]
FAILS = [
    (up(load="not-found", active="inactive", sub="dead"), "there is no such unit"),
    (up(load="masked", active="inactive", sub="dead"), "the unit is masked"),
    (up(load="bad-setting"), "the unit could not be loaded (bad-setting)"),
    (up(load="error"), "the unit could not be loaded (error)"),
    (
        up(active="failed", sub="failed", result="exit-code", exit="ended with status 1"),
        "failed (result 'exit-code'), its main process ended with status 1",
    ),
    (up(active="inactive", sub="dead"), "inactive (dead), not started"),
    (up(active="inactive", sub="dead", kind="oneshot"), "inactive (dead), not started"),
    (up(name="x.timer", sub="elapsed"), "active (elapsed), but it will never elapse"),
    (
        up(active="inactive", sub="dead", exit="ended with status 0"),
        "inactive (dead), its main process ended with status 0",
    ),
    (
        up(active="activating", sub="auto-restart", restarts=2, exit="ended with status 1"),
        "crash loop: restarted 2 times during the check, its main process ended with status 1",
    ),
    (up(restarts=3), "crash loop: restarted 3 times during the check"),
]
OPEN = [
    (up(active="activating", sub="start"), "still activating (start)"),
    (up(active="reloading", sub="reload"), "still reloading (reload)"),
    (up(active="deactivating", sub="stop-sigterm"), "still deactivating (stop-sigterm)"),
    (up(active="inactive", sub="dead", has_job=True), "still inactive (dead)"),
    (up(active="", sub=""), "still  ()"),
    (
        up(active="activating", sub="auto-restart", restarts=1, exit="killed by signal 11"),
        "still activating (auto-restart), its main process killed by signal 11",
    ),
]


@pytest.mark.parametrize(("state", "sentence"), PASSES)
def test_judge_passes_a_unit_that_is_up(state: UnitState, sentence: str) -> None:
    first = dataclasses.replace(state, restarts=0)
    found = judge(state, first, now=103.0, settle=3)
    assert found == Decided(outcome=Outcome.PASS, sentence=sentence)


@pytest.mark.parametrize(("state", "sentence"), FAILS)
def test_judge_fails_a_unit_that_is_not_up(state: UnitState, sentence: str) -> None:
    first = dataclasses.replace(state, restarts=0)
    found = judge(state, first, now=103.0, settle=3)
    assert found == Decided(outcome=Outcome.FAIL, sentence=sentence)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"unmet_condition": True}, "a condition is not met"),
        ({"unmet_assertion": True}, "an assertion is not met"),
        ({"result": "exec-condition"}, "its ExecCondition= is not met"),
    ],
)
def test_judge_skips_a_unit_with_an_unmet_precondition(change: dict[str, Any], cause: str) -> None:
    state = up(active="inactive", sub="dead", **change)
    sentence = f"inactive (dead), not started, because {cause}"
    found = judge(state, state, now=103.0, settle=3)
    assert found == Decided(outcome=Outcome.SKIP, sentence=sentence)


@pytest.mark.parametrize(("state", "sentence"), OPEN)
def test_judge_does_not_decide_while_a_unit_changes(state: UnitState, sentence: str) -> None:
    first = dataclasses.replace(state, restarts=0)
    found = judge(state, first, now=103.0, settle=3)
    assert found == Undecided(seconds=judging.INTERVAL, sentence=sentence)


@pytest.mark.parametrize(
    ("now", "settle", "wait"), [(100.0, 3, 3.0), (101.5, 3, 1.5), (102.5, 3, 0.5), (99.0, 0.5, 1.5)]
)
def test_judge_waits_until_a_unit_has_settled(now: float, settle: float, wait: float) -> None:
    found = judge(up(), up(), now=now, settle=settle)
    assert isinstance(found, Undecided)
    assert found.seconds == pytest.approx(wait)
    assert f"has not stayed active for {settle:g} s" in found.sentence


def test_judge_waits_longer_for_a_unit_that_was_restarted() -> None:
    found = judge(up(restarts=1), up(restarts=1), now=104.0, settle=3)
    assert isinstance(found, Undecided)
    assert found.seconds == pytest.approx(judging.TROUBLED * 3 - 4)
    assert found.sentence.endswith("has not stayed active for 12 s, restarted once")


def test_judge_decides_at_once_without_settle_time() -> None:
    assert isinstance(judge(up(), up(), now=100.0, settle=0), Decided)


@pytest.mark.parametrize(
    ("first", "restarts", "sentence"),
    [
        (4, 4, "active (running), main PID 7, restarted 4 times"),
        (9, 9, "crash loop: restarted 9 times before the check"),
        (1, 2, "crash loop: restarted 2 times, once during the check"),
        (0, 3, "crash loop: restarted 3 times during the check"),
    ],
)
def test_restarts_before_the_check_count(first: int, restarts: int, sentence: str) -> None:
    found = judge(up(restarts=restarts), up(restarts=first), now=200.0, settle=3)
    outcome = Outcome.PASS if first == restarts == 4 else Outcome.FAIL
    assert found == Decided(outcome=outcome, sentence=sentence)


def test_a_crash_loop_that_ended_before_the_check_fails() -> None:
    state = up(active="failed", sub="failed", result="start-limit-hit", restarts=5)
    found = judge(state, state, now=200.0, settle=3)
    sentence = "crash loop: given up after 5 restarts, failed (result 'start-limit-hit')"
    assert found == Decided(outcome=Outcome.FAIL, sentence=sentence)


CONDITIONS = (
    'a(sbbsi) 4 "ConditionPathExists" true false "/b" -1 "ConditionPathExists" true true "/a" %d '
    '"ConditionPathExists" false false "/no such" -1 "ConditionVirtualization" false true "vm" 1'
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CONDITIONS % 1, ["ConditionPathExists=/no such"]),
        (
            CONDITIONS % -1,
            ["ConditionPathExists=/no such", "ConditionPathExists=|!/a", "ConditionPathExists=|/b"],
        ),
        ('a(sbbsi) 1 "ConditionPathExists" false false "/untested" 0', []),
        ("a(sbbsi) 0", []),
        ("", []),
        ('a(sbbsi) 1 "open', []),
    ],
)
def test_parse_unmet_lists_failed_conditions(text: str, found: list[str]) -> None:
    assert parse_unmet(text) == found


def test_an_untested_condition_is_not_unmet() -> None:
    """The manager says "no" of what it has never tested."""
    text = "ConditionResult=no\nAssertResult=no\nConditionTimestampMonotonic=0\n"
    state = parse(f"{text}AssertTimestampMonotonic=0\n")
    assert not state.unmet_condition and not state.unmet_assertion
    tested = parse("ConditionResult=no\nAssertResult=no\nConditionTimestampMonotonic=7\n")
    assert tested.unmet_condition and not tested.unmet_assertion


def test_parse_reads_the_addresses_of_a_socket() -> None:
    text = "Listen=[::]:80 (Stream)\nListen=/run/x y (Datagram)\nListen=@a (FIFO)\nAccept=yes\n"
    state = parse(f"{text}NAccepted=3\nNames=x.socket y.socket\n")
    assert state.listens == (("[::]:80", "Stream"), ("/run/x y", "Datagram"), ("@a", "FIFO"))
    assert (state.accept, state.accepted, state.names) == (True, 3, ("x.socket", "y.socket"))
    assert parse("ListenStream=/run/old\n").listens == (("/run/old", "Stream"),)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("a@b.service", "a@.service"),
        ("a@b@c.service", "a@.service"),
        ("a@b.c.service", "a@.service"),
        ("a@.service", ""),
        ("a.service", ""),
    ],
)
def test_template_of_an_instance(name: str, template: str) -> None:
    assert template_of(name) == template
    assert is_template(name) == (name == "a@.service")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("redis-server.service", "redis_2dserver_2eservice"),
        ("3proxy.service", "_33proxy_2eservice"),
        ("a_1@b.socket", "a_5f1_40b_2esocket"),
        ("ü.service", "_c3_bc_2eservice"),
    ],
)
def test_escape_as_a_label_of_a_bus_path(name: str, label: str) -> None:
    assert escape(name) == label


SHOWN = """\
Id={name}
Names={name}
LoadState=loaded
ActiveState=inactive
SubState=dead
{more}"""
UNMET = "ConditionResult=no\nConditionTimestampMonotonic=7\n"


def checked(**shown: str) -> str:
    """Return the answer about x.socket in a guest with these units and their properties."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[:2] != ("systemctl", "show"):
            return 0, ""
        names = argv[argv.index("--") + 1 :]
        texts = [SHOWN.format(name=n, more=shown.get(n.partition(".")[0], "")) for n in names]
        return 0, "\n\n".join(texts)

    outcome, reason = units.check(
        FakeGuest(answer=answer), "x.socket", settle=0, deadline=Deadline(0)
    )
    return f"{outcome}: {reason}"


@pytest.mark.parametrize("how", ["BindsTo", "Requisite"])
def test_check_skips_a_unit_bound_to_one_that_asked_not_to_be_started(how: str) -> None:
    down = "inactive (dead), not started"
    skip = f"skip: {down}, as y.service is not up, because a condition is not met"
    assert checked(x=f"{how}=y.service\n", y=UNMET) == skip
    assert checked(x="Requires=z.socket\n", z=f"{how}=x.socket y.service\n", y=UNMET) == skip
    for fails in (
        {"x": f"{how}=y.service\n"},
        {"x": "Requires=y.service\n", "y": UNMET},
        {"x": f"{how}=y.service\n", "y": f"{UNMET}InactiveExitTimestampMonotonic=7\n"},
        {"x": f"{how}=y.service\nInactiveExitTimestampMonotonic=7\n", "y": UNMET},
    ):
        assert checked(**fails).startswith(f"fail: {down}")


BEGUN = "Nov 29 23:34:23 guest systemd[1]: Started x.socket - X."
OVER = "Nov 29 23:34:23 guest systemd[1]: x.socket: Deactivated successfully."


@pytest.mark.parametrize(
    ("boot", "kind", "answer"),
    [
        (f"{BEGUN}\n{OVER}", "oneshot", (Outcome.PASS, "has done its work, as its journal says")),
        (f"{BEGUN}\n{OVER}", "simple", (Outcome.FAIL, "it has ended by itself")),
        ("", "oneshot", (Outcome.FAIL, "not started")),
    ],
)
def test_check_of_a_unit_that_has_ended_by_the_journal_of_this_boot(
    boot: str, kind: str, answer: tuple[Outcome, str]
) -> None:
    def answers(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "journalctl":
            return 0, boot if "--boot" in argv else f"{BEGUN}\n{OVER}"
        return 0, SHOWN.format(name="x.service", more=f"Type={kind}\n")

    guest = FakeGuest(answer=answers)
    outcome, reason = units.check(guest, "x.service", settle=0, deadline=Deadline(0))
    said = reason.partition("\n")[0].removeprefix("inactive (dead), ")
    assert (outcome, said) == answer


def test_check_reads_a_service_again_that_nobody_has_started_yet() -> None:
    """A unit that it requires may be about to fail, and be the reason."""
    seen = []

    def answers(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[1] == "show":
            seen.append(argv)
        state = "inactive" if len(seen) < 2 else "failed"
        shown = SHOWN.format(name="x.service", more="Type=simple\n")
        return 0, shown.replace("ActiveState=inactive", f"ActiveState={state}")

    guest = FakeGuest(answer=answers)
    outcome, reason = units.check(guest, "x.service", settle=0.1, deadline=Deadline(1))
    assert outcome is Outcome.FAIL
    assert reason.startswith("failed")


LISTENS = "Triggers=x.service\nListen={} (Stream)\n"
OWN = Socket(entry=Entry(protocol="stream", address="/var/run/x"), process="x", unit="x.service")


@pytest.mark.parametrize(
    ("address", "found", "active", "is_skipped"),
    [
        ("/run/x", [OWN], "active", True),
        ("[::]:80", [dataclasses.replace(OWN, entry=Entry(protocol="tcp", address="0.0.0.0",
          port=80))], "active", True),
        ("/run/y", [OWN], "active", False),
        ("/run/x", [OWN], "failed", False),
        ("/run/x", [dataclasses.replace(OWN, unit="y.service")], "active", False),
        ("/run/x", [], "active", False),
    ],
)  # fmt: skip
def test_check_skips_a_socket_where_its_service_listens_itself(
    address: str, found: list[Socket], active: str, *, is_skipped: bool
) -> None:
    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[:2] != ("systemctl", "show"):
            return 0, ""
        if "x.service" in argv:
            return 0, f"Id=x.service\nLoadState=loaded\nActiveState={active}\n"
        return 0, SHOWN.format(name="x.socket", more=LISTENS.format(address))

    guest = FakeGuest(answer=answer)
    guest.listening = found
    down = "inactive (dead), not started"
    answered = units.check(guest, "x.socket", settle=0, deadline=Deadline(0))
    if is_skipped:
        assert answered == (Outcome.SKIP, f"{down}, as x.service listens there itself")
    else:
        assert answered == (Outcome.FAIL, down)


class Restarting(FakeGuest):
    """A guest with a unit that somebody starts anew before each look at it."""

    def read(self, argv: tuple[str, ...]) -> Answer:
        assert len(self.ran) < 50, "it is watched for ever"
        started = round(time.monotonic() * 1e6)
        return 0, RUNNING.replace("=5000000", f"={started}")


@dataclasses.dataclass
class Deadlines:
    """Counts how often a deadline is moved."""

    monkeypatch: pytest.MonkeyPatch
    moved: int = 0

    def make(self, seconds: float) -> Deadline:
        deadline = Deadline(seconds)
        extend = deadline.extend

        def count(seconds: float) -> None:
            self.moved += 1
            extend(seconds)

        self.monkeypatch.setattr(deadline, "extend", count)
        return deadline


def test_watch_of_a_unit_that_starts_anew_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Restarting()
    guest.answer = guest.read
    deadlines = Deadlines(monkeypatch)
    answer, _ = judging.watch(guest, "x", settle=0.05, deadline=deadlines.make(0.01))
    assert answer.outcome is Outcome.FAIL
    assert "has not stayed active for 0.05 s" in answer.sentence
    assert deadlines.moved == judging.LOOP + 1


def test_watch_gives_a_unit_that_came_up_in_time_its_time_to_settle_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = round(time.monotonic() * 1e6)
    guest = FakeGuest(lambda argv: (0, RUNNING.replace("=5000000", f"={started}")))
    deadlines = Deadlines(monkeypatch)

    def wait(self: Deadline, seconds: float) -> bool:
        time.sleep(seconds / 3)
        return True

    monkeypatch.setattr(Deadline, "wait", wait)
    answer, _ = judging.watch(guest, "x", settle=0.05, deadline=deadlines.make(0.01))
    assert answer.outcome is Outcome.PASS
    assert len(guest.ran) > 2
    assert deadlines.moved == 1


def test_parse_with_the_offset_of_a_machines_clock() -> None:
    """A moment that never was has none."""
    names = ("ActiveEnter", "InactiveExit", "StateChange", "Watchdog")
    text = "".join(f"{name}TimestampMonotonic=5000000\n" for name in names)
    state = parse(text, 100.5)
    assert (state.since, state.started, state.changed, state.fed) == (105.5,) * 4
    for never in ("", "".join(f"{name}TimestampMonotonic=0\n" for name in names)):
        state = parse(never, 100.5)
        assert (state.since, state.started, state.changed, state.fed) == (0.0,) * 4
    assert parse("ActiveEnterTimestampMonotonic=5000000\n").since == 5.0
