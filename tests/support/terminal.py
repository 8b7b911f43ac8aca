"""A program on a terminal of its own, which is hung up at its end."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def converse(
    argv: list[str], keys: Sequence[tuple[bytes, bytes | signal.Signals]]
) -> tuple[bytes, int]:
    """Run a program on a terminal: wait for a text, type keys, and so on; its screen and status.

    A signal in the place of keys is sent. What does not end within a minute is killed.
    """
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    os.set_blocking(master, False)
    screen, typing = b"", b""
    waiting = list(keys)
    typed = 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ready, writable, _ = select.select([master], [master] if typing else [], [], 0.1)
        if ready:
            try:
                screen += os.read(master, 65536)
            except OSError:
                break
        if writable:
            typing = typing[os.write(master, typing) :]
        if waiting and waiting[0][0] in screen[typed:]:
            typed = len(screen)
            _, what = waiting.pop(0)
            if isinstance(what, bytes):
                typing += what
            else:
                os.kill(pid, what)
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return screen, os.waitstatus_to_exitcode(status)
