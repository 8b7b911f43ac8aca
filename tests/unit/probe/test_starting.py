"""Which units the step `start` starts, and what an answer about one of them becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.container.limits import NOTHING
from postroj.model import Image, Manager, NetworkMode
from postroj.probe.ask.checks import NEW_FAILURES, Manners
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.state import Before
from postroj.probe.discover.discover import Brought
from postroj.probe.discover.payload import Payload
from postroj.probe.plan import Plan
from postroj.probe.startable import choose, without_rivals
from postroj.probe.starting import HOW, UNTRIED, Starter
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, Why
from tests.support.fake_guest import FakeGuest
from tests.unit.probe.compare import states

PLAN = Plan(
    questions=(),
    manners=Manners(),
    network=NetworkMode.NONE,
    timeout=1,
    boot_timeout=1,
    steps=(StepName.INSTALL, StepName.START),
    limits=NOTHING,
)
BEFORE = Before(failed=(), state=states.state(), processes=(), since=0)
JOURNAL = """\
Nov 21 13:00:00 guest systemd[1]: Starting x.service - X...
Nov 21 13:00:01 guest x[7]: cannot read /etc/x.conf
Nov 21 13:00:02 guest systemd[1]: x.service: Failed with result 'exit-code'."""
DIED = f"failed (result 'exit-code'), its main process ended with status 1\n{JOURNAL}"
EXEC = "ExecStart={{ path=/bin/x ; argv[]=/bin/x ; code=exited ; status={} }}\n"


def state(name: str = "x.service", **fields: object) -> UnitState:
    idle = UnitState(
        name=name, names=(name,), load="loaded", active="inactive", sub="dead",
        file_state="disabled",
    )  # fmt: skip
    return replace(idle, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "is_chosen"),
    [
        ({}, True),
        ({"file_state": "enabled"}, True),
        ({"name": "x.timer"}, True),
        ({"name": "x.socket"}, True),
        ({"name": "x.path"}, True),
        ({"file_state": "static"}, False),
        ({"file_state": "generated"}, False),
        ({"load": "masked"}, False),
        ({"load": "not-found"}, False),
        ({"active": "active"}, False),
        ({"active": "failed"}, False),
        ({"has_job": True}, False),
        ({"started": 7.0}, False),
        ({"unmet_condition": True}, False),
        ({"unmet_assertion": True}, False),
        ({"name": "x.mount"}, False),
        ({"triggered_by": ("other.socket",)}, True),
    ],
)
def test_choose_takes_idle_units_that_can_be_enabled(
    fields: dict[str, object], is_chosen: bool
) -> None:
    one = replace(state(str(fields.get("name", "x.service"))), **fields)  # type: ignore[arg-type]
    assert choose([one], frozenset({one.name})) == ([one.name] if is_chosen else [])


def test_choose_leaves_out_units_of_others_and_units_behind_a_socket() -> None:
    service = state(triggered_by=("x.socket",))
    for socket in (state("x.socket"), state("x.socket", active="active")):
        own = frozenset({"x.service", "x.socket"})
        expected = ["x.socket"] if socket.active == "inactive" else []
        assert choose([service, socket, state("y.service")], own) == expected
    alone = state("x.socket", load="masked")
    assert choose([service, alone], frozenset({"x.service", "x.socket"})) == ["x.service"]


@pytest.mark.parametrize(
    ("fields", "active", "is_chosen"),
    [
        ({}, "active", False),
        ({}, "inactive", True),
        ({"accept": True}, "active", True),
        ({"name": "x.timer"}, "active", True),
    ],
)
def test_choose_leaves_out_a_socket_whose_service_is_up(
    fields: dict[str, object], active: str, *, is_chosen: bool
) -> None:
    """systemd refuses it."""
    socket = replace(state("x.socket", triggers=("x.service",)), **fields)  # type: ignore[arg-type]
    service = state(active=active, file_state="static")
    found = choose([service, socket], frozenset({"x.service", socket.name}))
    assert found == ([socket.name] if is_chosen else [])


def test_choose_leaves_out_units_that_are_bound_to_one_with_an_unmet_condition() -> None:
    service = state(unmet_condition=True)
    socket = state("x.socket", bound_to=("x.service",))
    own = frozenset({"x.service", "x.socket"})
    assert choose([service, socket], own) == []
    assert choose([service, socket], own, retry=True) == ["x.service", "x.socket"]
    assert choose([state(active="active"), socket], own) == ["x.socket"]


def test_choose_retries_an_unmet_condition_after_a_change_of_configuration() -> None:
    waiting = state(unmet_condition=True)
    assert choose([waiting], frozenset({"x.service"}), retry=True) == ["x.service"]


def test_without_rivals_keeps_the_first_of_two_units_that_conflict() -> None:
    conflicts = {"a": {"b"}, "b": {"a", "shutdown.target"}, "c": {"up"}}
    assert without_rivals(["a", "b"], conflicts, ()) == ["a"]
    assert without_rivals(["b", "c"], conflicts, ("up",)) == ["b"]


def starter(
    manager: Manager, *, show: str = "", enabling: str = "", must_start: bool = False,
    failed: tuple[str, ...] = (), states: str = "Id=x.service\nNames=x.service",
) -> tuple[Starter, FakeGuest]:  # fmt: skip
    """Return a starter that has started x.service, and its guest."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[:2] == ("systemctl", "show") and "ExecStartPost" in argv[2]:
            return 0, f"Id=x.service\n{show}"
        if argv[:2] == ("systemctl", "show"):
            blocks = states.split("\n\n")
            named = {one.splitlines()[0].removeprefix("Id="): one for one in blocks}
            asked = argv[argv.index("--") + 1 :]
            found = [named.get(name, "Id=x.service\nNames=x.service") for name in asked]
            more = "LoadState=loaded\nUnitFileState=disabled\n"
            return 0, "\n\n".join(f"{one.rstrip()}\n{more}" for one in found)
        return (1, enabling) if enabling else (0, "")

    guest = FakeGuest(answer=answer, failed=list(failed))
    image = Image(name="i", architecture="x86_64", layers=(), manager=manager)
    made = Starter(guest, image, replace(PLAN, must_start=must_start))
    brought = Brought(
        payload=Payload(units=("x.service",)), states=(state(),), questions=(), users=(), groups=()
    )
    made.look(brought, ["x"])
    assert made.waits
    made.start()
    guest.ran.clear()
    return made, guest


