"""The lifelines of this process's guests: pipes of ours, each of which ends a guest when closed.

Whatever thread has a guest, any other can end it; who waits for it then hears that it has ended.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import IO

KEEP = "keep"
"""What a guest hears that is to live on when its pipe is closed."""

_KEPT: set[IO[bytes]] = set()
_LOCK = Lock()
"""So that a guest either ends or is handed over."""


def keep(pipe: IO[bytes]) -> None:
    """Keep a guest alive until its pipe is let go of."""
    _KEPT.add(pipe)


def let_go(pipe: IO[bytes]) -> None:
    """Have a guest end, unless it was handed over."""
    with _LOCK:
        _KEPT.discard(pipe)
        with suppress(BrokenPipeError):
            pipe.close()


def hand_over(pipe: IO[bytes]) -> bool:
    """Have a guest live on without us; whether it was not told to end before."""
    with _LOCK, suppress(BrokenPipeError):
        if pipe in _KEPT:
            _KEPT.discard(pipe)
            os.write(pipe.fileno(), f"{KEEP}\n".encode())
            pipe.close()
            return True
    return False


def let_go_of_all() -> None:
    """Have every guest of this process end."""
    for pipe in _KEPT.copy():
        let_go(pipe)
