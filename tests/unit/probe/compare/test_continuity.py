"""Answers about units are completed by what a step has changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.compare.continuity import complete, joined
from postroj.probe.compare.losses import Change, loss
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, Why
from tests.unit.probe.compare.states import UP, state

ANSWER = CheckResult(
    kind=CheckKind.UNIT, subject="x", outcome=Outcome.PASS, reason="active\njournal", seconds=1
)
LOSS = loss("x.service", "ran before the reboot", kind=CheckKind.UNIT)


@pytest.mark.parametrize(
    ("outcome", "worse", "link"),
    [
        (Outcome.PASS, Outcome.FAIL, "; now "),
        (Outcome.SKIP, Outcome.FAIL, "; "),
        (Outcome.FAIL, Outcome.FAIL, "; now "),
        (Outcome.ERROR, Outcome.ERROR, "; now "),
    ],
)
def test_a_loss_is_a_failure_unless_the_answer_is_an_error(
    outcome: Outcome, worse: Outcome, link: str
) -> None:
    found = joined(replace(ANSWER, outcome=outcome), LOSS)
    assert found.outcome is worse
    assert found.reason == f"ran before the reboot{link}active\njournal"


def test_a_loss_that_is_policy_leaves_a_failing_answer_as_it_is() -> None:
    policy = replace(LOSS, outcome=Outcome.SKIP, why=Why.POLICY)
    assert joined(ANSWER, policy).outcome is Outcome.SKIP
    assert joined(ANSWER, policy).why is Why.POLICY
    failed = joined(replace(ANSWER, outcome=Outcome.FAIL), policy)
    assert (failed.outcome, failed.why) == (Outcome.FAIL, None)


def test_a_unit_that_was_down_and_runs_again_has_been_started_later() -> None:
    down = replace(LOSS, reason="ran, but was inactive (dead) right after it")
    assert joined(ANSWER, down).reason.startswith(f"{down.reason}; later it was active")


def change(pid: int) -> Change:
    before, now = state(UP), state(replace(UP, main_pid=pid, started=float(pid)))
    return Change(step=StepName.UPGRADE, before=before, now=now, first=state())


def test_a_passing_answer_tells_whether_the_main_process_was_replaced() -> None:
    (same,) = complete([replace(ANSWER, subject="x.service")], change(7), [])
    assert same.reason == "active; not restarted, same main PID as before\njournal"
    (other,) = complete([replace(ANSWER, subject="x")], change(8), [])
    assert other.reason == "active; restarted, its main PID was 7\njournal"


def test_a_failing_answer_tells_that_the_unit_ran_before() -> None:
    (found,) = complete([replace(ANSWER, outcome=Outcome.FAIL)], change(8), [])
    assert found.reason == "ran before the upgrade; now active\njournal"
    first = replace(change(8), before=state())
    assert (
        next(complete([replace(ANSWER, outcome=Outcome.FAIL)], first, [])).reason == ANSWER.reason
    )


@pytest.mark.parametrize(
    ("passed", "told"),
    [((), "no daemon"), (("x.service",), "ran before the upgrade; now no daemon")],
)
def test_a_unit_that_has_exited_ran_before_only_if_it_passed_its_check(
    passed: tuple[str, ...], told: str
) -> None:
    exited = state(replace(UP, sub="exited", main_pid=0, names=("x.service", "alias.service")))
    both = Change(step=StepName.UPGRADE, before=exited, now=exited, first=state())
    for subject in ("x", "alias"):
        failed = replace(ANSWER, subject=subject, outcome=Outcome.FAIL, reason="no daemon")
        (found,) = complete([failed], both, [], passed)
        assert found.reason == told


def test_a_socket_that_is_up_has_not_stopped_if_its_service_fails() -> None:
    socket = replace(UP, name="x.socket", names=("x.socket",))
    both = state(socket)
    change = Change(step=StepName.UPGRADE, before=both, now=both, first=state())
    failed = replace(ANSWER, subject="x.socket", outcome=Outcome.FAIL)
    for reason, told in (
        ("active (listening)", "active (listening)"),
        ("inactive (dead)", "ran before the upgrade; now inactive (dead)"),
    ):
        (found,) = complete([replace(failed, reason=reason)], change, [])
        assert found.reason == told


def test_losses_join_the_answer_about_their_unit_under_any_name_or_come_last() -> None:
    other = loss("y.service", "is gone", kind=CheckKind.UNIT)
    system = loss("a login shell starts", "no")
    before = state(replace(UP, names=("x.service", "alias.service")))
    both = Change(step=StepName.UPGRADE, before=before, now=before, first=state())
    found = list(complete([replace(ANSWER, subject="alias")], both, [other, system, LOSS]))
    assert [answer.subject for answer in found] == ["alias", "y.service", "a login shell starts"]
    assert found[0].reason == "ran before the reboot; now active\njournal"
