"""The other machine as users name it, and the command lines of ssh for it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from postroj.errors import UsageError

SCHEME = "ssh://"
USER = r"[\w.][\w.@+\\-]*"
NAME = r"\w[\w.-]*"
ADDRESS = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?"
PLAIN = re.compile(rf"(?:{USER}@)?(?:{NAME}|{ADDRESS})", re.ASCII)
URL = re.compile(rf"ssh://(?:{USER}@)?(?:{NAME}|\[{ADDRESS}\])(?::\d{{1,5}})?/?", re.ASCII)

END = "host-end"
"""The first argument of a postroj that another one has started by ssh."""
FIND = 'PATH="$PATH:$HOME/.local/bin:/usr/local/bin"; '
"""pipx installs to a folder that only login shells have in their PATH."""
MISSING = 127
SERVE = (
    f"{FIND}command -v postroj >/dev/null || exit {MISSING}; "
    f"postroj {END} serve || exec postroj --version"
)
ATTACH = f'{FIND}exec postroj {END} attach "$0"'

OPTIONS = (
    *("-a", "-x", "-e", "none"),
    *("-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none"),
)
"""No agent, display, port or command that the user's configuration adds for a shell there; and no
escape character, as all bytes are the command's."""
ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How ssh gets to the machine, as far as the user's configuration leaves that to us."""

    socket: str = ""
    """Path of the socket through which two ssh share a connection; '' if they do not, or share one
    of the user's."""
    alive: bool = False
    """Whether to notice that the network is gone."""


def check(text: str) -> str:
    """Return a destination for ssh: `[USER@]HOST`, a name of ssh_config, or a URL `ssh://`.

    :raises UsageError: if it is none, or could be an option or a command of the shell.
    """
    if URL.fullmatch(text) or PLAIN.fullmatch(text):
        return text.rstrip("/")
    message = f"'{text}' cannot be a machine that ssh connects to"
    hint = "`--host` takes [USER@]HOST, a Host of ~/.ssh/config, or ssh://HOST:PORT"
    raise UsageError(message, hint=hint)


def configuration_argv(destination: str) -> list[str]:
    """Return the command that prints the user's configuration for a machine, ssh(1)."""
    return ["ssh", "-T", "-G", "--", destination]


def as_words(destination: str) -> tuple[str, ...]:
    """Return the arguments with which people type a destination to ssh."""
    host = destination.removeprefix(SCHEME)
    if host != destination and (found := re.fullmatch(r"(.*[^:]):(\d+)", host)):
        host, port = found.groups()
        return "-p", port, host.replace("[", "").replace("]", "")
    return (host.strip("[]"),)


def ways_of(printed: str, socket: str) -> Ways:
    """Return the ways, from the configuration that ssh has printed."""
    words = (line.partition(" ") for line in printed.splitlines())
    options = {name: value for name, _, value in words}
    own = options.get("controlpath", "none")
    return Ways(
        socket=socket if own == "none" else "",
        alive=options.get("serveraliveinterval", "0") == "0",
    )


def serve_argv(destination: str, ways: Ways) -> list[str]:
    """Return the command that opens the connection and starts the other end."""
    shared = ("-o", "ControlMaster=yes", "-o", "ControlPersist=no") if ways.socket else ()
    return _argv(destination, ways, ["-T", *shared], ["sh", "-c", SERVE])


def attach_argv(destination: str, ways: Ways, folder: str, *, with_terminal: bool) -> list[str]:
    """Return the command whose streams are those of the command; `folder` is the other end's."""
    shared = ("-o", "ControlMaster=no") if ways.socket else ()
    # its stderr is the command's; why a connection fails, the other ssh says
    options = ["-tt" if with_terminal else "-T", "-o", "LogLevel=QUIET", *shared]
    return _argv(destination, ways, options, ["sh", "-c", ATTACH, folder])


def _argv(destination: str, ways: Ways, options: list[str], command: list[str]) -> list[str]:
    path = ("-o", f"ControlPath={ways.socket}") if ways.socket else ()
    alive = ALIVE if ways.alive else ()
    return ["ssh", *OPTIONS, *alive, *options, *path, "--", destination, shlex.join(command)]
