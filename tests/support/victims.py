"""Who is who among the processes of a postroj, how to kill one of them, and what is left of them.

All is found by descent from a postroj that the test has started, or bears the name of a folder that
is the test's own: others may run guests on the same host.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container import naming
from postroj.container.cgroup import group, processes
from postroj.container.held import Held

if TYPE_CHECKING:
    from collections.abc import Collection

POSTROJ, UNSHARE, SCRIPT, NSPAWN, LEADER, PASTA = ROLES = (
    "postroj",
    "unshare",
    "script",
    "nspawn",
    "leader",
    "pasta",
)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, held by its number and the time of its birth: numbers are given again."""

    pid: int
    parent: int
    born: int
    """Ticks since the boot of the host."""
    name: str


def look(pid: int) -> Process | None:
    """Return a process, None if it has ended; a zombie has, proc_pid_stat(5)."""
    with suppress(OSError):
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        words = rest.split()
        if words[0] not in "ZX":
            return Process(pid=pid, parent=int(words[1]), born=int(words[19]), name=name)
    return None


def descendants(root: int) -> list[Process]:
    """Return all that descend from a process, parents first."""
    numbers = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    children: dict[int, list[Process]] = {}
    for process in filter(None, map(look, numbers)):
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(root, []))
    for process in found:  # it grows meanwhile
        found.extend(children.get(process.pid, []))
    return found


def victims(root: int) -> list[dict[str, Process]]:
    """Return who plays which role in each guest of a postroj."""
    guests: dict[int, dict[str, Process]] = {}
    owner: dict[int, int] = {}
    parents: dict[int, str] = {}
    for process in descendants(root):
        owner[process.pid] = owner.get(process.parent, process.pid)
        parents[process.pid] = process.name
        if role := _role(process, parents.get(process.parent, "")):
            guests.setdefault(owner[process.pid], {}).setdefault(role, process)
    return [guest for guest in guests.values() if UNSHARE in guest]


def of_guest(name: str) -> dict[str, Process]:
    """Return who plays which role in a guest that is kept: all of it is in its control groups."""
    found: dict[str, Process] = {}
    for process in filter(None, map(look, processes.population(name))):
        parent = look(process.parent)
        if role := _role(process, parent.name if parent else ""):
            found.setdefault(role, process)
    return found


def _role(process: Process, parent: str) -> str:
    try:
        numbers = Held(process.pid).numbers
    except OSError:
        return ""
    match len(numbers), numbers[-1:], process.name:
        case 1, _, "unshare":
            return UNSHARE
        case 2, [1], _:
            return SCRIPT
        case 3, [1], _:
            return LEADER
        case 2, _, "systemd-nspawn" if parent != "systemd-nspawn":
            return NSPAWN
        case 2, _, name if name.startswith(("pasta", "passt")):
            return PASTA
        case _:
            return ""


def guest_of(unshare: Process) -> str:
    """Name of the guest that is in the namespaces of this process; '' if it has ended."""
    with suppress(OSError):
        text = Path(f"/proc/{unshare.pid}/cmdline").read_text(errors="replace")
        if found := naming.PATTERN.search(text):
            return found[0]
    return ""


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this process and no other; whether it was there."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = look(process.pid)
        if now is None or now.born != process.born:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    else:
        return True
    finally:
        os.close(pidfd)


def traces(folder: Path, names: Collection[str], seen: Collection[Process]) -> list[str]:
    """What is left of guests, but for run directories and control groups.

    All files of theirs are in `folder`: images, and so what loop devices show, and run directories,
    and so mounts and sockets. `names` are theirs, `seen` are processes that were.
    """
    found = [f"process {process}" for process in seen if look(process.pid) == process]
    words = (str(folder), *names)
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    sources = [*loops, Path("/proc/net/unix")]
    for path in Path("/proc").glob("[0-9]*"):
        sources += [path / name for name in ("mountinfo", "cmdline", "environ", "cgroup")]
        with suppress(OSError):
            ends = [str(end.readlink()) for end in (path / "fd").iterdir()]
            found += [f"{path}/fd: {end}" for end in ends if any(word in end for word in words)]
    for source in sources:
        with suppress(OSError):
            text = source.read_text(errors="replace")
            found += [f"{source}: {word}" for word in words if word in text]
    found += [f"netns {name}" for name in names if (Path("/run/netns") / name).exists()]
    return found


def run_directories(state_dir: Path) -> set[str]:
    """Names of the guests that have a run directory."""
    with suppress(FileNotFoundError):
        return {path.name for path in state_dir.iterdir() if naming.is_guest(path.name)}
    return set()


def groups(names: Collection[str]) -> list[Path]:
    """Control groups of guests that are there."""
    return [path for name in names for path in group.folders(name) if path.exists()]
