"""The report for a person: one line a check as it ends, and the verdict in the last line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.model import Outcome
from postroj.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroj.model import CheckResult, ProbeResult, Report, StepResult

COLOURS = {
    Outcome.PASS: "32",
    Outcome.FAIL: "31;1",
    Outcome.ERROR: "35;1",
    Outcome.SKIP: "33",
}
VERDICTS = {
    Outcome.PASS: "all passed",
    Outcome.FAIL: "the package is to blame",
    Outcome.ERROR: "the package was not judged",
    Outcome.SKIP: "nothing was tested",
}
PARTS = {
    "boot": "the guest boots",
    "refresh": "package lists are fetched",
    "install": "the package is installed",
    "checks": "checks are under way",
}
INDENT = " " * 10
"""Below the column of what was checked: evidence and hints."""


class Terminal:
    """Tells a probe line by line; `write` takes a line, `width` is that of the widest subject.

    `busy` takes what is being done now, for as long as there is no line on it; '' is nothing.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        colour: bool,
        width: int,
        busy: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._write = write
        self._busy = busy
        self.colour = colour
        self.width = min(width, 40)

    def begin_probe(self, image: str, package: str) -> None:
        """Name what is probed on what."""
        self.write(visible(f"{package} on {image}"))

    def begin_part(self, part: str) -> None:
        """Show what takes a while now."""
        self._busy(f"  ...    {PARTS.get(part, part)}")

    def write(self, line: str) -> None:
        """Write a line where the one on what was being done stood."""
        self._busy("")
        self._write(line)

    def end_step(self, step: StepResult) -> None:
        """Tell how a step went; its checks follow."""
        self._line(step.done, step.name, "", step.seconds, step.reason)
        self._hint(step.hint)

    def end_check(self, check: CheckResult) -> None:
        """Tell an answer."""
        self._line(check.outcome, check.kind, check.subject, check.seconds, check.reason)

    def end_probe(self, probe: ProbeResult) -> None:
        """Tell what kept the probe from its steps, if anything did."""
        if probe.reason:
            self._line(Outcome.ERROR, "probe", "", probe.timings.get("total", 0), probe.reason)
            self._hint(probe.hint)

    def end_report(self, report: Report) -> None:
        """Tell the verdict."""
        checks = [c for probe in report.probes for step in probe.steps for c in step.checks]
        passed = sum(check.outcome is Outcome.PASS for check in checks)
        count = f"{passed} of {len(checks)} checks passed, " if checks else ""
        seconds = sum(probe.timings.get("total", 0) for probe in report.probes)
        word = self._paint(report.outcome, report.outcome.upper())
        verdict = VERDICTS[report.outcome]
        self.write(f"{word}: {verdict}, {count}{seconds:.1f} s")

    def _line(self, outcome: Outcome, kind: str, subject: str, seconds: float, reason: str) -> None:
        sentence, *evidence = reason.splitlines() or [""]
        word = self._paint(outcome, f"{outcome:<5}")
        what = f"{visible(subject):<{self.width}}  {sentence}" if subject else sentence
        self.write(f"  {word} {seconds:6.1f} s  {kind:<7}  {visible(what)}".rstrip())
        for line in evidence:
            self.write(f"{INDENT}| {visible(line)}".rstrip())

    def _hint(self, hint: str) -> None:
        if hint:
            self.write(f"{INDENT}hint: {visible(hint)}")

    def _paint(self, outcome: Outcome, text: str) -> str:
        return f"\x1b[{COLOURS[outcome]}m{text}\x1b[0m" if self.colour else text
