"""The judgement on a SysV script without a process, by what it says."""

from __future__ import annotations

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
