"""The report on a terminal: a line for each check as it ends, and the verdict in the last line.

`postroj.report.screen` keeps the lines of concurrent probes apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.report import summary
from postroj.report.repeats import fault_of
from postroj.report.visible import visible
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroj.report.repeats import Fault
    from postroj.verdict import CheckResult, ProbeResult, Report, StepResult

COLOURS = {
    Outcome.PASS: "32",
    Outcome.FAIL: "31;1",
    Outcome.ERROR: "35;1",
    Outcome.SKIP: "33",
}
PARTS = {
    "boot": "booting the guest",
    "refresh": "fetching package lists",
    "install": "installing the package",
    "start": "starting units",
    "reinstall": "reinstalling the package",
    "upgrade": "upgrading the package",
    "downgrade": "downgrading the package",
    "reboot": "rebooting the guest",
    "remove": "removing the package",
    "install-again": "installing the package again",
    "purge": "purging the package",
    "checks": "running checks",
    "evidence": "collecting evidence",
}
INDENT = " " * 10
"""Indentation of evidence and hints, below the column of step and kind."""
REPRODUCE = "  reproduce: "


class Terminal:
    """Print a probe line by line; `write` prints a line, `width` is that of the longest subject.

    `busy` shows a progress line until the next line is written; '' shows nothing.
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
        self._step = ""
        self._met: dict[Fault, str] = {}
        """The step after which each fault of the probe was first met."""

    def begin_probe(self, image: str, package: str) -> None:
        """Print package and image."""
        self._met = {}
        self.write(visible(f"{package} on {image}"))

    def begin_part(self, part: str) -> None:
        """Show a part of a probe while it runs."""
        self._busy(f"  ...    {PARTS.get(part, part)}")

    def write(self, line: str) -> None:
        """Print a line in place of the progress line."""
        self._busy("")
        self._write(line)

    def end_step(self, step: StepResult) -> None:
        """Print the result of a step; its checks follow."""
        self._step = step.name
        self.line(step.done, step.name, "", step.seconds, step.reason)
        self._hint(step.hint)

    def end_check(self, check: CheckResult) -> None:
        """Print the result of a check; a fault of an earlier step is not described again."""
        reason = check.reason
        if check.outcome.is_bad:
            first = self._met.setdefault(fault_of(check), self._step)
            reason = reason if first == self._step else f"as after `{first}`"
        self.line(check.outcome, check.kind, check.subject, check.seconds, reason)

    def end_probe(self, probe: ProbeResult) -> None:
        """Print why the probe ended before its steps, how to repeat it, and its kept guest."""
        if probe.reason:
            self.line(Outcome.ERROR, "probe", "", probe.timings.get("total", 0), probe.reason)
            self._hint(probe.hint)
        if probe.outcome.is_bad and probe.reproduce:
            # a word with line breaks keeps them, as readers copy the command line
            lines = map(visible, probe.reproduce.split("\n"))
            self.write("\n".join([REPRODUCE + next(lines), *lines]))
        self.write_remarks(probe)

    def write_remarks(self, probe: ProbeResult) -> None:
        """Print how to use a kept guest, and the notes about a probe."""
        if probe.guest:
            self.write(f"  kept: postroj exec {probe.guest} · postroj stop {probe.guest}")
        for note in probe.notes:
            self.write(f"{INDENT}note: {visible(note)}")

    def end_report(self, report: Report, seconds: float | None = None) -> None:
        """Print the verdict; `seconds` is the total time if probes ran concurrently."""
        if seconds is None:
            seconds = sum(probe.timings.get("total", 0) for probe in report.probes)
        word = self.paint(report.outcome, report.outcome.upper())
        self.write(f"{word}  {summary.describe(report)}; {seconds:.1f} s")

    def line(self, outcome: Outcome, kind: str, subject: str, seconds: float, reason: str) -> None:
        """Print a result with its evidence."""
        sentence, *evidence = reason.splitlines() or [""]
        word = self.paint(outcome, f"{outcome:<5}")
        what = f"{visible(subject):<{self.width}}  {sentence}" if subject else sentence
        self.write(f"  {word} {seconds:6.1f} s  {kind:<7}  {visible(what)}".rstrip())
        for line in evidence:
            self.write(f"{INDENT}| {visible(line)}".rstrip())

    def _hint(self, hint: str) -> None:
        if hint:
            self.write(f"{INDENT}hint: {visible(hint)}")

    def paint(self, outcome: Outcome, text: str) -> str:
        """Return a text in the colour of an outcome."""
        return f"\x1b[{COLOURS[outcome]}m{text}\x1b[0m" if self.colour else text
