"""Give a command in a guest a terminal: a pty of the guest, connected to the user's terminal.

If a guest had the user's terminal itself, it could insert keystrokes into it (TIOCSTI), and `tty`
in the guest would not find its device.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from postroj.process import exit_status, kill_group, resume
from postroj.streams import A_WHILE, CHUNK, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from types import FrameType

    from postroj.container.leader import Leader

TIOCSPTLCK = 0x40045431  # ioctl_tty(2)
TIOCGPTPEER = 0x5441  # since Linux 4.13
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
    fcntl.ioctl(master, TIOCSPTLCK, b"\0\0\0\0")
    return master, fcntl.ioctl(master, TIOCGPTPEER, flags)


def converse(process: subprocess.Popen[bytes], master: int) -> int:
    """Connect the terminals until the command ends; return its status."""
    pidfd = os.pidfd_open(process.pid)
    try:
        with _raw(STDIN), _resizing(master):
            sources = [master, STDIN, pidfd]
            while sources[-1:] == [pidfd]:
                sources = _carry(sources, master, pidfd)
                resume(process)
        return exit_status(process.wait())
    except BaseException:
        kill_group(process)
        raise
    finally:
        os.close(pidfd)


def _carry(sources: list[int], master: int, pidfd: int) -> list[int]:
    """Serve one ready source; return those that remain, without `pidfd` at the command's end."""
    ready, _, _ = select.select(sources, [], [], A_WHILE)
    remaining = list(sources)
    if master in ready:
        screen = b""
        with suppress(OSError):  # EIO: no process has the other end open
            screen = os.read(master, CHUNK)
        write_all(STDOUT, screen)
        if not screen:
            remaining.remove(master)
    elif pidfd in ready:
        remaining.remove(pidfd)
    elif STDIN in ready:
        keys = os.read(STDIN, CHUNK)
        if keys:
            write_all(master, keys)
        else:
            remaining.remove(STDIN)
    return remaining


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
