"""The guests of this host, whoever booted them: list them, enter one, stop one.

A guest is there while its run directory is locked. No file says which process is its leader, and
which one is the launch script that ends all of it: both are in the guest's control group, and the
kernel knows their numbers in each PID namespace.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import paths
from postroj.container import leftovers, rundir
from postroj.container.boot import readiness
from postroj.container.cgroup import group, processes
from postroj.container.entered import EnteredGuest
from postroj.container.leader import Leader
from postroj.container.rundir import Facts, read_facts
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    return rundir.living(paths.guests_dir())


def listing() -> list[Listing]:
    """Return all guests, the oldest first."""
    found = [_describe(name) for name in names()]
    return sorted(found, key=lambda guest: guest.began)


def _describe(name: str) -> Listing:
    facts = read_facts(paths.guests_dir() / name) or Facts(began=0)
    return Listing(
        name=name,
        given=facts.given,
        image=facts.image,
        purpose=facts.purpose,
        kept=facts.kept,
        began=facts.began,
        leader=leader(name),
        memory=memory(name),
    )


def require(wanted: Sequence[str]) -> list[str]:
    """Return the guests' own names for names that may be the users'.

    :raises UsageError: if there is no guest for some of them; the message has those.
    """
    known = rundir.by_given(paths.guests_dir()) | {name: name for name in names()}
    if lost := [name for name in wanted if name not in known]:
        message = f"no guest is named {', '.join(map(repr, lost))}"
        raise UsageError(message, hint="`postroj ps` shows the guests that run")
    return [known[name] for name in wanted]


def leader(name: str) -> int:
    """Return the PID of a guest's leader; 0 if it has none."""
    return _number_one(name, LEADER_DEPTH, in_payload=True)


def script(name: str) -> int:
    """Return the PID of the launch script, with which all of a guest ends; 0 if there is none."""
    return _number_one(name, SCRIPT_DEPTH, in_payload=False)


def _number_one(name: str, depth: int, *, in_payload: bool) -> int:
    for pid, place in processes.population(name).items():
        if processes.is_in_payload(place) is in_payload:
            with suppress(OSError):  # it has ended
                numbers = readiness.namespace_pids(pid)
                if len(numbers) == depth and numbers[-1] == 1:
                    return pid
    return 0


def memory(name: str) -> int:
    """Return the bytes of memory that a guest takes, by its group or else by its processes.

    If the host's groups do not count memory, the files that the guest has written are left out.
    """
    for folder in group.folders(name):
        for file in ("memory.current", "memory.usage_in_bytes"):  # cgroup v2, v1
            with suppress(OSError):
                return int((folder / file).read_text())
    return sum(map(_share, processes.population(name)))


def _share(pid: int) -> int:
    """Return the proportional set size of a process in bytes, proc_pid_smaps(5)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def enter(name: str) -> EnteredGuest:
    """Return a guest that another process started, by either name, to run commands in it.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it has no leader, since it boots or ends.
    """
    (name,) = require([name])
    with suppress(OSError):  # it ended meanwhile
        pid = leader(name)
        found = Leader.of(pid, name)
        # its PID may have been given to another process before the record was made
        if pid and leader(name) == pid:
            return EnteredGuest(paths.guests_dir() / name, found)
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
        leftovers.sweep()
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
    with opened(name, leader) as (_, leader_fd), opened(name, script) as (_, script_fd):
        if leader_fd and script_fd:
            signal.pidfd_send_signal(leader_fd, HALT)
            select.select([script_fd], [], [], max(0, deadline - time.monotonic()))


def kill_commands(name: str) -> None:
    """Kill the commands that were started in a guest from outside.

    They are not children of its leader: a guest that shuts down gets no signal when they end, and
    checks only every 10 s (systemd-shutdown(8)).
    """
    for pid, place in processes.population(name).items():
        with suppress(OSError):  # it has ended
            if processes.is_in_payload(place) and len(readiness.namespace_pids(pid)) == 1:
                for child in readiness.children(pid):
                    _kill_child(pid, child)


def _kill_child(parent: int, child: int) -> None:
    pidfd = os.pidfd_open(child)
    try:
        if child in readiness.children(parent):  # else the PID was given to another process
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _kill(name: str, deadline: float) -> None:
    """Kill the launch script, and wait for its end, before which the kernel ends its namespace."""
    with opened(name, script) as (_, pidfd):
        if pidfd:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if select.select([pidfd], [], [], SOON)[0]:
                return
        _kill_all(name)
        if pidfd:
            select.select([pidfd], [], [], max(0, deadline - time.monotonic()))


def _kill_all(name: str) -> None:
    """Kill all processes in a guest's groups.

    A PID namespace ends only when its processes are reaped. The parent of a command from outside is
    nsenter, which may be stopped.
    """
    with ExitStack() as stack:
        found = {}
        for pid in processes.population(name):
            with suppress(ProcessLookupError):
                found[pid] = os.pidfd_open(pid)
                stack.callback(os.close, found[pid])
        for pid in found.keys() & processes.population(name).keys():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(found[pid], signal.SIGKILL)


@contextmanager
def opened(name: str, which: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """Open the `leader` or the `script` of a guest: its PID and pidfd, zeros if there is none."""
    with ExitStack() as stack:
        found = (0, 0)
        with suppress(ProcessLookupError):  # it ended meanwhile
            if pid := which(name):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                if which(name) == pid:  # so the pidfd is that process's
                    found = (pid, pidfd)
        with suppress(ProcessLookupError):
            yield found


def _traces(name: str) -> list[str]:
    """Return the paths that are left of a guest."""
    places = [paths.guests_dir() / name, *group.folders(name)]
    return [str(path) for path in places if path.exists()]
