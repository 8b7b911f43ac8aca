"""The guests of this host, whoever booted them: who is there, the way into one, its end.

A guest is there while the lock of its run directory is held. Which process is its leader, and which
is the launch script that all of it ends with, is never read from a file: it is in the guest's
control group, and the kernel says which number it has in which PID namespace.
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
"""Seconds until nothing may be left of a guest."""
HALT = signal.SIGRTMIN + 3
"""What systemd(1), and nspawn's init where there is no other, shut down for."""
SOON = 2.0
"""Seconds in which the kernel ends a guest, unless something outside keeps it from that."""
LOOK_AGAIN = 0.01
"""Seconds between two looks whether all is gone."""
SCRIPT_DEPTH, LEADER_DEPTH = 2, 3
"""PID namespaces in which they have a number, from ours inwards."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A guest, as it is shown."""

    name: str
    given: str
    """The name that the user chose; '' if none was."""
    image: str
    purpose: str
    kept: bool
    began: float
    """Seconds since the epoch; 0 where it is not known."""
    leader: int
    """0 while it boots, or when it is about to be gone."""
    memory: int
    """Bytes."""


def names() -> list[str]:
    """Names of the guests that are there, those that boot or end as well."""
    return rundir.living(paths.guests_dir())


def listing() -> list[Listing]:
    """All guests, the oldest first."""
    found = [_look(name) for name in names()]
    return sorted(found, key=lambda guest: guest.began)


def _look(name: str) -> Listing:
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
    """Return the guests' own names for those that were typed, which may be the users'.

    :raises UsageError: with those of which no guest is there.
    """
    known = rundir.by_given(paths.guests_dir()) | {name: name for name in names()}
    if lost := [name for name in wanted if name not in known]:
        message = f"no guest is named {', '.join(map(repr, lost))}"
        raise UsageError(message, hint="`postroj ps` shows the guests that run")
    return [known[name] for name in wanted]


def leader(name: str) -> int:
    """PID of a guest's PID 1; 0 if it has none."""
    return _number_one(name, LEADER_DEPTH, in_payload=True)


def script(name: str) -> int:
    """PID of the launch script, without which all of a guest ends; 0 if there is none."""
    return _number_one(name, SCRIPT_DEPTH, in_payload=False)


def _number_one(name: str, depth: int, *, in_payload: bool) -> int:
    for pid, place in processes.population(name).items():
        if f"{place}/".startswith(f"{processes.PAYLOAD}/") is in_payload:
            with suppress(OSError):  # it has ended
                numbers = readiness.namespace_pids(pid)
                if len(numbers) == depth and numbers[-1] == 1:
                    return pid
    return 0


def memory(name: str) -> int:
    """Bytes that a guest takes: what is charged to its group, or else to its processes.

    Where the host's groups do not count memory, what it has written is not in it.
    """
    for folder in group.folders(name):
        for file in ("memory.current", "memory.usage_in_bytes"):  # cgroup v2, v1
            with suppress(OSError):
                return int((folder / file).read_text())
    return sum(map(_share, processes.population(name)))


def _share(pid: int) -> int:
    """Bytes of a process, those that it shares divided by how many do, proc_pid_smaps(5)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def enter(name: str) -> EnteredGuest:
    """Return a guest that somebody else started, by either name, to run commands in.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it has no leader: it boots, or is about to be gone.
    """
    (name,) = require([name])
    with suppress(OSError):  # it ended meanwhile
        pid = leader(name)
        found = Leader.of(pid, name)
        # its number may have become somebody else's before the record was made
        if pid and leader(name) == pid:
            return EnteredGuest(paths.guests_dir() / name, found)
    message = f"the guest '{name}' cannot be entered: it is not ready yet, or is ending"
    raise GuestError(message, hint="`postroj ps` shows the guests that run")


def stop(name: str, patience: float = 0) -> None:
    """End a guest, and wait until nothing is left of it.

    It may shut down for `patience` seconds first, and is killed then.

    :raises GuestError: if something is left `STOP_TIMEOUT` seconds after that.
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
            hint = "the postroj that booted it may be stopped, or too busy to let go of it"
            raise GuestError(message, evidence="\n".join(_traces(name)), hint=hint)
        time.sleep(LOOK_AGAIN)


def _halt(name: str, patience: float) -> None:
    """Have a guest shut down, and wait for the end of all that is around it."""
    deadline = time.monotonic() + patience
    dismiss(name)
    with held(name, leader) as (_, leader_fd), held(name, script) as (_, script_fd):
        if leader_fd and script_fd:
            signal.pidfd_send_signal(leader_fd, HALT)
            select.select([script_fd], [], [], max(0, deadline - time.monotonic()))


def dismiss(name: str) -> None:
    """Kill the commands in a guest that were brought in from outside, by `execute`.

    They are no children of the guest's: when it shuts down it does not hear of their end, and
    looks for it every 10 s only (systemd-shutdown(8)).
    """
    for pid, place in processes.population(name).items():
        with suppress(OSError):  # it has ended
            if place.startswith(processes.PAYLOAD) and len(readiness.namespace_pids(pid)) == 1:
                for child in readiness.children(pid):
                    _kill_child(pid, child)


def _kill_child(parent: int, child: int) -> None:
    pidfd = os.pidfd_open(child)
    try:
        if child in readiness.children(parent):  # it was no stranger that we took hold of
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _kill(name: str, deadline: float) -> None:
    """Kill the launch script, and wait for its end: the kernel ends all in its namespace first."""
    with held(name, script) as (_, pidfd):
        if pidfd:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if select.select([pidfd], [], [], SOON)[0]:
                return
        _kill_all(name)
        if pidfd:
            select.select([pidfd], [], [], max(0, deadline - time.monotonic()))


def _kill_all(name: str) -> None:
    """Kill what is in a guest's groups: a namespace waits for those whose parents are outside.

    The nsenter around a command in the guest may be stopped, and then reaps nobody.
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
def held(name: str, which: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """Take hold of the `leader` or the `script` of a guest: PID and pidfd, zeros if it has none."""
    with ExitStack() as stack:
        found = (0, 0)
        with suppress(ProcessLookupError):  # it ended meanwhile
            if pid := which(name):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                if which(name) == pid:  # and so it was when we took hold of it
                    found = (pid, pidfd)
        with suppress(ProcessLookupError):
            yield found


def _traces(name: str) -> list[str]:
    """What is left of a guest."""
    places = [paths.guests_dir() / name, *group.folders(name)]
    return [str(path) for path in places if path.exists()]
