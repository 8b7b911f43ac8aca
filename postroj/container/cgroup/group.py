"""A control group for each guest, on cgroup v2 and on the hybrid of v1 and v2.

nspawn with `--keep-unit` makes `payload` and `supervisor` below the group it is started in, so two
guests started from one group would share them. As with run directories (`locking`), the lock of a
group's directory is held by all processes of its guest: a group whose lock is free is left over.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.cgroup import devices
from postroj.errors import HostError
from postroj.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from postroj.container.cgroup.devices import Device
    from postroj.container.cgroup.limits import Limits

log = logging.getLogger(__name__)

NAME = re.compile(r"postroj-[0-9a-f]{8}")

PATIENCE = 2.0
"""Seconds for the kernel to reap the last processes of a guest that was killed."""

PERIOD = 100_000
"""Microseconds within which a guest has its time of the processors, the kernel's own default."""

PAYLOAD = "/payload"
"""The group that nspawn makes for a guest beside its own, `supervisor`."""

SLICE = "machine.slice"
"""Where systemd keeps guests, each in a scope of its name, systemd.special(7)."""

V2 = ""
"""Of the hierarchies in `/proc/PID/cgroup` the one that all controllers share, cgroups(7)."""
TRACKING = "name=systemd"
LIMITING = ("memory", "pids", "cpu")
"""Hierarchies of cgroup v1 in which a guest has a group: to be tracked, and to be limited."""


def hierarchies(mounts: str) -> dict[str, Path]:
    """Mount points of the hierarchies in which guests have groups, by `/proc/PID/cgroup` id.

    `mounts` is the text of `/proc/self/mounts`. 'name=systemd' is the twin of `V2` in v1.
    """
    found = {}
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found[V2] = Path(target)
        elif kind == "cgroup":
            names = [name for name in (TRACKING, *LIMITING) if name in options.split(",")]
            found |= {name: Path(target) for name in names[:1]}  # it may be there for several
    return found


def mounted() -> dict[str, Path]:
    """Return `hierarchies` of this host."""
    return hierarchies(Path("/proc/self/mounts").read_text())


class Group:
    """The groups of one guest, one in each hierarchy, as long as somebody holds their locks."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        roots: Mapping[str, Path],
        allowed: Iterable[Device] = (),
    ) -> None:
        """Make the groups `name` in hierarchies of this host; none where systemd does.

        Of devices, `allowed` can be opened beside the usual ones.

        :raises OSError: if this host does not let us.
        :raises HostError: if it cannot limit what was asked for.
        """
        self.name = name
        self.descriptors: list[int] = []
        """To pass to every process of the guest."""
        self.joins: list[Path] = []
        """What to write "0" into in order to join it."""
        self.stays = False
        """Whether they are left to those who have their locks from us."""
        self.limited: set[str] = set()
        """Controllers that limit them."""
        self.open_devices = "no cgroup v2"
        """Why any device can be opened in them; '' if that is not so."""
        for kind, root in roots.items():
            if kind == "cpu" and limits.cpus is None:  # it would have the time of one process
                continue
            try:
                self.descriptors.append(_make(root / name))
            except OSError as error:
                if kind in LIMITING:
                    log.debug("no limit: %s", error)
                    continue
                self.remove()
                raise
            self.joins.append(root / name / "cgroup.procs")
            self.limited |= _limit(root / name, limits)
            if kind == V2:
                self.open_devices = _confine(self.descriptors[-1], (*devices.USUAL, *allowed))
        limited = self.limited if roots else of_systemd()
        if lacking := [name for name in limits.asked if name not in limited]:
            self.remove()
            raise _unlimited(lacking)

    def remove(self) -> None:
        """Remove them, unless they stay, once the guest's last processes are gone.

        A scope's is left to systemd, which would wait for ever to hear that it is empty.
        """
        deadline = time.monotonic() + PATIENCE
        for joined in () if self.stays else self.joins:
            _remove(joined.parent, deadline)
        while self.descriptors:
            os.close(self.descriptors.pop())


def folders(name: str) -> list[Path]:
    """Return where the groups of a guest are, or would be: made by us, or by systemd."""
    places = (name, f"{SLICE}/{name}.scope")
    return [root / place for root in mounted().values() for place in places]


def _make(folder: Path) -> int:
    """Make a group; a descriptor that holds its lock, before which `sweep` may have been."""
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


def _is_open(folder: Path, descriptor: int) -> bool:
    """Whether a descriptor is that of the group which has this path now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    return False


def _limit(folder: Path, limits: Limits) -> set[str]:
    """Limit a group as far as its hierarchy can; the controllers that do it.

    cgroup v2 has those for it that the group above hands down.
    """
    settings: dict[str, object] = {
        "memory.max": limits.memory,
        "memory.limit_in_bytes": limits.memory,  # cgroup v1
        "pids.max": limits.processes,
    }
    if limits.cpus is not None:
        quota = round(limits.cpus * PERIOD)
        settings |= {"cpu.max": f"{quota} {PERIOD}", "cpu.cfs_quota_us": quota}
    limited = set()
    for name, value in settings.items():
        try:
            with (folder / name).open("r+") as file:  # which creates none
                file.write(str(value))
            limited.add(name.partition(".")[0])
        except OSError as error:
            log.debug("no limit: %s", error)
    return limited


