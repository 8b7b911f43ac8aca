"""Messages from worker threads to the main thread: finished work, and calls to run there.

Only the main thread receives signals, so only there a terminal is certain to be restored.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLL = 0.2
"""Maximum delay of a signal, in seconds."""


class _Call:
    """A call for the main thread, and whether it has returned."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what
        self.done = Event()

    def run(self) -> None:
        try:
            self._what()
        finally:
            self.done.set()


class Handover:
    """A queue from threads to the main thread, which stops reading once `over` is set."""

    def __init__(self, over: Event) -> None:
        self._over = over
        self._words: SimpleQueue[BaseException | _Call | None] = SimpleQueue()

    def end(self, mistake: BaseException | None = None) -> None:
        """Report that a thread has finished a piece of work, with an error if it crashed."""
        self._words.put(mistake)

    def ask(self, what: Callable[[], None]) -> None:
        """Run a call in the main thread, and wait until it has returned."""
        call = _Call(what)
        self._words.put(call)
        while not call.done.wait(POLL) and not self._over.is_set():
            pass

    def next_end(self) -> BaseException | None:
        """Wait for the next `end`, running calls of threads meanwhile, and return its error.

        A signal just before a wait is handled only after it, so waits are short.
        """
        while True:
            try:
                word = self._words.get(timeout=POLL)
            except Empty:
                continue
            if not isinstance(word, _Call):
                return word
            word.run()
