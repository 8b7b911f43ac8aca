"""The lifelines of this process's guests: pipes that end a guest when they are closed.

Any thread can end the guest of another one, which then notices that its guest has ended.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import IO

KEEP = "keep"
"""The word that makes the launch script outlive its pipe."""

_OPEN: set[IO[bytes]] = set()
_LOCK = Lock()
"""Locked while a guest either ends or is handed over."""


def add(pipe: IO[bytes]) -> None:
    """Register the pipe of a guest."""
    _OPEN.add(pipe)


def let_go(pipe: IO[bytes]) -> None:
    """End a guest, unless it was handed over."""
    with _LOCK:
        _OPEN.discard(pipe)
        with suppress(BrokenPipeError):
            pipe.close()


def hand_over(pipe: IO[bytes]) -> bool:
    """Let a guest live on without this process; return False if it is already ending."""
    with _LOCK, suppress(BrokenPipeError):
        if pipe in _OPEN:
            _OPEN.discard(pipe)
            os.write(pipe.fileno(), f"{KEEP}\n".encode())
            pipe.close()
            return True
    return False


def let_go_of_all() -> None:
    """End every guest of this process."""
    for pipe in _OPEN.copy():
        let_go(pipe)
