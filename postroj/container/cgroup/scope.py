"""A scope of the host's systemd for each guest, registered with machined.

systemd owns the control groups of its host, so it makes the guest's group, and removes it with the
last process. machined registers a guest by its leader's PID, which nspawn does not know, since it
has a PID namespace of its own. The registration ends with the scope.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.container.cgroup import group, hierarchies
from postroj.container.host import BUS
from postroj.errors import CommandError

if TYPE_CHECKING:
    from postroj.container.held import Held
    from postroj.container.limits import Limits

log = logging.getLogger(__name__)

DIVIDE = Path(__file__).with_name("divide.sh")
BOOTED = Path("/run/systemd/system")
"""Exists if systemd is PID 1, sd_booted(3)."""
MACHINED = "org.freedesktop.machine1"
MACHINES = Path("/run/systemd/machines")
"""Folder with a file for each machine that machined knows."""
SINCE_EXPANDING = 254
"""The version that brought `--expand-environment=`, systemd-run(1)."""
PATIENCE = 10.0
"""Seconds for machined, which may have to be started."""


def is_usable() -> bool:
    """Whether this host's systemd makes scopes, and notices that one is empty.

    In a container with cgroup v1 alone it does not (systemd's cg_install_release_agent()).
    """
    # `Path.exists` raises an error if the folder is closed to us
    is_there = user.is_root() or os.path.exists(manager_socket())  # noqa: PTH110
    return BOOTED.is_dir() and hierarchies.V2 in hierarchies.mounted() and is_there


def manager_socket() -> Path:
    """Return the path of the socket of our user's own manager, which may not exist."""
    return user.runtime_dir() / "systemd/private"


def environment() -> dict[str, str]:
    """Return what a tool needs to find the systemd of our user, or that of the host for root."""
    ours = {} if user.is_root() else {"XDG_RUNTIME_DIR": str(user.runtime_dir())}
    return process.environment(ours)


def argv(name: str, limits: Limits, systemd: int) -> list[str]:
    """Return the prefix that runs a command in a guest's scope, systemd-run(1) `--scope`.

    The command runs in the group `HELPERS` of the scope; `systemd` is the host's major version.
    """
    properties: dict[str, object] = {
        "Delegate": "yes",  # nspawn divides it, and so does the guest
        "KillSignal": "SIGKILL",  # PID 1 of a namespace ignores others; the rest ends with it
        "MemoryMax": limits.memory,
        "MemorySwapMax": 0,
        "TasksMax": limits.processes,
    }
    if limits.cpus is not None:
        properties["CPUQuota"] = f"{limits.cpus:.1%}"
    return [
        *("systemd-run", *(() if user.is_root() else ("--user",)), "--scope", "--quiet"),
        *("--collect", "--no-ask-password"),
        # its manual page announces that `$` in arguments will be expanded
        *(["--expand-environment=no"] if systemd >= SINCE_EXPANDING else []),
        *(f"--slice={group.SLICE.removesuffix('.slice')}", f"--unit={name}"),
        f"--description=guest of postroj {name}",
        *(f"--property={key}={value}" for key, value in properties.items()),
        "--",
        # nspawn of a user asks for the group of PID 1 in a namespace whose top is that of the guest
        *(() if user.is_root() else ("unshare", "--cgroup")),
        *("sh", str(DIVIDE), str(group.scope_folder(name))),
    ]


def register_argv(name: str, leader: int) -> list[str]:
    """Return the command that registers a guest with machined, org.freedesktop.machine1(5)."""
    words = ("sayssus", name, "0", "postroj", "container", str(leader), "/")
    return _call("RegisterMachine", *words)


def unregister_argv(name: str) -> list[str]:
    """Return the command that makes machined forget a guest."""
    return _call("UnregisterMachine", "s", name)


def _call(method: str, *words: str) -> list[str]:
    path = "/" + MACHINED.replace(".", "/")
    options = ("--quiet", f"--timeout={PATIENCE:g}")
    return ["busctl", *options, "call", MACHINED, path, f"{MACHINED}.Manager", method, *words]


def register(name: str, leader: Held, *, again: bool = False) -> None:
    """Register a guest, or `again` its new leader, with machined if this host has one.

    A guest also runs without it, so a failure is only logged.
    """
    if not BUS.exists() or not user.is_root():
        return
    forget = [unregister_argv(name)] if again else []
    _run_all(name, *forget, register_argv(name, leader.pid))
    if leader.has_ended():  # perhaps a stranger with its PID was registered
        _run_all(name, unregister_argv(name))


def forget(name: str) -> None:
    """Make machined forget a guest that has ended, if it has not noticed the end.

    machined 262 misses the end of some guests whose control group vanishes with them.
    """
    if (MACHINES / name).exists():
        _run_all(name, unregister_argv(name))


def _run_all(name: str, *commands: list[str]) -> None:
    for words in commands:
        try:
            process.run(words, timeout=2 * PATIENCE)
        except CommandError as error:
            log.debug("machined and guest '%s': %s", name, error)
