"""On a host that systemd runs: a scope of its manager for each guest, of which machined knows.

Control groups are systemd's there, so it makes the guest's, and removes it with the last process.
machined takes note of a guest by the number of its leader: nspawn cannot tell it that, since it has
a PID namespace of its own. What machined knows ends with the scope, however that ends.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.cgroup import group, hierarchies
from postroj.container.host import BUS
from postroj.errors import CommandError

if TYPE_CHECKING:
    from postroj.container.cgroup.limits import Limits

log = logging.getLogger(__name__)

BOOTED = Path("/run/systemd/system")
"""It is there where systemd is PID 1, sd_booted(3)."""
MACHINED = "org.freedesktop.machine1"
MACHINES = Path("/run/systemd/machines")
"""Where machined has a file for each that it knows."""
PATIENCE = 10.0
"""Seconds for machined, which may have to be started."""


def is_usable() -> bool:
    """Whether this host's systemd makes scopes, and is told when one is empty.

    In a container with cgroup v1 alone it is not (systemd's cg_install_release_agent()).
    """
    return BOOTED.is_dir() and hierarchies.V2 in hierarchies.mounted()


def argv(name: str, limits: Limits) -> list[str]:
    """What runs a command as the scope of a guest: its own process, systemd-run(1) `--scope`."""
    properties: dict[str, object] = {
        "Delegate": "yes",  # nspawn divides it, and so does the guest
        "KillSignal": "SIGKILL",  # the launch script heeds no other; the rest ends with it
        "MemoryMax": limits.memory,
        "TasksMax": limits.processes,
    }
    if limits.cpus is not None:
        properties["CPUQuota"] = f"{limits.cpus:.0%}"
    return [
        *("systemd-run", "--scope", "--quiet", "--collect", "--no-ask-password"),
        *(f"--slice={group.SLICE.removesuffix('.slice')}", f"--unit={name}"),
        f"--description=guest of postroj {name}",
        *(f"--property={key}={value}" for key, value in properties.items()),
        "--",
    ]


def register_argv(name: str, leader: int) -> list[str]:
    """Have machined know a guest by its leader, org.freedesktop.machine1(5)."""
    words = ("sayssus", name, "0", "postroj", "container", str(leader), "/")
    return _call("RegisterMachine", *words)


def unregister_argv(name: str) -> list[str]:
    """Have machined forget a guest, which may go on with another leader."""
    return _call("UnregisterMachine", "s", name)


def _call(method: str, *words: str) -> list[str]:
    path = "/" + MACHINED.replace(".", "/")
    options = ("--quiet", f"--timeout={PATIENCE:g}")
    return ["busctl", *options, "call", MACHINED, path, f"{MACHINED}.Manager", method, *words]


def register(name: str, leader: int, *, again: bool = False) -> None:
    """Have `machinectl` know a guest, or its new leader, where there is a machined.

    Where that fails the guest does without.
    """
    if not BUS.exists():
        return
    forget = [unregister_argv(name)] if again else []
    _tell(name, *forget, register_argv(name, leader))


def forget(name: str) -> None:
    """Have machined forget a guest that has ended, if it has not noticed.

    That of systemd 262 was seen to miss the end of one whose control group went with it.
    """
    if (MACHINES / name).exists():
        _tell(name, unregister_argv(name))


def _tell(name: str, *commands: list[str]) -> None:
    for words in commands:
        try:
            process.run(words, timeout=2 * PATIENCE)
        except CommandError as error:
            log.debug("machined and guest '%s': %s", name, error)
