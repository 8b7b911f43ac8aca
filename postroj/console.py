"""What a person sees on stderr: log lines, progress bars, colour. Data goes to stdout, elsewhere.

The only module that knows tqdm.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

log = logging.getLogger(__name__)


class Progress(Protocol):
    """How far some long work is; a bar on a terminal, silence elsewhere."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""

    def reach(self, done: float, total: float) -> None:
        """Say that `done` of `total` is behind us, in the unit of the bar."""


class Silence:
    """Progress that nobody watches."""

    def describe(self, text: str) -> None:
        """Say nothing."""

    def reach(self, done: float, total: float) -> None:
        """Say nothing."""


class _Bar:
    """Progress as a tqdm bar."""

    def __init__(self, title: str, unit: str) -> None:
        from tqdm import tqdm

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
    """Show long work named `title`: a bar that goes away on a terminal, else one line at first.

    With the unit "B" the numbers are bytes, with "%" only the share is shown.
    """
    if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        bar = _Bar(title, unit)
        try:
            yield bar
        finally:
            bar.bar.close()
    else:
        log.info("%s ...", title)
        yield Silence()


class _Board:
    """Lines at the end of a terminal that are taken away again; any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: tuple[str, ...] = ()

    def show(self, lines: tuple[str, ...]) -> None:
        """Show these lines in the place of the last ones."""
        with self._lock:
            if lines == self._lines:
                return
            self._erase()
            self._lines = lines
            self._draw()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Make place for what stays on the terminal."""
        with self._lock:
            self._erase()
            yield
            self._draw()

    def _erase(self) -> None:
        if self._lines:
            up = f"\x1b[{len(self._lines) - 1}A" if len(self._lines) > 1 else ""
            sys.stderr.write(f"{up}\r\x1b[J")
            sys.stderr.flush()

    def _draw(self) -> None:
        if self._lines:
            # one that wraps would be two lines
            columns = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
            sys.stderr.write("\n".join(line[:columns] for line in self._lines))
            sys.stderr.flush()


_BOARD = _Board()


class _Handler(logging.StreamHandler["TextIO"]):
    """Log lines, above what is being done."""

    def emit(self, record: logging.LogRecord) -> None:
        with _BOARD.away():
            super().emit(record)


def busy(*lines: str) -> None:
    """Show what is being done until the next call, which takes it away; on a terminal only."""
    if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        _BOARD.show(tuple(filter(None, lines)))


def colour_wanted(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`: on a terminal, unless `NO_COLOR` is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def megabytes(count: int) -> str:
    """Return a number of bytes as people read it: `12 MB`."""
    return f"{count / 1e6:.0f} MB"


def set_up_logging(verbosity: int) -> None:
    """Send log lines to stderr: -1 warnings, 0 what is being done, 1 every command too."""
    level = {-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = _Handler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("postroj")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