def of_systemd() -> set[str]:
    """Return the controllers that systemd can use for a scope; it hands them down itself."""
    roots = mounted()
    offered = roots[V2] / "cgroup.controllers" if V2 in roots else Path()
    return {*roots, *(offered.read_text().split() if offered.is_file() else ())}


def confine_scope(name: str, allowed: Iterable[Device]) -> None:
    """Limit the devices of a guest in a scope, which needs none of ours once it runs."""
    folder = mounted()[V2] / SLICE / f"{name}.scope"
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        log.debug("devices are not limited: %s", error)
        return
    _confine(descriptor, (*devices.USUAL, *allowed))
    os.close(descriptor)


def _unlimited(lacking: list[str]) -> HostError:
    """Return what is to be raised where these controllers cannot be used."""
    root = mounted().get("", Path())
    message = f"this host's control groups cannot limit what was asked for: no {', '.join(lacking)}"
    offered = root / "cgroup.controllers"
    hint = "`sudo postroj doctor` shows which limits work on this host"
    if offered.is_file() and set(lacking) <= set(offered.read_text().split()):
        enable = " ".join(f"+{name}" for name in lacking)
        hint = f"`echo {enable} | sudo tee {root}/cgroup.subtree_control` hands them to guests"
    return HostError(message, hint=hint)


def _confine(group: int, allowed: Iterable[Device]) -> str:
    """Limit the devices that a guest can open, where this host can; else why it cannot."""
    try:
        devices.confine(group, allowed)
    except OSError as error:
        log.debug("devices are not limited: %s", error)
        return str(error)
    return ""


def sweep(*, dry_run: bool = False) -> set[str]:
    """Remove the groups of dead guests, whatever their run directory was; their names.

    Groups are directories that only `rmdir(2)` removes, and only when no process is in them: this
    cannot hurt a guest that lives. With `dry_run` none is removed.
    """
    found = set()
    for folder in _all_groups():
        with _left_over(folder) as left_over:
            if left_over:
                found.add(folder.name)
                if not dry_run:
                    _remove(folder, time.monotonic() + PATIENCE)
    return found


def _all_groups() -> list[Path]:
    """Return the groups of all guests, in the hierarchies that we may change."""
    roots = [root for root in mounted().values() if os.access(root, os.W_OK)]
    return [path for root in roots for path in root.iterdir() if NAME.fullmatch(path.name)]


@contextmanager
def _left_over(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the lock of a group; if so it is held meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        # another may have removed it before the lock was ours, and its maker have made it anew
        yield try_lock(descriptor, fcntl.LOCK_EX) and _is_open(folder, descriptor)
    finally:
        os.close(descriptor)


def _remove(top: Path, deadline: float) -> None:
    """Remove a group and the empty groups that a dead guest left below it."""
    for folder, _, _ in os.walk(top, topdown=False):
        while not _is_gone(Path(folder)) and time.monotonic() < deadline:
            time.sleep(0.005)  # a zombie is still in it; the kernel tells only those who ask


def _is_gone(folder: Path) -> bool:
    """Remove one group; False where a process is still in it."""
    try:
        folder.rmdir()
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def members(cgroup: str, name: str) -> list[Path]:
    """What to write "0" into in order to be where the leader is.

    `cgroup` is the text of `/proc/LEADER/cgroup`; `name` is the guest's group. Hierarchies in which
    the guest has no group of its own are left alone.
    """
    roots = mounted()
    joins = []
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        kind = next((one for one in controllers.split(",") if one in roots), None)
        if kind is not None and not {name, f"{name}.scope"}.isdisjoint(path.split("/")):
            joins.append(roots[kind] / path.lstrip("/") / "cgroup.procs")
    return joins


def processes(cgroup: str) -> dict[int, str]:
    """Processes of a guest as the host numbers them, each with its group within the guest.

    `cgroup` is the text of `/proc/LEADER/cgroup`. A group is as `/system.slice/redis.service`: what
    comes after `payload`, in which nspawn keeps the guest. There is none without nspawn.
    """
    roots = mounted()
    found: dict[int, str] = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        above, payload, _ = path.partition(PAYLOAD)
        if controllers not in roots or not payload:
            continue
        _gather(roots[controllers] / f"{above}{payload}".lstrip("/"), found)
    return found


def freezer(name: str) -> Path | None:
    """Return the group of all that runs in a guest, which can be frozen; None without cgroup v2."""
    groups = (folder / PAYLOAD.lstrip("/") for folder in folders(name))
    return next((group for group in groups if (group / "cgroup.freeze").exists()), None)


def thaw(group: Path) -> None:
    """Let what was frozen go on."""
    with suppress(OSError):  # it has ended
        (group / "cgroup.freeze").write_text("0")


def population(name: str) -> dict[int, str]:
    """All processes of a guest by its name, those around it too, each with its group below that."""
    found: dict[int, str] = {}
    for top in folders(name):
        _gather(top, found)
    return found


def _gather(top: Path, found: dict[int, str]) -> None:
    """Add the processes of a group and of those below it."""
    for folder, _, _ in os.walk(top):
        group = folder.removeprefix(str(top))
        for pid in _numbers(Path(folder) / "cgroup.procs"):
            # with cgroup v2 in the guest, its groups of v1 are not divided
            found[pid] = max(group, found.get(pid, ""), key=len)


def _numbers(procs: Path) -> list[int]:
    try:
        return [int(line) for line in procs.read_text().split()]
    except OSError:  # it has gone, or is a threaded group, whose processes its parent lists
        return []
