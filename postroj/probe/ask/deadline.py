"""Limit how long a check may take: a deadline, and an event that cancels the wait."""

from __future__ import annotations

import threading
import time


class CalledOff(Exception):
    """The answer is no longer needed."""


class Deadline:
    """A deadline on the monotonic clock; setting `over` cancels every wait for it."""

    def __init__(self, seconds: float, over: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.over = over or threading.Event()

    @property
    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.end - time.monotonic())

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def extend(self, seconds: float) -> None:
        """Move the deadline so that at least this many seconds are left."""
        self.end = max(self.end, time.monotonic() + seconds)

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the deadline; return whether time is left for another try.

        :raises CalledOff: if the answer is no longer needed.
        """
        if self.over.wait(min(seconds, self.left)):
            raise CalledOff
        return self.left > 0
