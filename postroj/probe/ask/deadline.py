"""How long a question may stay open: a deadline, and a way to call the whole thing off."""

from __future__ import annotations

import threading
import time


class CalledOff(Exception):
    """Nobody waits for the answer any more."""


class Deadline:
    """A deadline on the monotonic clock; `over` set means that nobody waits any more."""

    def __init__(self, seconds: float, over: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.over = over or threading.Event()

    @property
    def left(self) -> float:
        """Seconds that are left, never negative."""
        return max(0.0, self.end - time.monotonic())

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    def extend(self, seconds: float) -> None:
        """Let it pass no earlier than in so many seconds."""
        self.end = max(self.end, time.monotonic() + seconds)

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the deadline; whether there is time left for another try.

        :raises CalledOff: if nobody waits any more.
        """
        if self.over.wait(min(seconds, self.left)):
            raise CalledOff
        return self.left > 0
