"""The judgement on a SysV script without a process, by what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask import exited
from postroj.probe.ask.judge import passed
from postroj.probe.ask.unitstate import UnitState
from postroj.verdict import Outcome
from tests.support.fake_guest import FakeGuest

SCRIPT = UnitState(
    name="x.service",
    load="loaded",
    active="active",
    sub="exited",
    kind="forking",
    file_state="generated",
    source="/etc/init.d/x",
)


@pytest.mark.parametrize(
    ("other", "is_skipped"),
    [
        ((0, "x is switched off\n"), True),
        ((0, "Usage: x start|stop|status\n"), False),
        ((2, "x is switched off\n"), False),
    ],
)
def test_judge_of_a_script_that_ends_before_it_reads_its_action(
    other: tuple[int, str], *, is_skipped: bool
) -> None:
    """A script that prints its usage and ends with 0 has read its action."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        answers = {"status": (0, "x is switched off\n"), exited.NO_ACTION: other}
        return answers.get(argv[-1], (0, ""))

    found = exited.judge(FakeGuest(answer=answer), SCRIPT, passed("active (exited)"))
    assert found
    if is_skipped:
        assert found.outcome is Outcome.SKIP
        assert found.sentence.startswith(exited.NOTHING)
    else:
        assert found == passed(f"active (exited), {exited.WITHOUT_PROCESS}")


@pytest.mark.parametrize("status", [*exited.DEAD, exited.STOPPED])
@pytest.mark.parametrize(
    ("ran", "trace", "outcome"),
    [(0.0, "", Outcome.SKIP), (0.1, "", Outcome.SKIP), (60.0, "", Outcome.FAIL)]
    + [(ran, "/run/x.pid", Outcome.FAIL) for ran in (0.0, 0.1)],
)
def test_judge_of_a_daemon_that_ended_at_once_depends_on_the_traces_that_it_left(
    ran: float, trace: str, outcome: Outcome, status: int
) -> None:
    """Whether systemd has seen a process that lives for a moment is chance."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[-1] == "status":
            return status, "x is not running\n"
        return (0, trace) if exited.TRACES in argv else (0, "")

    state = replace(SCRIPT, started=9.0, since=10.0, changed=10.0 + ran)
    found = exited.judge(FakeGuest(answer=answer), state, passed("active (exited)"))
    assert found
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("programs", "does_nothing"),
    [(("/bin/true",), True), (("/usr/bin/true", "/bin/true"), True), (("/bin/true", "/x"), False)],
)
def test_judge_of_a_service_that_stands_for_others(
    programs: tuple[str, ...], *, does_nothing: bool
) -> None:
    state = replace(SCRIPT, kind="oneshot", programs=programs)
    found = exited.judge(FakeGuest(), state, passed("active (exited)"))
    assert found == (passed("active (exited), its command does nothing") if does_nothing else None)
