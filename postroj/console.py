"""What people see on stderr: log lines, progress bars, colour. The only module that knows tqdm.

Data goes to stdout, and only `postroj.cli` prints it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from postroj import away
from postroj.urls import redacted_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Reports how far a long task is: a bar on a terminal, nothing elsewhere."""

    def describe(self, text: str) -> None:
        """Show what the task is doing now."""

    def reach(self, done: float, total: float) -> None:
        """Show that `done` of `total` is finished, in the unit of the bar."""


class Silence:
    """Progress that nobody watches."""

    def describe(self, text: str) -> None:
        """Ignore the text."""

    def reach(self, done: float, total: float) -> None:
        """Ignore the numbers."""


class _Bar:
    """Progress as a tqdm bar."""

    def __init__(self, title: str, unit: str) -> None:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # a thread, and with threads no user namespace can be entered
        self.title = title
        scaled = unit == "B"
        self.bar = tqdm(
            desc=title,
            unit=unit,
            unit_scale=scaled,
            unit_divisor=1000,
            leave=False,
            dynamic_ncols=True,
            bar_format=None if scaled else "{desc} {percentage:3.0f}%|{bar}| {elapsed}",
        )

    def describe(self, text: str) -> None:
        self.bar.set_description_str(f"{self.title}: {text}" if text else self.title)

    def reach(self, done: float, total: float) -> None:
        self.bar.total = total or None
        self.bar.update(done - self.bar.n)


@contextmanager
def progress(title: str, unit: str = "%") -> Iterator[Progress]:
    """Show the progress of a task: a bar on a terminal, which disappears, else one log line.

    `unit` is "B" for bytes or "%" for a bare percentage.
    """
    if is_live(sys.stderr) and not is_quiet():
        bar = _Bar(title, unit)
        try:
            yield bar
        finally:
            bar.bar.close()
    else:
        log.info("%s ...", title)
        yield Silence()


class _Board:
    """Temporary lines at the bottom of a terminal, written by any thread.

    A line that stays is followed by its age in seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: tuple[str, ...] = ()
        self._began: dict[str, float] = {}
        """When each line was shown first, by `time.monotonic`."""
        self._drawn = 0
        """Number of lines that are on the terminal."""
        self._clock: threading.Thread | None = None

    def show(self, lines: tuple[str, ...]) -> None:
        """Replace the current lines by these."""
        with self._lock:
            if lines == self._lines:
                return
            self._erase()
            now = time.monotonic()
            self._began = {line: self._began.get(line, now) for line in lines}
            self._lines = lines
            self._draw()
            if lines and self._clock is None:
                self._clock = threading.Thread(target=self._tick, name="clock", daemon=True)
                self._clock.start()

    def _tick(self) -> None:
        """Draw the lines every second, until there are none."""
        while True:
            time.sleep(1)
            with self._lock, suppress(OSError):  # the terminal may have gone
                if not self._lines or not threading.main_thread().is_alive():
                    self._clock = None
                    return
                self._erase()
                self._draw()

    @contextmanager
    def erased(self) -> Iterator[None]:
        """Erase the lines while something permanent is printed."""
        with self._lock:
            self._erase()
            yield
            self._draw()

    def _erase(self) -> None:
        if self._drawn:
            up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
            sys.stderr.write(f"{up}\r\x1b[J")
            sys.stderr.flush()
            self._drawn = 0

    def _draw(self) -> None:
        if self._lines:
            # A wrapped line would count as two when it is erased.
            columns = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
            lines = map(self._aged, self._lines)
            sys.stderr.write("\n".join(line[:columns] for line in lines))
            sys.stderr.flush()
            self._drawn = len(self._lines)

    def _aged(self, line: str) -> str:
        age = int(time.monotonic() - self._began[line])
        return f"{line} … {age} s" if age else line


_BOARD = _Board()


class _Formatter(logging.Formatter):
    """Format log records with the user's paths, without the secrets of URLs."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted_text(away.as_seen(super().format(record)))


class _Handler(logging.StreamHandler["TextIO"]):
    """Print log records above the temporary lines."""

    def emit(self, record: logging.LogRecord) -> None:
        with _BOARD.erased():
            super().emit(record)


def busy(*lines: str) -> None:
    """Show what is going on, on a terminal only; the next call replaces it."""
    if is_live(sys.stderr) and not is_quiet():
        _BOARD.show(tuple(filter(None, lines)))


def is_live(stream: TextIO) -> bool:
    """Whether `stream` is a terminal on which lines can be replaced."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_quiet() -> bool:
    """Whether only problems are to be shown."""
    return logging.getLogger("postroj").level > logging.INFO


def colour_wanted(stream: TextIO) -> bool:
    """Whether `stream` gets colour: `NO_COLOR`, `FORCE_COLOR` or the terminal decides."""
    if os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("FORCE_COLOR", "0") not in ("", "0") or is_live(stream)


def megabytes(count: int) -> str:
    """Format a number of bytes, as `12 MB`."""
    return f"{count / 1e6:.0f} MB"


def set_up_logging(verbosity: int) -> None:
    """Log to stderr: warnings at verbosity -1, progress at 0, every command at 1."""
    level = {-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    logger = logging.getLogger("postroj")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
