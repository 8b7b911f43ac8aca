"""The guests of this host, whoever booted them: list them, enter one, stop one.

A guest is there while its run directory is locked. No file says which process is its leader, and
which one is the launch script that ends all of it: both are in the guest's control group, and the
kernel knows their numbers in each PID namespace.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import paths
from postroj.container import leftovers, rundir, user_namespace
from postroj.container.cgroup import group, processes
from postroj.container.entered import EnteredGuest
from postroj.container.held import Held
from postroj.container.leader import Leader
from postroj.container.rundir import Facts, read_facts
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_TIMEOUT = 10.0
"""Seconds after which nothing of a stopped guest may be left."""
HALT = signal.SIGRTMIN + 3
"""The signal for which systemd(1), and nspawn's own init, shut down."""
SOON = 2.0
"""Seconds in which the kernel ends a guest, unless a process outside keeps it from that."""
INTERVAL = 0.01
"""Seconds after which the traces of a guest are checked again."""
SCRIPT_DEPTH, LEADER_DEPTH = 2, 3
"""The number of PID namespaces, from this one inwards, in which they have a PID."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A guest, as `postroj ps` shows it."""

    name: str
    given: str
    """The name that the user chose; '' if the user chose none."""
    image: str
    purpose: str
    kept: bool
    began: float
    """Seconds since the epoch; 0 if unknown."""
    leader: int
    """Its PID; 0 while the guest boots or ends."""
    memory: int
    """Bytes."""


def names() -> list[str]:
    """Return the names of all guests, also of those that boot or end."""
    return rundir.living(paths.state_dir())


def listing() -> list[Listing]:
    """Return all guests, the oldest first."""
    found = [_describe(name) for name in names()]
    return sorted(found, key=lambda guest: guest.began)


def _describe(name: str) -> Listing:
    facts = read_facts(paths.state_dir() / name) or Facts(began=0)
    found = leader(name)
    return Listing(
        name=name,
        given=facts.given,
        image=facts.image,
        purpose=facts.purpose,
        kept=facts.kept,
        began=facts.began,
        leader=found.pid if found else 0,
        memory=memory(name),
    )


def require(wanted: Sequence[str]) -> list[str]:
    """Return the guests' own names for names that may be the users'.

    :raises UsageError: if there is no guest for some of them; the message has those.
    """
    known = rundir.by_given(paths.state_dir()) | {name: name for name in names()}
    if lost := [name for name in wanted if name not in known]:
        message = f"no guest is named {', '.join(map(repr, lost))}"
        raise UsageError(message, hint="`postroj ps` shows the guests that run")
    return [known[name] for name in wanted]


def leader(name: str) -> Held | None:
    """Hold a guest's leader; return None if it has none."""
    return _number_one(name, LEADER_DEPTH, in_payload=True)


def script(name: str) -> Held | None:
    """Hold the launch script, with which all of a guest ends; return None if there is none."""
    return _number_one(name, SCRIPT_DEPTH, in_payload=False)


def _number_one(name: str, depth: int, *, in_payload: bool) -> Held | None:
    for pid, place in processes.population(name).items():
        if processes.is_in_payload(place) is in_payload:
            with suppress(OSError):  # it has ended
                found = processes.hold(pid, name)
                numbers = found.numbers
                if len(numbers) == depth and numbers[-1] == 1:
                    return found
    return None


def memory(name: str) -> int:
    """Return the bytes of memory that a guest takes, by its group or else by its processes.

    If the host's groups do not count memory, the files that the guest has written are left out.
    """
    for folder in group.folders(name):
        for file in ("memory.current", "memory.usage_in_bytes"):  # cgroup v2, v1
            with suppress(OSError):
                return int((folder / file).read_text())
    return sum(_share(pid, name) for pid in processes.population(name))


def _share(pid: int, name: str) -> int:
    """Return the proportional set size of a guest's process in bytes, proc_pid_smaps(5)."""
    with suppress(OSError):
        for line in processes.hold(pid, name).read("smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def enter(name: str) -> EnteredGuest:
    """Return a guest that another process started, by either name, to run commands in it.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it has no leader, since it boots or ends.
    """
    (name,) = require([name])
    if (facts := read_facts(paths.state_dir() / name)) and facts.machine:
        message = f"the guest '{name}' has a kernel of its own, which this command does not support"
        raise UsageError(message, hint="`postroj exec` and `postroj cp` do")
    with suppress(OSError):  # it ended meanwhile
        if found := leader(name):
            user_namespace.enter(beside=found)
            entered = EnteredGuest(paths.state_dir() / name, Leader(found.pid, name))
            found.require()  # so both are the same process
            return entered
    message = f"the guest '{name}' cannot be entered: it is not ready yet, or is ending"
    raise GuestError(message, hint="`postroj ps` shows the guests that run")


def stop(name: str, patience: float = 0) -> None:
    """Stop a guest, and wait until nothing is left of it.

    The guest may take `patience` seconds to shut down; after that it is killed.

    :raises GuestError: if something of it is left after `STOP_TIMEOUT` more seconds.
    """
    if patience:
        _halt(name, patience)
    deadline = time.monotonic() + STOP_TIMEOUT
    while True:
        _kill(name, deadline)
        leftovers.sweep(only=name)
        if not _traces(name):
            return
        if time.monotonic() > deadline:
            message = f"the guest '{name}' was not gone within {STOP_TIMEOUT:g} s"
            hint = "the postroj that booted it may be stopped, or too busy"
            raise GuestError(message, evidence="\n".join(_traces(name)), hint=hint)
        time.sleep(INTERVAL)


def _halt(name: str, patience: float) -> None:
    """Shut a guest down, and wait for the end of its launch script."""
    deadline = time.monotonic() + patience
    kill_commands(name)
    init, outer = leader(name), script(name)
    if init and outer:
        init.send(HALT)
        outer.has_ended(deadline - time.monotonic())


def kill_commands(name: str) -> None:
    """Kill the commands that were started in a guest from outside.

    They are not children of its leader: a guest that shuts down gets no signal when they end, and
    checks only every 10 s (systemd-shutdown(8)).
    """
    for pid, place in processes.population(name).items():
        if processes.is_in_payload(place):
            with suppress(OSError):  # it has ended
                found = processes.hold(pid, name)
                for child in found.children if len(found.numbers) == 1 else ():
                    _kill_child(found, child)


def _kill_child(parent: Held, pid: int) -> None:
    child = Held(pid)
    if pid in parent.children:  # else the PID was given to another process
        child.kill()


def _kill(name: str, deadline: float) -> None:
    """Kill the launch script, and wait for its end, before which the kernel ends its namespace."""
    outer = script(name)
    if outer:
        outer.kill()
        if outer.has_ended(SOON):
            return
    for pid in processes.population(name):
        _kill_one(pid, name)
    if outer:
        outer.has_ended(deadline - time.monotonic())


def _kill_one(pid: int, name: str) -> None:
    """Kill a process in a guest's groups.

    A PID namespace ends only when its processes are reaped. The parent of a command from outside is
    nsenter, which may be stopped.
    """
    with suppress(OSError):  # it has ended
        processes.hold(pid, name).kill()


def _traces(name: str) -> list[str]:
    """Return the paths that are left of a guest."""
    places = [paths.state_dir() / name, *group.folders(name)]
    return [str(path) for path in places if path.exists()]
