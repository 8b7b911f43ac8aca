"""The report on a terminal: a line for each check as it ends, and the verdict in the last line.

`Screen` keeps the lines of concurrent probes apart.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from postroj.report import summary
from postroj.report.repeats import fault_of
from postroj.report.visible import visible
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        self._line(step.done, step.name, "", step.seconds, step.reason)
        self._hint(step.hint)

    def end_check(self, check: CheckResult) -> None:
        """Print the result of a check; a fault of an earlier step is not described again."""
        reason = check.reason
        if check.outcome.is_bad:
            first = self._met.setdefault(fault_of(check), self._step)
            reason = reason if first == self._step else f"as after `{first}`"
        self._line(check.outcome, check.kind, check.subject, check.seconds, reason)

    def end_probe(self, probe: ProbeResult) -> None:
        """Print why the probe ended before its steps, how to repeat it, and its kept guest."""
        if probe.reason:
            self._line(Outcome.ERROR, "probe", "", probe.timings.get("total", 0), probe.reason)
            self._hint(probe.hint)
        if probe.outcome.is_bad and probe.reproduce:
            # a word with line breaks keeps them, as readers copy the command line
            lines = map(visible, probe.reproduce.split("\n"))
            self.write("\n".join(["  reproduce: " + next(lines), *lines]))
        if probe.guest:
            self.write(f"  kept: postroj exec {probe.guest} · postroj stop {probe.guest}")
        for note in probe.notes:
            self.write(f"{INDENT}note: {visible(note)}")

    def end_report(self, report: Report, seconds: float | None = None) -> None:
        """Print the verdict; `seconds` is the total time if probes ran concurrently."""
        if seconds is None:
            seconds = sum(probe.timings.get("total", 0) for probe in report.probes)
        word = self._paint(report.outcome, report.outcome.upper())
        self.write(f"{word}  {summary.describe(report)}; {seconds:.1f} s")

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


class Screen(Terminal):
    """Print several probes, which may run in threads.

    Lines appear in the order of the images: those of the first running probe at once, those of
    later ones in their turn. On a `live` terminal with concurrent probes, the lines of a probe
    appear when it ends, and `busy` shows a progress line for each running probe. A `quiet` screen
    shows only probes that did not pass, and kept guests.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        colour: bool,
        width: int,
        busy: Callable[..., None] = lambda *lines: None,
        live: bool = False,
        quiet: bool = False,
    ) -> None:
        super().__init__(write, colour=colour, width=width, busy=busy)
        self.quiet = quiet
        self._show = busy
        self._live = live
        self._lock = RLock()
        self._turn = 0
        self._seats: list[_Seat] = []

    def open(self, images: Sequence[str], jobs: int) -> Sequence[Terminal]:
        """Return a terminal for each image; `jobs` is the number of concurrent probes."""
        self._live = self._live and jobs > 1
        self._seats = [_Seat(self, image if len(images) > 1 else "") for image in images]
        return self._seats

    def update(self, seat: _Seat) -> None:
        """Print lines that are due after a change of a probe, and those that waited for its end."""
        with self._lock:
            if self._live:
                self._write_lines([seat] if seat.ended else [])
                return
            first = self._turn
            while self._turn < len(self._seats) and self._seats[self._turn].ended:
                self._turn += 1
            # lines of a running probe may turn out to be those of one that passes
            self._write_lines(self._seats[first : self._turn + (not self.quiet)])

    def end_report(self, report: Report, seconds: float | None = None) -> None:
        """Print the verdict, unless it is good and nobody wants to see it."""
        if not self.quiet or report.outcome is not Outcome.PASS:
            super().end_report(report, seconds)

    def _write_lines(self, seats: Sequence[_Seat]) -> None:
        doing = [seat.doing for seat in self._seats if seat.doing]
        if any(seat.lines for seat in seats):
            self._show()
        for seat in seats:
            while seat.lines:
                self._write(seat.lines.pop(0))
        self._show(*doing)


class _Seat(Terminal):
    """Print one of several probes."""

    def __init__(self, screen: Screen, title: str) -> None:
        super().__init__(self._take, colour=screen.colour, width=screen.width, busy=self._do)
        self._screen = screen
        self._title = f"{visible(title)}: " if title else ""
        self.lines: list[str] = []
        """Lines not printed yet."""
        self.doing = ""
        self.ended = False

    def begin_part(self, part: str) -> None:
        """Show a part of a probe while it runs."""
        self._do(f"  ...    {self._title}{PARTS.get(part, part)}")

    def write(self, line: str) -> None:
        """Print a line in its turn."""
        self._take(line)

    def end_probe(self, probe: ProbeResult) -> None:
        """Print the end of the probe, and let the next one print."""
        super().end_probe(probe)
        if self._screen.quiet and probe.outcome is Outcome.PASS and not probe.guest:
            self.lines.clear()
        self.ended = True
        self._do("")

    def _take(self, line: str) -> None:
        self.lines.append(line)
        self._screen.update(self)

    def _do(self, text: str) -> None:
        self.doing = text
        self._screen.update(self)
