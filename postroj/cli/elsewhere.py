"""Where there is no Linux: one sentence, and the way to a machine that has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from postroj.errors import HostError

if TYPE_CHECKING:
    import click

PORTABLE = ("list-images", "matrix", "report")
"""Commands that need no Linux; help texts and the schema of the project file need none either."""

NAMES = {"darwin": "macOS", "win32": "Windows", "cygwin": "Cygwin"}
HINTS = {
    "darwin": "`limactl start template://debian` makes one",
    "win32": "`wsl --install Debian` makes one",
}


def is_linux() -> bool:
    """Whether this host runs Linux."""
    return sys.platform == "linux"


def guarded(name: str, command: click.Command) -> click.Command:
    """Have a command refuse to run where there is no Linux, but not its help text."""
    if not is_linux() and name not in PORTABLE:
        command.callback = _refuse
    return command


def _refuse(*_: Any, **__: Any) -> NoReturn:
    system = NAMES.get(sys.platform, sys.platform)
    message = f"guests are containers of Linux, and this is {system}"
    way = "run it on a machine with Linux by ssh, `postroj --host [USER@]HOST …`"
    hint = "; ".join(filter(None, (way, HINTS.get(sys.platform, ""))))
    raise HostError(message, hint=hint)
