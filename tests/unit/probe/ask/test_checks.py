"""How questions are asked and answered; real guests are asked in the integration tests."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import CommandError, CommandTimeout, GuestError, GuestLost
from postroj.probe.ask import checks, judge
from postroj.probe.ask.checks import Manners, Question, ask_all, unasked
from postroj.verdict import CheckKind, CheckResult, Outcome
from tests.support.fake_guest import Answer, FakeGuest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.process import Completed

QUICK = Manners(timeout=0.3, settle=0)
UP = "\n".join(
    (
        *("Id=x.service", "LoadState=loaded", "ActiveState=active", "SubState=running"),
        *("MainPID=7", "ActiveEnterTimestampMonotonic=0"),
    )
)


def question(kind: CheckKind, subject: str) -> Question:
    return Question(kind=kind, subject=subject)


UNIT = question(CheckKind.UNIT, "x")
FILE = question(CheckKind.FILE, "/a")
COMMAND = question(CheckKind.COMMAND, "true")
SECOND = question(CheckKind.COMMAND, "false")


def answer(argv: tuple[str, ...]) -> Answer:
    match argv:
        case ("systemctl", "show", *_):
            return 0, UP
        case ("sh", "-c", "false"):
            return 1, "sorry\n"
        case _:
            return 0, "said\n"


def ask(guest: FakeGuest, *questions: Question, manners: Manners = QUICK) -> list[CheckResult]:
    return list(ask_all(guest, questions, manners, ["old.service"]))


def test_commands_run_after_other_questions_and_failed_units_come_last() -> None:
    guest = FakeGuest(answer, delay=0.02)
    found = ask(guest, COMMAND, UNIT, SECOND, FILE)
    assert {result.kind for result in found[:2]} == {CheckKind.UNIT, CheckKind.FILE}
    assert [(result.subject, result.outcome) for result in found[2:]] == [
        ("true", Outcome.PASS),
        ("false", Outcome.FAIL),
        (checks.NEW_FAILURES, Outcome.PASS),
    ]
    kinds = [words[0] for words in guest.ran]
    assert kinds.index("sh") > max(kinds.index("stat"), kinds.index("systemctl"))
    assert kinds[-1] == "failed_units"


def test_questions_are_asked_concurrently() -> None:
    guest = FakeGuest(answer, delay=0.2)
    began = time.monotonic()
    found = ask(guest, *[FILE] * 10)
    assert time.monotonic() - began < 1.5
    assert len(found) == 11


def test_an_answer_is_yielded_as_soon_as_it_is_known() -> None:
    released = threading.Event()

    def slow(argv: tuple[str, ...]) -> Answer:
        if argv[0] == "stat" and argv[-1] == "/slow":
            released.wait(10)
        return answer(argv)

    answers = ask_all(FakeGuest(slow), [question(CheckKind.FILE, "/slow"), FILE], QUICK, [])
    assert next(answers).subject == "/a"
    released.set()
    assert next(answers).subject == "/slow"
    list(answers)


def test_an_error_in_one_question_does_not_stop_the_others() -> None:
    def broken(argv: tuple[str, ...]) -> Answer:
        if argv[0] == "stat":
            return GuestError("the guest ended meanwhile", evidence="last words")
        return answer(argv)

    found = {result.subject: result for result in ask(FakeGuest(broken), FILE, UNIT, COMMAND)}
    assert found["/a"].outcome is Outcome.ERROR
    assert found["/a"].reason == "the guest ended meanwhile\nlast words"
    assert found["x"].outcome is found["true"].outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (CommandTimeout(["systemctl"], 30, "so far"), Outcome.ERROR, "'systemctl' did not end"),
        (
            CommandError(["systemctl"], 127, "no such"),
            Outcome.FAIL,
            f"{checks.BROKEN}: 'systemctl'",
        ),
        (GuestLost("it shut down"), Outcome.FAIL, f"{checks.BROKEN}: it shut down"),
        (GuestError("it is odd"), Outcome.ERROR, "it is odd"),
    ],
)
def test_only_a_guest_that_is_lost_or_broken_is_a_failure(
    error: Exception, outcome: Outcome, reason: str
) -> None:
    found = ask(FakeGuest(lambda argv: error if argv[0] == "systemctl" else answer(argv)), UNIT)[0]
    assert found.outcome is outcome
    assert found.reason.startswith(reason)


def test_an_error_while_listing_failed_units_is_an_answer() -> None:
    class Gone(FakeGuest):
        def failed_units(self) -> list[str]:
            message = "gone"
            raise GuestError(message)

    (found,) = ask(Gone(answer))
    assert (found.outcome, found.reason) == (Outcome.ERROR, "gone")


def test_no_newly_failed_unit_ignores_units_that_had_failed_before() -> None:
    guest = FakeGuest(lambda argv: (0, f"journal of {argv[-1]}"), failed=["new.service"])
    (found,) = ask(guest)
    assert found.outcome is Outcome.FAIL
    assert found.reason.splitlines() == [
        "failed since the installation: new.service",
        "journal of COREDUMP_UNIT=new.service",
    ]
    (found,) = ask(FakeGuest(answer, failed=["old.service"]))
    assert (found.outcome, found.reason) == (Outcome.PASS, "none")


def test_failed_units_are_listed_only_after_the_settle_time() -> None:
    began = time.monotonic()
    ask(FakeGuest(answer), manners=Manners(timeout=5, settle=0.3))
    assert time.monotonic() - began >= 0.3


def test_a_command_that_does_not_end_fails() -> None:
    late = CommandTimeout(("sh",), 0.3, "so far\n")
    (found, _) = ask(FakeGuest(lambda argv: late), COMMAND)
    assert (found.outcome, found.reason) == (Outcome.FAIL, "did not end within 0.3 s\nso far")


def test_a_command_in_a_slow_guest_has_the_time_of_its_check_and_no_more() -> None:
    limits: list[float | None] = []

    class Slow(FakeGuest):
        slowness = 8.0

        def run(self, argv: Sequence[str], **options: Any) -> Completed:
            if argv[-1] == COMMAND.subject:
                limits.append(options["timeout"])
            return super().run(argv, **options)

    ask(Slow(answer), COMMAND, manners=Manners(timeout=80, settle=0))
    assert limits == [10]


def test_a_failing_command_shows_its_status_and_last_lines() -> None:
    (found, _) = ask(FakeGuest(answer), SECOND)
    assert found.reason == "status 1\nsorry"


def test_a_missing_file_fails() -> None:
    said = "stat: cannot statx '/a': No such file or directory"
    (found, _) = ask(FakeGuest(lambda argv: (1, said) if argv[0] == "stat" else (0, "")), FILE)
    assert found.outcome is Outcome.FAIL
    assert found.reason == "there is no such file (No such file or directory)"


def test_a_unit_that_stays_activating_fails_at_the_deadline() -> None:
    text = UP.replace("=active", "=activating").replace("=running", "=start")
    (found, _) = ask(
        FakeGuest(lambda argv: (0, text if argv[1] == "show" else "its journal")), UNIT
    )
    assert found.outcome is Outcome.FAIL
    assert found.reason == "still activating (start) after 0.3 s\nits journal"
    assert 0.3 <= found.seconds < 5


def test_an_unknown_unit_has_no_journal() -> None:
    guest = FakeGuest(lambda argv: (0, "LoadState=not-found"))
    (found, _) = ask(guest, UNIT)
    assert found.reason == "there is no such unit"
    assert not [words for words in guest.ran if words[0] == "journalctl"]


def test_closing_the_iterator_cancels_all_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a unit is waited for for a long time."""
    text = UP.replace("=active", "=activating")
    looks: list[float] = []
    monkeypatch.setattr(judge, "INTERVAL", 0.01)

    def waiting(argv: tuple[str, ...]) -> Answer:
        looks.append(time.monotonic())
        return 0, text

    patient = Manners(timeout=60, settle=0)
    answers = ask_all(FakeGuest(waiting), [UNIT], patient, [])
    thread = threading.Timer(0.2, lambda: None)
    thread.start()

    def interrupted(*args: object, **options: object) -> None:
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(answers)
    time.sleep(0.1)
    count = len(looks)
    assert count > 1
    time.sleep(0.2)
    assert len(looks) == count


