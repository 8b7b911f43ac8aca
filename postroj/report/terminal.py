"""The report for a person: one line a check as it ends, and the verdict in the last line.

Of probes that go on at once (`Screen`) the lines never mix.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from postroj.report.visible import visible
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.verdict import CheckResult, ProbeResult, Report, StepResult

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
    "reinstall": "the package is installed once more",
    "upgrade": "the package is upgraded",
    "downgrade": "the package is downgraded",
    "reboot": "the guest restarts",
    "remove": "the package is removed",
    "purge": "the package is purged",
    "checks": "checks are under way",
    "evidence": "evidence is collected",
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
        """Tell what kept the probe from its steps, if anything did, and whose guest runs on."""
        if probe.reason:
            self._line(Outcome.ERROR, "probe", "", probe.timings.get("total", 0), probe.reason)
            self._hint(probe.hint)
        if probe.outcome.is_bad and probe.reproduce:
            # typed by who reads it: a word that has lines keeps them
            lines = map(visible, probe.reproduce.split("\n"))
            self.write("\n".join(["  reproduce: " + next(lines), *lines]))
        if probe.guest:
            self.write(f"  kept: postroj exec {probe.guest} · postroj stop {probe.guest}")
        for note in probe.notes:
            self.write(f"{INDENT}note: {visible(note)}")

    def end_report(self, report: Report, seconds: float | None = None) -> None:
        """Tell the verdict; `seconds` are those of all, where probes went on at once."""
        checks = [c for probe in report.probes for step in probe.steps for c in step.checks]
        passed = sum(check.outcome is Outcome.PASS for check in checks)
        count = f"{passed} of {len(checks)} checks passed, " if checks else ""
        if seconds is None:
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


class Screen(Terminal):
    """Tells several probes, each in a thread of its own perhaps.

    Lines come out in the order of the images: those of the first that has not ended at once, those
    of the others when it is their turn. On a terminal that is `live`, where several go on at once,
    a probe's lines come when it has ended, and what goes on is in the lines that `busy` shows.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        colour: bool,
        width: int,
        busy: Callable[..., None] = lambda *lines: None,
        live: bool = False,
    ) -> None:
        super().__init__(write, colour=colour, width=width, busy=busy)
        self._show = busy
        self._live = live
        self._lock = RLock()
        self._turn = 0
        self._seats: list[_Seat] = []

    def open(self, images: Sequence[str], jobs: int) -> Sequence[Terminal]:
        """Return the terminal of the probe on each image; so many probes go on at once."""
        self._live = self._live and jobs > 1
        self._seats = [_Seat(self, image if len(images) > 1 else "") for image in images]
        return self._seats

    def hear(self, seat: _Seat) -> None:
        """Write the lines of a probe if they may come, and those that wait for its end."""
        with self._lock:
            if self._live:
                self._write_lines([seat] if seat.ended else [])
                return
            first = self._turn
            while self._turn < len(self._seats) and self._seats[self._turn].ended:
                self._turn += 1
            self._write_lines(self._seats[first : self._turn + 1])

    def _write_lines(self, seats: Sequence[_Seat]) -> None:
        doing = [seat.doing for seat in self._seats if seat.doing]
        if any(seat.lines for seat in seats):
            self._show()
        for seat in seats:
            while seat.lines:
                self._write(seat.lines.pop(0))
        self._show(*doing)


class _Seat(Terminal):
    """Tells one probe of several."""

    def __init__(self, screen: Screen, title: str) -> None:
        super().__init__(self._take, colour=screen.colour, width=screen.width, busy=self._do)
        self._screen = screen
        self._title = f"{visible(title)}: " if title else ""
        self.lines: list[str] = []
        """That wait to be written."""
        self.doing = ""
        self.ended = False

    def begin_part(self, part: str) -> None:
        """Show what takes a while now."""
        self._do(f"  ...    {self._title}{PARTS.get(part, part)}")

    def write(self, line: str) -> None:
        """Write a line when it is its turn."""
        self._take(line)

    def end_probe(self, probe: ProbeResult) -> None:
        """Tell what kept the probe from its steps, if anything did, and make place for others."""
        super().end_probe(probe)
        self.ended = True
        self._do("")

    def _take(self, line: str) -> None:
        self.lines.append(line)
        self._screen.hear(self)

    def _do(self, text: str) -> None:
        self.doing = text
        self._screen.hear(self)
