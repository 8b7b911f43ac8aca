"""The lifelines of this process's guests: pipes of ours, each of which ends a guest when closed.

Whatever thread has a guest, any other can end it; who waits for it then hears that it has ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import IO

_KEPT: set[IO[bytes]] = set()


def keep(pipe: IO[bytes]) -> None:
    """Keep a guest alive until its pipe is let go of."""
    _KEPT.add(pipe)


def let_go(pipe: IO[bytes]) -> None:
    """Have a guest end."""
    _KEPT.discard(pipe)
    with suppress(BrokenPipeError):
        pipe.close()


def let_go_of_all() -> None:
    """Have every guest of this process end."""
    for pipe in _KEPT.copy():
        let_go(pipe)
