"""What a person sees, letter by letter."""

from __future__ import annotations

import pytest

from postroj.model import (
    CheckKind,
    CheckResult,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)
from postroj.report.terminal import Terminal
from postroj.report.text import visible

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x08\x9b31m\x7f\u202e"


def check(
    outcome: Outcome = Outcome.PASS,
    kind: CheckKind = CheckKind.UNIT,
    subject: str = "redis.service",
    reason: str = "active (running)",
    seconds: float = 3.21,
) -> CheckResult:
    return CheckResult(kind=kind, subject=subject, outcome=outcome, reason=reason, seconds=seconds)


def probe(*checks: CheckResult, **changes: object) -> ProbeResult:
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.PASS,
        reason="redis 7.0 (amd64)",
        seconds=12.34,
        checks=checks,
    )
    options = {"steps": (step,), "timings": {"total": 20.0}} | changes
    return ProbeResult(image="debian-trixie", package="redis_7.0_amd64.deb", **options)  # type: ignore[arg-type]


def told(result: ProbeResult, *, colour: bool = False, width: int = 20) -> list[str]:
    """Tell a probe as `probe.probe` does."""
    lines: list[str] = []
    terminal = Terminal(lines.append, colour=colour, width=width)
    terminal.begin_probe(result.image, result.package)
    for step in result.steps:
        terminal.end_step(step)
        for answer in step.checks:
            terminal.end_check(answer)
    terminal.end_probe(result)
    terminal.end_report(Report(probes=(result,)))
    return lines


def test_all_passed() -> None:
    url = "tcp://127.0.0.1:6379"
    network = check(kind=CheckKind.NETWORK, subject=url, reason="connected after 0.1 s", seconds=0)
    assert told(probe(check(), network)) == [
        "redis_7.0_amd64.deb on debian-trixie",
        "  pass    12.3 s  install  redis 7.0 (amd64)",
        "  pass     3.2 s  unit     redis.service         active (running)",
        "  pass     0.0 s  network  tcp://127.0.0.1:6379  connected after 0.1 s",
        "PASS: all passed, 2 of 2 checks passed, 20.0 s",
    ]


def test_a_check_failed_with_evidence() -> None:
    reason = "failed (result 'exit-code')\nNov 21 redis[7]: no configuration\n\nNov 21 end"
    assert told(probe(check(Outcome.FAIL, reason=reason)))[2:] == [
        "  fail     3.2 s  unit     redis.service         failed (result 'exit-code')",
        "          | Nov 21 redis[7]: no configuration",
        "          |",
        "          | Nov 21 end",
        "FAIL: the package is to blame, 0 of 1 checks passed, 20.0 s",
    ]


def test_a_step_failed_with_a_hint() -> None:
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.ERROR,
        reason="no network\nlast line",
        seconds=1,
        hint="is this host online?",
    )
    assert told(probe(steps=(step,)))[1:] == [
        "  error    1.0 s  install  no network",
        "          | last line",
        "          hint: is this host online?",
        "ERROR: the package was not judged, 20.0 s",
    ]


def test_a_probe_that_did_not_begin() -> None:
    assert told(probe(steps=(), reason="no guest\nlog", hint="try again", timings={})) == [
        "redis_7.0_amd64.deb on debian-trixie",
        "  error    0.0 s  probe    no guest",
        "          | log",
        "          hint: try again",
        "ERROR: the package was not judged, 0.0 s",
    ]


def test_nothing_was_tested() -> None:
    lines: list[str] = []
    Terminal(lines.append, colour=False, width=3).end_report(Report(probes=()))
    assert lines == ["SKIP: nothing was tested, 0.0 s"]


@pytest.mark.parametrize("width", [5, 40, 400])
def test_a_long_subject_keeps_its_line(width: int) -> None:
    subject = "https://127.0.0.1:8443/" + "x" * 60
    long = check(subject=subject, kind=CheckKind.NETWORK)
    lines = told(probe(long, check(subject="a")), width=width)
    assert lines[2] == f"  pass     3.2 s  network  {subject}  active (running)"
    assert lines[3] == f"  pass     3.2 s  unit     {'a':<{min(width, 40)}}  active (running)"


def test_an_empty_reason() -> None:
    lines = told(probe(check(reason="")))
    assert lines[2] == "  pass     3.2 s  unit     redis.service"


def test_colours() -> None:
    lines = told(probe(check(), check(Outcome.FAIL)), colour=True)
    assert lines[2].startswith("  \x1b[32mpass \x1b[0m    3.2 s  unit ")
    assert lines[3].startswith("  \x1b[31;1mfail \x1b[0m    3.2 s  unit ")
    assert lines[-1].startswith("\x1b[31;1mFAIL\x1b[0m: the package is to blame")


def test_what_a_package_says_cannot_speak_to_the_terminal() -> None:
    answer = check(Outcome.FAIL, subject=HOSTILE, reason=f"{HOSTILE}\n{HOSTILE}\rover\x85next")
    step = StepResult(
        name=StepName.INSTALL, done=Outcome.FAIL, reason=HOSTILE, seconds=0, hint=HOSTILE
    )
    for result in (
        probe(answer),
        probe(steps=(step,)),
        probe(steps=(), reason=HOSTILE, hint=HOSTILE),
        ProbeResult(image="i", package=HOSTILE),
    ):
        text = "".join(told(result))
        assert text.isprintable(), ascii(text)
        assert "red" in text
        assert "owned" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain ünï 日本 ✓", "plain ünï 日本 ✓"),
        ("a\tb", "a       b"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://mirror.example\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1bM\x1bcgone", "\\x1bcgone"),
        ("bell\x07 nul\x00 csi\x9b31m", "bell\\x07 nul\\x00 csi\\x9b31m"),
        ("cut \x1b[", "cut \\x1b["),
        ("\udcff \u202e", "\\udcff \\u202e"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
