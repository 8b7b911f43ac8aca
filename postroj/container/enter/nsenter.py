"""Commands in a guest, through its leader's namespaces: exact status, separate pipes, no D-Bus.

What nsenter does not do for us is done around it: the command joins the guest's control group,
may never have a capability that the guest does not have, and inherits nothing of our environment.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.container.guest import Command
    from postroj.container.leader import Leader

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "container": "systemd-nspawn",
}

UNIT = "command.service"
"""What a command is in a guest that nobody waits for."""

# A session in the guest, without nsenter: it would die of a Ctrl-C that the command handles.
IN_SESSION = (
    *("/bin/sh", "-c", 'command -v setsid >/dev/null && exec setsid -c "$@"; exec "$@"', "sh"),
)

LOGIN_SHELL = ("/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l")


def enter_argv(command: Command, leader: Leader, *, terminal: bool = False) -> list[str]:
    """Return the command line on the host that runs `command` in the guest of `leader`."""
    joins = "".join(f"echo 0 > {shlex.quote(str(group))}\n" for group in leader.joins)
    bounds = ",".join(["-all", *(f"+cap_{number}" for number in leader.bounding_set)])
    enter = ["nsenter", "--target", str(leader.pid)]
    return [
        *("sh", "-c", f'umask 022\n{joins}exec "$@"', "sh"),
        # who enters a user namespace has all capabilities there, and so is bounded after it
        *([*enter, "--user", "--"] if leader.has_own_users else []),
        *("setpriv", "--bounding-set", bounds, "--inh-caps", "-all"),
        *enter,
        *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"),
        *("--", *_with_variables(command), *(IN_SESSION if terminal else ())),
        *_in_directory(command),
    ]


def unit_argv(command: Command) -> list[str]:
    """The command line in a guest that starts `command` as a unit, and does not wait for its end.

    A `$` is doubled since the manager would put its own variables there, systemd.service(5).
    systemd-run takes secrets over from its own environment.
    """
    variables = {**ENVIRONMENT, **command.env}
    return [
        *("systemd-run", "--quiet", f"--unit={UNIT}", "--property=Type=exec"),
        f"--working-directory={command.chdir or '/'}",
        *(f"--setenv={name}={value}" for name, value in variables.items()),
        *(f"--setenv={name}" for name in command.secrets),
        *("--", *(word.replace("$", "$$") for word in command.argv)),
    ]


def _with_variables(command: Command) -> tuple[str, ...]:
    """Set the command's variables behind nsenter: the host's tools must not obey them."""
    pairs = (f"{name}={value}" for name, value in command.env.items())
    return ("/usr/bin/env", *pairs) if command.env else ()


def _in_directory(command: Command) -> tuple[str, ...]:
    if command.chdir is None:
        return command.argv
    return ("/bin/sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", command.chdir, *command.argv)


def environment(command: Command, terminal: str | None = None) -> dict[str, str]:
    """What `enter_argv` is started with; `terminal` is the kind of the guest's."""
    kind = {} if terminal is None else {"TERM": terminal}
    return {**ENVIRONMENT, **kind, **command.secrets}
