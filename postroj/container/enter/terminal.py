"""Give a command in a guest a terminal: a pty of the guest, connected to the user's terminal.

If a guest had the user's terminal itself, it could insert keystrokes into it (TIOCSTI), and `tty`
in the guest would not find its device.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from postroj.container import kernel
from postroj.process import serve
from postroj.streams import STDIN, STDOUT, Feed, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import IO

    from postroj.container.leader import Leader
    from postroj.process import Child
    from postroj.streams import Sink

PTMX = os.makedev(5, 2)


def is_interactive() -> bool:
    """Whether stdin and stdout of this process are a terminal."""
    return os.isatty(STDIN) and os.isatty(STDOUT)


def open_pty(leader: Leader) -> tuple[int, int]:
    """Open a pty in the guest's devpts; return the descriptors of both its ends.

    The path is opened one name at a time without following links, because the guest controls it.

    :raises OSError: if the guest has no devpts in /dev/pts.
    """
    here = leader.open("root", os.O_PATH | os.O_DIRECTORY)
    try:
        for name in ("dev", "pts", "ptmx"):
            there = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = there
        status = os.fstat(here)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != PTMX:
            message = "the guest's /dev/pts/ptmx is not a pty"
            raise OSError(message)
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        master = os.open(f"/proc/self/fd/{here}", flags)
    finally:
        os.close(here)
    kernel.unlock_pty(master)
    return master, fcntl.ioctl(master, kernel.tiocgptpeer(os.uname().machine), flags)


def converse(child: Child, master: int) -> int:
    """Connect the terminals until the command ends; return its status.

    All that is ready is served in turn, so a flood of output holds up no key, and vice versa.
    """
    with (
        _raw(STDIN),
        _resizing(master),
        os.fdopen(os.dup(master), "wb", buffering=0) as keyboard,
        os.fdopen(os.dup(master), "rb", buffering=0) as screen,
    ):
        sinks: dict[IO[bytes], Sink] = {screen: lambda chunk: write_all(STDOUT, chunk)}
        return serve(child, keyboard, sinks, Feed(descriptor=STDIN))


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Pass every key to the guest, including Ctrl-C."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _resizing(master: int) -> Iterator[None]:
    """Keep the pty at the size of the user's window."""

    def resize(number: int = 0, frame: FrameType | None = None) -> None:
        size = fcntl.ioctl(STDOUT, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)

    before = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
