"""Failures that a container explains become skips, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.errors import GuestLost
from postroj.probe.excuse import container
from postroj.probe.excuse.excuses import Excuses
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult
from tests.support.fake_guest import FakeGuest

SHOW = """\
ActiveState=failed
Result=exit-code
LoadState=loaded
ExecMainStatus=208
StandardInput=tty
TTYPath=/dev/tty8
"""
GPM = """\
the postinst script of 'gpm' ended with status 1
Job for gpm.service failed because the service did not take the steps required.
Could not open /dev/input/mice.
"""


def guest(show: str = SHOW) -> FakeGuest:
    return FakeGuest(answer=lambda argv: (0, show if argv[:2] == ("systemctl", "show") else ""))


def check(outcome: Outcome, reason: str, kind: CheckKind = CheckKind.UNIT) -> CheckResult:
    return CheckResult(kind=kind, subject="x", outcome=outcome, reason=reason, seconds=0)


def step(reason: str, done: Outcome = Outcome.FAIL) -> StepResult:
    return StepResult(name=StepName.INSTALL, done=done, reason=reason, seconds=0, hint="try")


def test_failed_unit_that_needs_a_device_is_skipped_and_keeps_its_evidence() -> None:
    found = container.excused_check(guest(), check(Outcome.FAIL, "failed\nits journal"))
    assert found.outcome is Outcome.SKIP
    assert found.needs == "the device '/dev/tty8'"
    assert found.reason == (
        "a container cannot show this: needs the device '/dev/tty8'; failed\nits journal"
    )


@pytest.mark.parametrize(
    "untouched",
    [
        check(Outcome.PASS, "active"),
        check(Outcome.SKIP, "not enabled by the package"),
        check(Outcome.ERROR, "no answer"),
        check(Outcome.FAIL, "refused", CheckKind.NETWORK),
    ],
)
def test_other_checks_stay_and_ask_nothing(untouched: CheckResult) -> None:
    asked = guest()
    assert container.excused_check(asked, untouched) == untouched
    assert not asked.ran


def test_failed_unit_without_a_need_stays_a_failure() -> None:
    failure = check(Outcome.FAIL, "failed")
    assert container.excused_check(guest(SHOW.replace("208", "217")), failure) == failure


def test_unit_whose_condition_asks_for_a_machine_has_its_need() -> None:
    show = "ActiveState=inactive\nLoadState=loaded\nConditionResult=no\n"
    show += "ConditionTimestampMonotonic=7\nAssertResult=no\n"

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "busctl":
            return 0, 'a(sbbsi) 1 "ConditionVirtualization" false true "container" -1'
        return 0, show if argv[:2] == ("systemctl", "show") else ""

    skipped = check(Outcome.SKIP, "inactive, because a condition is not met: ...")
    found = container.excused_check(FakeGuest(answer=answer), skipped)
    assert (found.outcome, found.needs) == (Outcome.SKIP, "a machine that is no container")


def test_step_whose_script_could_not_start_a_unit_is_skipped() -> None:
    found = container.excused_step(guest(), step(GPM))
    assert (found.done, found.needs, found.hint) == (Outcome.SKIP, "the device '/dev/tty8'", "")


def test_step_whose_script_asked_the_kernel_itself_is_skipped() -> None:
    reason = "the postinst script of 'x' ended with status 1\nCould not open /dev/input/mice."
    found = container.excused_step(guest(), step(reason))
    assert found.needs == "the device '/dev/input/mice'"


@pytest.mark.parametrize(
    "untouched",
    [
        step(GPM, Outcome.ERROR),
        step("'x' depends on 'y'\nCould not open /dev/input/mice."),
        step("the postinst script of 'x' ended with status 1\n/etc/x.d/y: No such file"),
    ],
)
def test_other_steps_stay(untouched: StepResult) -> None:
    assert container.excused_step(guest(), untouched) == untouched


def test_script_that_named_a_unit_is_judged_by_that_unit_alone() -> None:
    sound = SHOW.replace("208", "217")
    assert container.excused_step(guest(sound), step(GPM)).done is Outcome.FAIL


def test_lost_guest_excuses_nothing() -> None:
    lost = FakeGuest(answer=lambda argv: GuestLost("gone"))
    failure = check(Outcome.FAIL, "failed")
    assert container.excused_check(lost, failure) == failure


@pytest.mark.parametrize(("subject", "status"), [("x.socket", 208), ("x", 208), ("x.socket", 217)])
def test_excused_check_of_a_socket_takes_the_connection_back(subject: str, status: int) -> None:
    """systemd would start the service for it again and again."""
    show = SHOW.replace("208", str(status))

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[:2] != ("systemctl", "show"):
            return 0, ""
        if argv[-1] == "x.service":
            return 0, f"Id=x.service\nTriggeredBy=x.socket y.socket\n{show}"
        return 0, f"Id=x.socket\nTriggers=x.service\n{show}"

    asked = FakeGuest(answer=answer)
    container.excused_check(asked, replace(check(Outcome.FAIL, "failed"), subject=subject))
    verbs = ("stop", "reset-failed", "restart")
    done = [argv[1:] for argv in asked.ran if {*argv[1:2]} & {*verbs}]
    is_taken_back = (subject, status) == ("x.socket", 208)
    assert (
        done
        == [
            ("stop", "--", "x.socket", "y.socket", "x.service"),
            ("reset-failed", "--", "x.socket", "y.socket", "x.service"),
            ("restart", "--", "x.socket", "y.socket"),
        ]
        * is_taken_back
    )


def test_what_is_left_of_a_unit_that_could_not_start_is_skipped_after_the_removal() -> None:
    excuses = Excuses((), is_emulated=False)
    unit = replace(check(Outcome.SKIP, "failed"), subject="x.service", needs="to raise limits")
    excuses.of_check(StepName.INSTALL, unit)
    reason = "still running after the removal\n'x' (PID 34) of /usr/sbin/x, in x.service"
    remains = replace(check(Outcome.FAIL, reason, CheckKind.SYSTEM), subject="no process runs on")
    found = excuses.of_check(StepName.REMOVE, remains)
    assert (found.outcome, found.needs) == (Outcome.SKIP, "to raise limits")
    assert excuses.of_check(StepName.INSTALL, remains).outcome is Outcome.FAIL
    for name in ("y.service", "max.service", "a-x.service", "x.service-1.socket"):
        other = replace(remains, reason=reason.replace("x.service", name))
        assert excuses.of_check(StepName.REMOVE, other).outcome is Outcome.FAIL
    port = replace(remains, kind=CheckKind.NETWORK, subject="tcp://localhost:7", reason=reason)
    assert excuses.of_check(StepName.REMOVE, port).outcome is Outcome.SKIP
    link = "/etc/systemd/system/multi-user.target.wants/x.service"
    file = replace(remains, subject="no file left behind", reason=f"left behind: 1 file\n{link}")
    assert excuses.of_check(StepName.PURGE, file).outcome is Outcome.FAIL
    excuses.of_check(StepName.START, replace(unit, outcome=Outcome.PASS, needs=""))
    assert excuses.of_check(StepName.REMOVE, remains).outcome is Outcome.FAIL


def test_nothing_is_excused_in_a_guest_with_its_own_kernel() -> None:
    """What it lacks is not for being a container."""
    excuses = Excuses((), is_emulated=False)
    asked = excuses.guest = guest()
    failure = check(Outcome.FAIL, "failed")
    failed = replace(step(GPM), seconds=1)
    assert excuses.of_check(StepName.INSTALL, failure).outcome is Outcome.SKIP
    assert excuses.of_step(failed).done is Outcome.SKIP
    asked.ran.clear()
    asked.has_own_kernel = True
    assert excuses.of_check(StepName.INSTALL, failure) == failure
    assert excuses.of_step(failed) == failed
    assert asked.ran == []
