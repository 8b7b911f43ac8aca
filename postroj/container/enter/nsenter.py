"""Run commands in a guest through the leader's namespaces: exact status, separate pipes, no D-Bus.

The namespaces are named relative to the leader's directory in `/proc`, which has to be the working
directory. If the leader has ended, nothing is there. `--target PID` would enter the host once its
PID belongs to a process of the host.

Wrappers around nsenter do what it does not: the command waits until it is in the guest's control
group, cannot get a capability that the guest does not have, and inherits no environment variable of
postroj.
"""

from __future__ import annotations

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
"""Unit of a command that continues after postroj has exited."""

# Starts a session, so that Ctrl-C does not kill nsenter while the command handles it.
IN_SESSION = (
    *("/bin/sh", "-c", 'command -v setsid >/dev/null && exec setsid -c "$@"; exec "$@"', "sh"),
)

LOGIN_SHELL = ("/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l")


# Waits for a line from the file in $1. bash exports the working directory.
THROUGH_GATE = (
    *("sh", "-c", 'read -r _ <"$1" && shift && umask 022 && unset PWD && exec "$@"', "sh"),
)


def enter_argv(command: Command, leader: Leader, gate: str, *, terminal: bool = False) -> list[str]:
    """Return the command line that runs a command in a guest, from `leader.folder` on the host.

    `gate` is the path of a `Gate`.
    """
    bounds = ",".join(["-all", *(f"+cap_{number}" for number in leader.bounding_set)])
    return [
        *(*THROUGH_GATE, gate),
        # entering a user namespace gives all capabilities there, so limit them afterwards
        *(["nsenter", "--user=ns/user", "--"] if leader.has_own_users else []),
        *("setpriv", "--bounding-set", bounds, "--inh-caps", "-all"),
        *("nsenter", "--mount=ns/mnt", "--uts=ns/uts", "--ipc=ns/ipc", "--net=ns/net"),
        *("--pid=ns/pid", "--cgroup=ns/cgroup", "--root=root", "--wd=root"),
        *("--", *with_variables(command), *(IN_SESSION if terminal else ())),
        *in_directory(command),
    ]


def unit_argv(command: Command) -> list[str]:
    """Return the command line in a guest that starts a command as a unit, without waiting for it.

    A `$` is doubled, because the manager would expand variables, systemd.service(5). systemd-run
    reads secrets from its own environment.
    """
    variables = {**ENVIRONMENT, **command.env}
    return [
        *("systemd-run", "--quiet", f"--unit={UNIT}", "--property=Type=exec"),
        f"--working-directory={command.chdir or '/'}",
        *(f"--setenv={name}={value}" for name, value in variables.items()),
        *(f"--setenv={name}" for name in command.secrets),
        *("--", *(word.replace("$", "$$") for word in command.argv)),
    ]


def with_variables(command: Command) -> tuple[str, ...]:
    """Set the command's variables only inside the guest: they must not affect tools of the host."""
    pairs = (f"{name}={value}" for name, value in command.env.items())
    return ("/usr/bin/env", *pairs) if command.env else ()


def in_directory(command: Command) -> tuple[str, ...]:
    """Return the command line of a command that begins in its working directory."""
    if command.chdir is None:
        return command.argv
    return ("/bin/sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", command.chdir, *command.argv)


def environment(command: Command, terminal: str | None = None) -> dict[str, str]:
    """Return the environment for `enter_argv`; `terminal` is the value of `TERM`."""
    kind = {} if terminal is None else {"TERM": terminal}
    return {**ENVIRONMENT, **kind, **command.secrets}
