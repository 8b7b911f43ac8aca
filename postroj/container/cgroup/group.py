"""A control group for each guest, on cgroup v2 and on the hybrid of v1 and v2.

nspawn with `--keep-unit` makes `payload` and `supervisor` below the group in which it starts, so
two guests started from one group would share them. Where cgroup v2 has controllers, that group is a
new one below the guest's for each boot, and all that is not nspawn's is in `HELPERS`: a group with
processes hands no controllers down (cgroup-v2.rst), and units in the guest would have no limits.

As with run directories (`locking`), every process of a guest inherits the lock of its group's
directory: an unlocked group is a leftover.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container import naming
from postroj.container.cgroup import devices, hierarchies, tree
from postroj.container.cgroup.hierarchies import LIMITING, V2
from postroj.errors import HostError
from postroj.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from postroj.container.cgroup.devices import Device
    from postroj.container.limits import Limits

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds in which the kernel reaps the last processes of a killed guest."""

SWAP = "swap"
"""Limited by the controller `memory`, unless the kernel was told not to count it."""

PERIOD = 100_000
"""Microseconds over which the kernel counts a guest's processor time, its own default."""

SLICE = "machine.slice"
"""Where systemd puts containers, each in a scope of its own, systemd.special(7)."""

HELPERS = "helpers"
"""The group below a guest's with the launch script, pasta, and what else runs for a guest."""


class Group:
    """The control groups of one guest, one in each hierarchy; they exist once this is made."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        roots: Mapping[str, Path],
        allowed: Iterable[Device] = (),
    ) -> None:
        """Make a group `name` in each hierarchy of `roots`, and lock it.

        `roots` is empty where systemd makes the guest's scope. The guest may open the devices
        `allowed` beside the usual ones.

        :raises OSError: if this host refuses to make groups.
        :raises HostError: if it cannot enforce a limit that the user asked for.
        """
        self.name = name
        self._folders: list[Path] = []
        self.descriptors: list[int] = []
        """Of the locked directories; every process of the guest inherits them."""
        self.joins: list[Path] = []
        """The files into which a process of ours writes "0" to join the groups."""
        self.divided = roots[V2] / name if V2 in roots else None
        """The group of cgroup v2, whose processes are in groups below it."""
        self.stays = False
        """Whether `remove` leaves them to the processes that inherited the locks."""
        self.limited = set() if roots else systemd_controllers()
        """The controllers whose limits are set or which systemd has for a scope, and `SWAP`."""
        self.open_devices = "no cgroup v2"
        """Why the guest can open any device; '' if it cannot."""
        for kind, root in roots.items():
            if (
                kind == "cpu" and limits.cpus is None
            ):  # the guest would get the share of one process
                continue
            folder = root / name
            try:
                self.descriptors.append(_make(folder))
                self._folders.append(folder)
                self.joins.append(_joined(folder, kind) / "cgroup.procs")
            except OSError as error:
                if kind in LIMITING:
                    log.debug("no limit: %s", error)
                    continue
                self.remove()
                raise
            self.limited |= _limit(folder, limits)
            if kind == V2:
                self.open_devices = _confine(self.descriptors[-1], (*devices.USUAL, *allowed))
        if lacking := [name for name in limits.asked if name not in self.limited]:
            self.remove()
            raise _unlimited(lacking)

    @property
    def unlimited(self) -> list[str]:
        """What of the host a guest can use up."""
        wanted = ("memory", "pids", *([SWAP] if has_swap() else []))
        return [name for name in wanted if name not in self.limited]

    def remove(self) -> None:
        """Remove the groups once their last processes are gone, unless they stay.

        systemd removes a scope's group itself: it would wait for ever to hear that it is empty.
        """
        deadline = time.monotonic() + PATIENCE
        for folder in () if self.stays else self._folders:
            _remove(folder, deadline)
        while self.descriptors:
            os.close(self.descriptors.pop())


def folders(name: str) -> list[Path]:
    """Return the places of a guest's groups, ours and the scope of systemd; some do not exist."""
    places = (name, f"{SLICE}/{name}.scope")
    return [home / place for home in hierarchies.homes().values() for place in places]


def _make(folder: Path) -> int:
    """Make a group and return its locked descriptor; a `sweep` at the same time does no harm."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_open(folder, descriptor):
            return descriptor
        os.close(descriptor)


def _joined(folder: Path, kind: str) -> Path:
    """Return the group that our processes join in a guest's group; make it if it is another."""
    if kind != V2:
        return folder
    (folder / HELPERS).mkdir(exist_ok=True)
    return folder / HELPERS


