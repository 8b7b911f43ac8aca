"""The report of several probes on a terminal, which may run in threads."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from postroj.report import summary
from postroj.report.repeats import NUMBER, fault_of
from postroj.report.table import table
from postroj.report.terminal import INDENT, PARTS, REPRODUCE, Terminal
from postroj.report.visible import visible
from postroj.verdict import Outcome, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.verdict import ProbeResult


class Screen(Terminal):
    """Print several probes, which may run in threads.

    Lines appear in the order of the probes: those of the first running one at once, those of later
    ones in their turn. On a `live` terminal with concurrent probes, the lines of a probe appear
    when it ends, and `busy` shows a progress line for each running probe. If an image has several
    probes, each is one line when it ends, and those that went wrong come whole before the verdict.
    A `quiet` screen shows only probes that did not pass, and kept guests.
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
        self._brief = False
        self._lock = RLock()
        self._turn = 0
        self._seats: list[_Seat] = []

    def open(self, titles: Sequence[str], jobs: int, *, brief: bool = False) -> Sequence[Terminal]:
        """Return a terminal for each probe; `jobs` of them run at once.

        With `brief` an image has several of them.
        """
        self._live = self._live and jobs > 1
        self._brief = brief
        width = max(map(len, titles), default=0)
        self._seats = [_Seat(self, title if len(titles) > 1 else "", width) for title in titles]
        return self._seats

    def update(self, seat: _Seat) -> None:
        """Print lines that are due after a change of a probe, and those that waited for its end."""
        with self._lock:
            if self._live or self._brief:
                self._write_lines([seat] if seat.ended else [])
                return
            first = self._turn
            while self._turn < len(self._seats) and self._seats[self._turn].ended:
                self._turn += 1
            # lines of a running probe may turn out to be those of one that passes
            self._write_lines(self._seats[first : self._turn + (not self.quiet)])

    def shorten(self, seat: _Seat, probe: ProbeResult) -> None:
        """Replace the lines of a probe that has ended by those to print now."""
        whole, seat.lines = seat.lines, []
        if self.quiet and probe.outcome is Outcome.PASS and not probe.guest:
            return
        if not self._brief:
            seat.lines = whole
            return
        seat.whole = whole if probe.outcome.is_bad else []
        seat.write_line(probe)
        seat.write_remarks(probe)

    def end_report(self, report: Report, seconds: float | None = None) -> None:
        """Print what went wrong if that is due, and the verdict."""
        if self.quiet and report.outcome is Outcome.PASS:
            return
        if self._brief:
            if lines := self._table(report):
                self.write(lines)
            for line in self._faults(report):
                self.write(line)
        super().end_report(report, seconds)

    def _table(self, report: Report) -> str:
        """Return a table of packages and images; '' if there is only one image."""
        images = list(dict.fromkeys(probe.image for probe in report.probes))
        packages = list(dict.fromkeys(probe.package for probe in report.probes))
        if len(images) < 2 or len(packages) < 2:
            return ""
        outcomes = {(probe.package, probe.image): probe.outcome for probe in report.probes}

        def cell(package: str, image: str) -> str:
            found = outcomes.get((package, image))
            return self.paint(found, found) if found else "-"

        rows = [[visible(one), *(cell(one, image) for image in images)] for one in packages]
        return "\n" + table(rows, ("", *map(visible, images))) + "\n"

    def _faults(self, report: Report) -> Iterator[str]:
        """Yield the lines of probes that went wrong; those of the same faults only once."""
        met: dict[object, str] = {}
        for seat, probe in zip(self._seats, report.probes, strict=True):
            if not seat.whole:
                continue
            first = met.setdefault(_faults_of(probe), probe.image)
            if first == probe.image:
                yield from seat.whole
            else:
                yield seat.whole[0]
                yield f"{INDENT}as on {visible(first)}"
                yield from (line for line in seat.whole if line.startswith(REPRODUCE))

    def _write_lines(self, seats: Sequence[_Seat]) -> None:
        doing = [seat.doing for seat in self._seats if seat.doing]
        if doing and len(self._seats) > 1:
            done = sum(seat.ended for seat in self._seats)
            doing.append(f"  {done}/{len(self._seats)} done")
        if any(seat.lines for seat in seats):
            self._show()
        for seat in seats:
            while seat.lines:
                self._write(seat.lines.pop(0))
        self._show(*doing)


def _faults_of(probe: ProbeResult) -> object:
    """Return what is equal in two probes of a package that went wrong in the same way."""
    steps = [(step.name, step.done, _bare(step.reason)) for step in probe.steps if step.done.is_bad]
    checks = [
        (step.name, fault_of(check))
        for step in probe.steps
        for check in step.checks
        if check.outcome.is_bad
    ]
    return probe.package, _bare(probe.reason), tuple(steps), tuple(checks)


def _bare(reason: str) -> str:
    return NUMBER.sub("0", reason.partition("\n")[0])


def _first_fault(probe: ProbeResult) -> str:
    """Return the first sentence that says why a probe did not pass."""
    found = [probe.reason] if probe.reason else []
    for step in probe.steps:
        if step.outcome is probe.outcome:
            found += [f"{step.name}: {step.reason}"] * (step.done is probe.outcome)
            found += [
                f"{step.name}: {check.kind} {check.subject}: {check.reason}"
                for check in step.checks
                if check.outcome is probe.outcome
            ]
    return next(iter(found), "").partition("\n")[0]


class _Seat(Terminal):
    """Print one of several probes."""

    def __init__(self, screen: Screen, title: str, width: int) -> None:
        super().__init__(self._take, colour=screen.colour, width=screen.width, busy=self._do)
        self._screen = screen
        self._title = visible(title)
        self._title_width = width
        self.lines: list[str] = []
        """Lines not printed yet."""
        self.whole: list[str] = []
        """All lines of a probe that went wrong, for the end."""
        self.doing = ""
        self.ended = False

    def begin_part(self, part: str) -> None:
        """Show a part of a probe while it runs."""
        title = f"{self._title}: " if self._title else ""
        self._do(f"  ...    {title}{PARTS.get(part, part)}")

    def write(self, line: str) -> None:
        """Print a line in its turn."""
        self._take(line)

    def end_probe(self, probe: ProbeResult) -> None:
        """Print the end of the probe, and let the next one print."""
        super().end_probe(probe)
        self._screen.shorten(self, probe)
        self.ended = True
        self._do("")

    def write_line(self, probe: ProbeResult) -> None:
        """Print a probe in one line."""
        passed = probe.outcome is Outcome.PASS
        text = summary.describe(Report(probes=(probe,))) if passed else _first_fault(probe)
        word = self.paint(probe.outcome, f"{probe.outcome:<5}")
        seconds = probe.timings.get("total", 0)
        title = f"{self._title:<{self._title_width}}"
        self.lines.append(f"  {word} {seconds:6.1f} s  {title}  {visible(text)}")

    def _take(self, line: str) -> None:
        self.lines.append(line)
        self._screen.update(self)

    def _do(self, text: str) -> None:
        self.doing = text
        self._screen.update(self)
