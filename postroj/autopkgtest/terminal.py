"""The terminal of the user, while stdin and stdout belong to autopkgtest."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj.streams import STDIN, STDOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

TERMINAL = "/dev/tty"


@contextmanager
def at_terminal() -> Iterator[None]:
    """Make the terminal of this session our stdin and stdout during a block.

    :raises OSError: if the session has none.
    """
    terminal = os.open(TERMINAL, os.O_RDWR | os.O_CLOEXEC)
    before = {number: os.dup(number) for number in (STDIN, STDOUT)}
    try:
        for number in before:
            os.dup2(terminal, number)
        yield
    finally:
        for number, descriptor in before.items():
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(terminal)