def test_unasked_questions_are_skips_with_a_reason() -> None:
    found = unasked([UNIT, COMMAND], "not installed")
    assert [(result.kind, result.subject) for result in found] == [
        (CheckKind.UNIT, "x"),
        (CheckKind.COMMAND, "true"),
    ]
    assert {(result.outcome, result.reason) for result in found} == {
        (Outcome.SKIP, "not installed")
    }
    assert unasked([], "whatever") == ()


def test_answers_tell_whether_they_are_about_a_dependency() -> None:
    asked = [UNIT, replace(UNIT, is_dependency=True)]
    found = ((*unasked([one], ""), checks.timed(one, lambda: (Outcome.PASS, ""))) for one in asked)
    assert [[answer.is_dependency for answer in both] for both in found] == [
        [False, False],
        [True, True],
    ]


def test_ask_failures_leaves_out_units_that_did_not_stop_in_time() -> None:
    guest = FakeGuest(failed=["late.service", "x.service"])
    outcome, reason = checks.ask_failures(guest, ["x.service"], killed=lambda: ["late.service"])
    late = "none but late.service, which did not stop in time"
    assert (outcome, reason) == (Outcome.PASS, late)
    outcome, reason = checks.ask_failures(guest, [], killed=lambda: ["late.service"])
    assert outcome is Outcome.FAIL
    assert reason.splitlines()[0] == "failed since the installation: x.service"
    fine = FakeGuest()
    assert checks.ask_failures(fine, [], killed=lambda: pytest.fail("asked")) == (
        Outcome.PASS,
        "none",
    )


def conditional(argv: tuple[str, ...]) -> Answer:
    """Answer about a unit that did not start because of a condition."""
    inactive = UP.replace("=active", "=inactive").replace("running", "dead").replace("=7", "=0")
    return 0, f"{inactive}\nConditionResult=no\nConditionTimestampMonotonic=7"


def test_an_unmet_condition_fails_a_unit_that_the_user_asks_about_and_no_discovered_one() -> None:
    asked = ask(FakeGuest(conditional), UNIT)[0]
    found = ask(FakeGuest(conditional), replace(UNIT, is_found=True))[0]
    assert (asked.outcome, found.outcome) == (Outcome.FAIL, Outcome.SKIP)
    assert "a condition is not met" in asked.reason
    assert "a condition is not met" in found.reason


@pytest.mark.parametrize(
    ("owner", "outcome", "origin"),
    [
        ("", Outcome.FAIL, "; it came with a dependency"),
        ("y", Outcome.SKIP, "; it belongs to 'y', a dependency, and is not held against the"),
    ],
)
def test_a_failed_unit_that_only_a_dependency_owns_is_skipped(
    owner: str, outcome: Outcome, origin: str
) -> None:
    guest = FakeGuest(lambda argv: (0, UP.replace("=active", "=failed")))
    one = replace(UNIT, is_found=True, is_dependency=True)
    found, *_ = ask_all(guest, [one], QUICK, [], owner=lambda name: owner)
    assert found.outcome is outcome
    assert origin in found.reason
