"""What Windows lacks of POSIX, so that the modules which mention it can be imported.

Nothing calls it: commands that need Linux refuse to run elsewhere (`postroj.cli.elsewhere`).
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from types import ModuleType

MODULES = ("fcntl", "termios", "tty")
"""None that the standard library does without: it would take a stand-in for the real one."""
SIGNALS = {"SIGHUP": 1, "SIGKILL": 9, "SIGPIPE": 13, "SIGCHLD": 17}
FLAGS = ("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_TMPFILE")
CALLS = ("geteuid", "getegid")
NOBODY = 65534


class Absent(ModuleType):
    """A module whose constants are all 0."""

    def __getattr__(self, name: str) -> int:
        """Return a constant."""
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


def fill_in() -> None:
    """Add what is missing."""
    for name in MODULES:
        if name not in sys.modules and find_spec(name) is None:
            sys.modules[name] = Absent(name)
    for name, number in SIGNALS.items():
        if not hasattr(signal, name):
            setattr(signal, name, number)
    for name in FLAGS:
        if not hasattr(os, name):
            setattr(os, name, 0)
    for name in CALLS:
        if not hasattr(os, name):
            setattr(os, name, lambda: NOBODY)
