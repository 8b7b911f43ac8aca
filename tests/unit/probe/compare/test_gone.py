"""Units of a removed package that stay active without a process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroj.container.guest import Process
from postroj.probe.ask import unitstate
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare import gone
from postroj.verdict import CheckKind, Outcome
from tests.support.fake_guest import FakeGuest

EXITED = UnitState(
    name="x.service",
    names=("x.service",),
    load="loaded",
    active="active",
    sub="exited",
    kind="oneshot",
)
SCRIPT = replace(
    EXITED, kind="forking", file_state="generated", source="/etc/init.d/x", has_stop=True
)
AFTER = "Id=x.service\nNames=x.service\nLoadState={}\nActiveState=active\nSubState=exited\n"
PROCESS = Process(pid=9, name="x", group="/system.slice/x.service", unit="x.service")


@pytest.mark.parametrize(
    ("text", "has_stop"),
    [
        ("ExecStart={ path=/bin/x ; }\n", False),
        ("ExecStop=\n", False),
        ("ExecStop={ path=/bin/x ; }\n", True),
        ("ExecStop={ path=/bin/true ; }\n", False),
        ("ExecStop={ path=/bin/true ; }\nExecStop={ path=/bin/x ; }\n", True),
        ("ExecStop={ path=/bin/x ; }\nExecStop={ path=/bin/true ; }\n", True),
        ("ExecStopPost={ path=/bin/x ; }\n", True),
        ("RuntimeDirectory=x\n", True),
    ],
)
def test_parse_of_the_commands_that_stop_a_unit(text: str, *, has_stop: bool) -> None:
    assert unitstate.parse(f"Id=x.service\n{text}").has_stop is has_stop


@pytest.mark.parametrize("earlier", [EXITED, SCRIPT])
def test_is_harmless_of_a_unit_that_has_nothing_left_to_stop(earlier: UnitState) -> None:
    forgotten = replace(EXITED, load="not-found", kind="")
    assert gone.is_harmless(forgotten, earlier)


@pytest.mark.parametrize(
    ("now", "earlier"),
    [
        ({}, {"has_stop": True}),
        ({}, {"kind": "simple"}),
        ({}, {"kind": "forking"}),
        ({"sub": "running", "main_pid": 7}, {}),
        ({"main_pid": 7}, {}),
        ({"active": "deactivating"}, {}),
        ({"has_job": True}, {}),
    ],
)
def test_is_harmless_of_a_unit_that_may_do_harm(
    now: dict[str, Any], earlier: dict[str, Any]
) -> None:
    assert not gone.is_harmless(replace(EXITED, **now), replace(EXITED, **earlier))


def test_units_that_were_there_before_the_packages_are_those_of_others() -> None:
    own = gone.Belongings(units=frozenset({"x.service", "y@.service"}), paths=frozenset())
    units = ["x.service", "y@1.service", "mail@-.service", "mail.service", "new.service"]
    known = ["x.service", "mail@.service", "mail.service"]
    assert own.others(units, known) == ("mail@-.service", "mail.service")


def ask(load: str, *running: Process, earlier: UnitState | None) -> str:
    """Return the answer about x.service after the removal."""
    guest = FakeGuest(answer=lambda argv: (0, AFTER.format(load) * (argv[1] == "show")))
    guest.running = [*running]
    belongings = gone.Belongings(units=frozenset({"x.service"}), paths=frozenset())
    question = Question(kind=CheckKind.UNIT, subject="x.service", is_found=True)
    states = {"x.service": earlier} if earlier else {}
    answers = gone.ask_all(guest, [question], belongings, (), earlier=states)
    answer = next(iter(answers))
    return f"{answer.outcome}: {answer.reason}"


@pytest.mark.parametrize(
    ("known", "earlier", "is_asked"),
    [
        (("x.service",), replace(EXITED, file_state="static"), False),
        (("x.service",), replace(EXITED, file_state="generated"), True),
        (("x.service",), replace(EXITED, names=("x.service", "own.service")), True),
        ((), replace(EXITED, file_state="static"), True),
    ],
)
def test_a_unit_that_was_there_may_stay_though_a_script_has_its_name(
    known: tuple[str, ...], earlier: UnitState, *, is_asked: bool
) -> None:
    guest = FakeGuest(answer=lambda argv: (0, AFTER.format("loaded") * (argv[1] == "show")))
    belongings = gone.Belongings(
        units=frozenset({"x.service"}),
        paths=frozenset({"/etc/init.d/x", "/usr/lib/systemd/system/own.service"}),
    )
    states = {"x.service": replace(earlier, load="loaded", source="")}
    answers = gone.ask_all(guest, [], belongings, (), known, states)
    assert ("x.service" in {answer.subject for answer in answers}) is is_asked


@pytest.mark.parametrize(
    ("process", "outcome"),
    [
        (replace(PROCESS, arguments=("x",)), Outcome.FAIL),
        (replace(PROCESS, unit="other.service", executable="/usr/bin/x"), Outcome.FAIL),
        (replace(PROCESS, unit="", executable="/bin/x"), Outcome.FAIL),
        (replace(PROCESS, unit="other.service", executable="/opt/x"), Outcome.SKIP),
        (replace(PROCESS, name="y", arguments=("y",)), Outcome.PASS),
    ],
)
def test_a_program_that_must_run_must_not_run_on_after_the_removal(
    monkeypatch: pytest.MonkeyPatch, process: Process, outcome: Outcome
) -> None:
    monkeypatch.setattr(gone, "PATIENCE", 0.0)
    guest = FakeGuest(running=[process])
    belongings = gone.Belongings(units=frozenset({"x.service"}), paths=frozenset({"/usr/bin/x"}))
    question = Question(kind=CheckKind.PROCESS, subject="x")
    answers = {answer.subject: answer for answer in gone.ask_all(guest, [question], belongings, ())}
    assert answers["x"].outcome is outcome


def test_an_address_that_must_be_closed_stays_so_after_the_removal() -> None:
    question = Question(kind=CheckKind.CLOSED, subject="tcp://*:80")
    belongings = gone.Belongings(units=frozenset(), paths=frozenset())
    answer = next(iter(gone.ask_all(FakeGuest(), [question], belongings, ())))
    assert (answer.outcome, answer.reason) == (Outcome.PASS, "nobody listens")


def test_ask_all_about_a_unit_that_has_nothing_left_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gone, "PATIENCE", 0.1)
    idle = "pass: still active (exited) without a process, its file is {}: "
    end = "it has nothing left to stop"
    assert ask("loaded", earlier=SCRIPT) == f"{idle.format('there')}{end}"
    assert ask("not-found", earlier=EXITED) == f"{idle.format('gone')}{end}"
    assert ask("not-found", PROCESS, earlier=EXITED).startswith("fail: still active (exited), its")
    assert ask("not-found", earlier=None).startswith(
        "fail: still active (exited), its file is gone"
    )