def _is_open(folder: Path, descriptor: int) -> bool:
    """Whether a descriptor still belongs to the group at this path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    return False


def _limit(folder: Path, limits: Limits) -> set[str]:
    """Set the limits that a group's hierarchy has files for; return what they limit.

    On cgroup v2 these are the files of controllers that the parent group hands down.
    """
    settings: list[tuple[str, str, object]] = [
        ("memory", "memory.max", limits.memory),
        (SWAP, "memory.swap.max", 0),
        # cgroup v1; the second counts memory and swap, and may not be below the first
        ("memory", "memory.limit_in_bytes", limits.memory),
        (SWAP, "memory.memsw.limit_in_bytes", limits.memory),
        ("pids", "pids.max", limits.processes),
    ]
    if limits.cpus is not None:
        quota = round(limits.cpus * PERIOD)
        settings += [("cpu", "cpu.max", f"{quota} {PERIOD}"), ("cpu", "cpu.cfs_quota_us", quota)]
    limited = set()
    for what, name, value in settings:
        try:
            with (folder / name).open("r+") as file:  # "r+" creates no file
                file.write(str(value))
            limited.add(what)
        except OSError as error:
            log.debug("no limit: %s", error)
    return limited


def systemd_controllers() -> set[str]:
    """Return what systemd can limit for a scope; it hands the controllers down itself."""
    roots = hierarchies.homes()
    offered = hierarchies.offered(roots[V2]) if V2 in roots else set()
    return {*roots, *offered, *([SWAP] if "memory" in offered else [])}


def has_swap() -> bool:
    """Whether this host has swap space, proc_swaps(5)."""
    return len(Path("/proc/swaps").read_text().splitlines()) > 1


def scope_folder(name: str) -> Path:
    """Return the group of a guest's scope, which systemd makes."""
    return hierarchies.homes()[V2] / SLICE / f"{name}.scope"


def confine_scope(name: str, allowed: Iterable[Device]) -> str:
    """Confine a guest in a scope of systemd to the devices `allowed` and the usual ones.

    Return why this host cannot, else ''.
    """
    folder = scope_folder(name)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return str(error)
    try:
        return _confine(descriptor, (*devices.USUAL, *allowed))
    finally:
        os.close(descriptor)


def _unlimited(lacking: list[str]) -> HostError:
    """Return the error for limits that the user asked for and this host cannot enforce."""
    root = hierarchies.homes().get(V2)
    message = f"this host's control groups cannot limit what was asked for: no {', '.join(lacking)}"
    hint = "`postroj doctor` shows which limits work on this host"
    if root and set(lacking) <= hierarchies.offered(root):
        hint = f"as root, `{_hand_down(root, lacking)}` hands them to guests"
    return HostError(message, hint=hint)


def _hand_down(root: Path, controllers: Iterable[str]) -> str:
    """Return the command that hands controllers down from the top group of cgroup v2.

    The host's can always; that of a container only once no process is in it.
    """
    steps = [f"echo {' '.join(f'+{name}' for name in controllers)} >{root}/cgroup.subtree_control"]
    if (root / "cgroup.events").exists():  # the host's top group has none
        move = f"xargs -rn1 <{root}/cgroup.procs >{root}/init/cgroup.procs"
        steps = [f"mkdir -p {root}/init", move, *steps]
    return "; ".join(steps)


def _confine(group: int, allowed: Iterable[Device]) -> str:
    """Limit the devices that a group can open; return why this host cannot, else ''."""
    try:
        devices.confine(group, allowed)
    except OSError as error:
        return str(error)
    return ""


def sweep(*, only: str = "", patience: float = PATIENCE, dry_run: bool = False) -> set[str]:
    """Remove the groups of dead guests, or of `only` one; return their names.

    `patience` is in seconds, for processes that the kernel has not reaped yet. With `dry_run`
    nothing is removed. The kernel removes a group by rmdir(2) only when no process is in it, so a
    sweep cannot hurt a living guest.
    """
    found = set()
    for folder in _all_groups(only):
        with _is_leftover(folder) as is_leftover:
            if is_leftover:
                found.add(folder.name)
                if not dry_run:
                    _remove(folder, time.monotonic() + patience)
    return found


def _all_groups(only: str) -> list[Path]:
    """Return the groups of all guests, or of `only` one, in the hierarchies that we may change."""
    homes = [home for home in hierarchies.homes().values() if os.access(home, os.W_OK)]
    if only:
        return [home / only for home in homes if (home / only).is_dir()]
    return [path for home in homes for path in home.iterdir() if naming.is_guest(path.name)]


@contextmanager
def _is_leftover(folder: Path) -> Iterator[bool]:
    """Whether no process has locked a group; if so it stays locked for the block."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        # before we had the lock another sweep may have removed it, and a guest made it anew
        yield try_lock(descriptor, fcntl.LOCK_EX) and _is_open(folder, descriptor)
    finally:
        os.close(descriptor)


def _remove(top: Path, deadline: float) -> None:
    """Remove a group and the groups below it, waiting until `deadline` for their processes."""
    for node in tree.walk(top):
        while not _try_remove(node) and time.monotonic() < deadline:
            time.sleep(0.005)  # a zombie is in it; the kernel does not notify of its end


def _try_remove(node: tree.Node) -> bool:
    """Remove one group; False if a process is still in it."""
    try:
        os.rmdir(node.name, dir_fd=node.above)
    except OSError as error:
        return error.errno not in (errno.EBUSY, errno.EACCES)
    return True
