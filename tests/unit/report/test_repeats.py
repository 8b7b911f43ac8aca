"""A fault that later steps meet again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.report.repeats import fault_of
from postroj.report.terminal import Terminal
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult

FAILED = CheckResult(
    kind=CheckKind.UNIT,
    subject="x.service",
    outcome=Outcome.FAIL,
    reason="failed after 3.5 s, main PID 7\nNov 21 x[7]: no",
    seconds=1,
)
LATER = replace(FAILED, reason="failed after 4 s, main PID 12\nNov 21 x[12]: no")


def step(name: StepName) -> StepResult:
    return StepResult(name=name, done=Outcome.PASS, reason="x 1 (all)", seconds=1)


def test_fault_of_leaves_out_numbers_and_evidence() -> None:
    assert fault_of(FAILED) == fault_of(LATER)
    for other in (
        {"subject": "y.service"},
        {"outcome": Outcome.ERROR},
        {"kind": CheckKind.SYSTEM},
        {"reason": "failed again"},
    ):
        assert fault_of(FAILED) != fault_of(replace(LATER, **other))


def test_terminal_tells_a_fault_once_and_points_to_its_step() -> None:
    lines: list[str] = []
    terminal = Terminal(lines.append, colour=False, width=9)
    for _ in range(2):  # two probes
        terminal.begin_probe("image", "x.deb")
        terminal.end_step(step(StepName.INSTALL))
        terminal.end_check(FAILED)
        terminal.end_step(step(StepName.REBOOT))
        terminal.end_check(LATER)
        terminal.end_check(replace(LATER, reason="failed otherwise"))
        terminal.end_check(replace(LATER, outcome=Outcome.PASS))
    first, second = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    assert first == second
    assert [line for line in first if "unit" in line or "|" in line] == [
        "  fail     1.0 s  unit     x.service  failed after 3.5 s, main PID 7",
        "          | Nov 21 x[7]: no",
        "  fail     1.0 s  unit     x.service  as after `install`",
        "  fail     1.0 s  unit     x.service  failed otherwise",
        "  pass     1.0 s  unit     x.service  failed after 4 s, main PID 12",
        "          | Nov 21 x[12]: no",
    ]


@pytest.mark.parametrize(
    ("reason", "other"),
    [
        (
            "failed, its main process ended with status 1",
            "failed, its main process ended with status 203",
        ),
        ("status 404", "status 500"),
        ("killed by signal 6", "killed by signal 11"),
        ("getty@tty1.service failed", "getty@tty2.service failed"),
        ("left behind: /etc/x/1", "left behind: /etc/x/2"),
    ],
)
def test_fault_of_keeps_statuses_and_names(reason: str, other: str) -> None:
    assert fault_of(replace(FAILED, reason=reason)) != fault_of(replace(FAILED, reason=other))