def answer(outcome: Outcome, reason: str, *, found: bool = True) -> CheckResult:
    return CheckResult(
        kind=CheckKind.UNIT,
        subject="x.service" if found else "x",
        outcome=outcome,
        reason=reason,
        seconds=1,
        discovered=found,
    )


@pytest.mark.parametrize("manager", list(Manager))
def test_judged_says_who_started_a_unit_that_is_up(manager: Manager) -> None:
    made, _ = starter(manager)
    check = made.judged(answer(Outcome.PASS, "active (running)\nmore"), StepName.START, BEFORE)
    assert (check.outcome, check.started) == (Outcome.PASS, True)
    assert check.reason == f"active (running); {HOW}\nmore"
    ran = replace(BEFORE, state=states.state(state("y.service", started=1.0)))
    other = replace(check, subject="y.service", started=False)
    assert made.judged(other, StepName.START, ran) is other


def test_judged_excuses_a_unit_that_a_unit_on_trial_has_started() -> None:
    made, _ = starter(Manager.APT, show=EXEC.format(1))
    helper = replace(answer(Outcome.FAIL, DIED), subject="y.service")
    assert made.judged(helper, StepName.START, BEFORE).outcome is Outcome.SKIP
    ran = replace(BEFORE, state=states.state(state("y.service", started=1.0)))
    assert made.judged(helper, StepName.START, ran) is helper
    by_policy, _ = starter(Manager.DNF, show=EXEC.format(1))
    assert by_policy.judged(helper, StepName.START, BEFORE) is helper


def test_judged_excuses_a_unit_that_gives_up_on_debian_and_puts_it_back() -> None:
    made, guest = starter(Manager.APT, show=EXEC.format(1))
    check = made.judged(answer(Outcome.FAIL, DIED), StepName.START, BEFORE)
    assert (check.outcome, check.why) == (Outcome.SKIP, Why.CONFIGURATION)
    sentence, *journal = check.reason.splitlines()
    assert sentence == (
        "gave up when postroj started it, it may want configuration: x[7]: cannot read /etc/x.conf;"
        " failed (result 'exit-code'), its main process ended with status 1"
    )
    assert journal == JOURNAL.splitlines()
    verbs = [argv[3] for argv in guest.ran if argv[:2] == ("systemctl", "--quiet")]
    assert verbs == ["disable", "stop", "reset-failed"]
    guest.ran.clear()
    made.before_leaving()
    made.end()
    made.end()
    assert guest.ran == [("systemctl", "daemon-reload")]


def test_a_unit_that_is_put_back_takes_no_service_along_that_ran_before() -> None:
    triggers = "Id=x.service\nTriggers=before.service after.service\n"
    made, guest = starter(Manager.APT, show=EXEC.format(1), states=triggers)
    before = replace(BEFORE, state=states.state(state("before.service", active="active")))
    made.judged(answer(Outcome.FAIL, DIED), StepName.START, before)
    (stopped,) = [argv for argv in guest.ran if "stop" in argv]
    assert stopped[-2:] == ("x.service", "after.service")


