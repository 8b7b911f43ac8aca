"""Take from a Python what only Linux has (or, with `windows`, POSIX): `ELSEWHERE` names a system.

The standard library has imported what it needs of that before.
"""

from __future__ import annotations

import concurrent.futures.process  # noqa: F401
import multiprocessing  # noqa: F401
import os
import signal
import socket  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
from importlib.util import find_spec as find_spec
from typing import Any

LINUX = {
    *("pidfd_open", "setns", "unshare", "memfd_create", "sched_getaffinity", "pipe2", "splice"),
    *("posix_fadvise", "getxattr", "setxattr", "listxattr", "removexattr", "eventfd", "waitid"),
    *("P_PIDFD", "O_PATH", "O_TMPFILE"),
}
POSIX = {
    *("geteuid", "getegid", "getuid", "getgid", "uname", "fork", "forkpty", "mkfifo", "mknod"),
    *("set_blocking", "get_blocking", "setsid", "killpg", "getpgid", "statvfs", "chown", "lchown"),
    *("fchown", "fchmod", "openpty", "nice", "chroot", "fchdir", "WNOHANG", "pread", "pwrite"),
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"),
}
MODULES = {"fcntl", "termios", "tty", "pty", "pwd", "grp", "resource"}
SIGNALS = {
    *("SIGHUP", "SIGKILL", "SIGPIPE", "SIGCHLD", "SIGSTOP", "SIGCONT", "SIGWINCH", "SIGQUIT"),
    *("SIGTSTP", "SIGUSR1", "pthread_sigmask", "sigtimedwait", "pause"),
}


class Without:
    """A finder of modules that finds some of them no longer."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, *more: Any) -> Any:
        return None if name in MODULES else self.finder.find_spec(name, *more)


def take(module: object, names: set[str]) -> None:
    for name in names & set(dir(module)):
        delattr(module, name)


if system := os.environ.get("ELSEWHERE"):
    take(os, LINUX)
    if system == "windows":
        take(os, POSIX)
        take(signal, SIGNALS)
        sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.platform = "other"  # click and ctypes would call the real Windows
    else:
        sys.platform = system
