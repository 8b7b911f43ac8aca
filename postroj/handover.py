"""From threads to the main thread: what they are done with, and what it alone may do.

Signals are heard by the main thread alone, so only there a terminal that was handed out is sure to
be restored.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEARING = 0.2
"""Seconds after which a signal is heard at the latest."""


class _Errand:
    """Something to be done, and whether it has been."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what
        self.done = Event()

    def run(self) -> None:
        try:
            self._what()
        finally:
            self.done.set()


class Handover:
    """Where threads leave word for the main thread; nobody is there any more once `over` is set."""

    def __init__(self, over: Event) -> None:
        self._over = over
        self._words: SimpleQueue[BaseException | _Errand | None] = SimpleQueue()

    def end(self, mistake: BaseException | None = None) -> None:
        """Say that a thread is done with something; with a mistake of ours, if there was one."""
        self._words.put(mistake)

    def ask(self, what: Callable[[], None]) -> None:
        """Have the main thread do something, one after the other; wait until it is done."""
        errand = _Errand(what)
        self._words.put(errand)
        while not errand.done.wait(HEARING) and not self._over.is_set():
            pass

    def next_end(self) -> BaseException | None:
        """Wait until a thread is done with something, and do meanwhile what it is asked to.

        A signal that comes just before a wait is heard after it only, so no wait is long.
        """
        while True:
            try:
                word = self._words.get(timeout=HEARING)
            except Empty:
                continue
            if not isinstance(word, _Errand):
                return word
            word.run()