@pytest.mark.parametrize(
    ("manager", "must_start", "found"),
    [(Manager.APT, True, True), (Manager.DNF, False, True), (Manager.APT, False, False)],
)
def test_judged_fails_a_unit_that_gives_up_by_policy_or_wish(
    manager: Manager, *, must_start: bool, found: bool
) -> None:
    made, guest = starter(manager, show=EXEC.format(1), must_start=must_start)
    check = made.judged(answer(Outcome.FAIL, DIED, found=found), StepName.START, BEFORE)
    assert check.outcome is Outcome.FAIL
    assert check.reason.splitlines()[0].endswith(f"ended with status 1; {HOW}")
    assert not [argv for argv in guest.ran if "reset-failed" in argv]


@pytest.mark.parametrize("manager", [Manager.APT, Manager.PACMAN])
@pytest.mark.parametrize(
    ("show", "journal", "outcome", "words"),
    [
        (EXEC.format(203), "", Outcome.FAIL, "its program or interpreter is missing"),
        ("ExecMainCode=1\nExecMainStatus=217\n", "", Outcome.FAIL, "its user is missing"),
        (EXEC.format(127), "", Outcome.FAIL, "a command or library is missing"),
        (f"{EXEC.format(0)}ExecStartPre={{ code=exited ; status=203 }}\n", "", Outcome.FAIL,
         "its program or interpreter is missing"),
        ("Result=resources\n", "x.service: Failed to load environment files: No such file",
         Outcome.FAIL, "its EnvironmentFile is missing"),
        (EXEC.format(226), "x: Failed at step NAMESPACE spawning /x: No such file or directory",
         Outcome.FAIL, "a path of its sandbox is missing"),
        (EXEC.format(6), "", Outcome.SKIP, "its program reports that it is not configured"),
        (EXEC.format(78), "", Outcome.SKIP, "its program reports that it is not configured"),
        ("Type=oneshot\nActiveState=activating\n", "", Outcome.SKIP, "still at work"),
    ],
)  # fmt: skip
def test_judged_reads_exit_statuses(
    manager: Manager, show: str, journal: str, outcome: Outcome, words: str
) -> None:
    made, _ = starter(manager, show=show)
    check = made.judged(answer(Outcome.FAIL, f"failed\n{journal}".rstrip()), StepName.START, BEFORE)
    assert check.outcome is outcome
    assert words in check.reason.splitlines()[0]


def test_judged_does_not_take_a_refused_sandbox_for_a_missing_path() -> None:
    made, _ = starter(Manager.APT, show=EXEC.format(226))
    refused = "x: Failed at step NAMESPACE spawning /x: Operation not permitted"
    assert (
        made.judged(answer(Outcome.FAIL, f"failed\n{refused}"), StepName.START, BEFORE).outcome
        is Outcome.SKIP
    )


def test_judged_names_a_unit_that_cannot_be_started() -> None:
    idle = answer(Outcome.SKIP, "enabled, but not started by the installation")
    line = "Failed to start x.service: Unit y.service not found."
    trial, _ = starter(Manager.APT, enabling=line)
    assert trial.judged(idle, StepName.START, BEFORE).reason == f"it was not started: {line}"
    made, _ = starter(Manager.DNF, enabling=line)
    check = made.judged(idle, StepName.START, BEFORE)
    assert (check.outcome, check.reason) == (Outcome.FAIL, f"cannot be started: {line}")


def test_judged_excuses_a_helper_that_fails_on_trial_but_no_unit_of_before() -> None:
    made, guest = starter(Manager.APT, failed=("help.service", "old.service"))
    check = CheckResult(
        kind=CheckKind.SYSTEM, subject=NEW_FAILURES, outcome=Outcome.FAIL, seconds=1,
        reason="failed since the installation: help.service",
    )  # fmt: skip
    ran = replace(BEFORE, state=states.state(state("help.service", started=1.0)))
    assert made.judged(check, StepName.START, replace(ran, failed=("old.service",))) is check
    excused = made.judged(check, StepName.START, replace(BEFORE, failed=("old.service",)))
    assert (excused.outcome, excused.why) == (Outcome.SKIP, Why.CONFIGURATION)
    assert (
        "systemctl",
        "--quiet",
        "--no-reload",
        "reset-failed",
        "--",
        "help.service",
    ) in guest.ran


@pytest.mark.parametrize(
    ("manager", "argv"),
    [
        (Manager.APT, ("systemctl", "--quiet", "disable", "--", "x.service")),
        (Manager.PACMAN, ("systemctl", "--quiet", "disable", "--now", "--", "x.service")),
        (Manager.DNF, None),
    ],
)
def test_before_leaving_does_what_users_of_the_distribution_do(
    manager: Manager, argv: tuple[str, ...] | None
) -> None:
    made, guest = starter(manager)
    made.before_leaving()
    made.before_leaving()
    assert guest.ran == ([argv] if argv else [])


def test_look_starts_named_units_instead_of_those_it_finds() -> None:
    guest = FakeGuest()
    image = Image(name="i", architecture="x86_64", layers=(), manager=Manager.APT)
    made = Starter(guest, image, replace(PLAN, start_units=("y@1",)))
    made.look(None, ["x"])
    assert made.waits
    assert guest.ran == []


def test_look_adds_idle_units_that_the_user_asks_about() -> None:
    idle = "Id=y.service\nNames=y.service\nLoadState=loaded\nActiveState=inactive\n"
    guest = FakeGuest(answer=lambda argv: (0, idle))
    image = Image(name="i", architecture="x86_64", layers=(), manager=Manager.APT)
    asked = Question(kind=CheckKind.UNIT, subject="y")
    for question, waits in ((asked, True), (replace(asked, since=StepName.INSTALL), False)):
        made = Starter(guest, image, replace(PLAN, questions=(question,)))
        made.look(None, ["x"])
        assert made.waits is waits


def test_look_starts_nothing_that_is_faulty_as_it_lies_there() -> None:
    idle = "Id=x.service\nNames=x.service\nLoadState=loaded\nActiveState=inactive\n"
    guest = FakeGuest(answer=lambda argv: (0, idle))
    image = Image(name="i", architecture="x86_64", layers=(), manager=Manager.APT)
    asked = Question(kind=CheckKind.UNIT, subject="x")
    fault = replace(asked, subject="x.service", fault="its program is missing")
    for questions, waits in (((), True), ((fault,), False)):
        brought = Brought(
            payload=Payload(units=("x.service",)), states=(state(),), questions=questions,
            users=(), groups=(),
        )  # fmt: skip
        for plan in (PLAN, replace(PLAN, questions=(asked,)), replace(PLAN, start_units=("x",))):
            made = Starter(guest, image, plan)
            made.look(brought, ["x"])
            assert made.waits is waits


def test_judged_points_to_start_if_the_steps_leave_it_out() -> None:
    image = Image(name="i", architecture="x86_64", layers=(), manager=Manager.APT)
    made = Starter(FakeGuest(), image, replace(PLAN, steps=(StepName.INSTALL,)))
    idle = answer(Outcome.FAIL, "inactive (dead), not started\nJournal", found=False)
    sentence, journal = made.judged(idle, StepName.INSTALL, BEFORE).reason.splitlines()
    assert sentence == f"inactive (dead), not started; {UNTRIED}"
    assert journal == "Journal"
    for other in (replace(idle, discovered=True), replace(idle, reason="failed")):
        assert made.judged(other, StepName.INSTALL, BEFORE) is other
    made = Starter(FakeGuest(), image, PLAN)
    assert made.judged(idle, StepName.INSTALL, BEFORE) is idle


def test_enabled_names_what_the_step_has_enabled_and_not_put_back() -> None:
    made, _ = starter(Manager.APT, show="ExecMainCode=1\nExecMainStatus=1\n")
    assert [*made.enabled] == ["x.service"]
    made.judged(answer(Outcome.FAIL, DIED), StepName.START, BEFORE)
    assert not [*made.enabled]


@pytest.mark.parametrize("enabled", ["enabled", "disabled"])
def test_put_back_leaves_what_the_installation_has_enabled_or_started(enabled: str) -> None:
    shown = f"LoadState=loaded\nUnitFileState={enabled}\nTriggers=y.service z.service\n"
    guest = FakeGuest(answer=lambda argv: (0, f"Id=x.socket\n{shown}" * (argv[1] == "show")))
    image = Image(name="i", architecture="x86_64", layers=(), manager=Manager.APT)
    made = Starter(guest, image, replace(PLAN, start_units=("x.socket",)))
    made.look(None, ["x"])
    made.start()
    before = replace(BEFORE, state=states.state(state("y.service", active="active")))
    gave_up = replace(answer(Outcome.FAIL, DIED), subject="x.socket")
    assert made.judged(gave_up, StepName.START, before).outcome is Outcome.SKIP
    done = [argv[3:] for argv in guest.ran if "--no-reload" in argv]
    assert done == [
        *([("disable", "--", "x.socket")] if enabled == "disabled" else []),
        ("stop", "--", "x.socket", "z.service"),
        ("reset-failed", "--", "x.socket", "z.service"),
    ]
