"""The user namespace in which a user without root is root.

A process enters it once and stays, as do its children. What it makes there, guests and their
mounts, only root of the same namespace may change. So a command for a guest that another process
has started joins the namespace of that guest.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from postroj import paths, process, user
from postroj.container import kernel
from postroj.container.cgroup import delegation
from postroj.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.container.held import Held

FIRST = 100_000
"""The first subordinate number that useradd(8) gives, SUB_UID_MIN of login.defs(5)."""
IDS = 65535
"""Users and groups of a guest beside root: systemd gives services numbers up to 65519, and 65534 is
nobody."""

RANGES = {"uid": Path("/etc/subuid"), "gid": Path("/etc/subgid")}
APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""1 if a new user namespace gives rights only to programs with a profile, as in Ubuntu 24.04."""
APPARMOR_HINT = (
    'the page "Without root" has a profile that allows it to postroj; `sudo postroj` needs none'
)
THREADS = Path("/proc/self/task")
LABEL = Path("/proc/self/attr/current")
"""The profile of this process, `unconfined` without one."""
SWITCHES = {
    Path("/proc/sys/kernel/unprivileged_userns_clone"): "kernel.unprivileged_userns_clone=1",
    Path("/proc/sys/user/max_user_namespaces"): "user.max_user_namespaces=65536",
}
"""What allows no user namespaces if it is 0, and the setting that does."""

# The tools must run outside of the namespace, and before it is made there is nothing to map.
MAP_WHEN_TOLD = """\
read -r _ || exit
newuidmap $1 && newgidmap $2"""


RANGE = re.compile(r"([^#:]+):(\d+):(\d+)")
"""A line of a file like subuid(5): a user, the first number, and how many."""


class NotAllowedError(HostError):
    """This host does not let this user be root of a user namespace."""

    def __init__(self, message: str, *, fix: tuple[str, ...] = (), evidence: str = "") -> None:
        self.fix = fix
        """The command with which root allows it; empty if none is known."""
        words = shlex.join(fix)
        hint = f"`sudo {words}` allows it, `postroj doctor --fix` for good" if words else ""
        super().__init__(message, evidence=evidence, hint=hint)


class Range(NamedTuple):
    """Numbers of the host that a user may give to others in a namespace, subuid(5)."""

    first: int
    number: int


def enter(beside: Held | None = None) -> None:
    """Become root of a new user namespace, or of that of the process `beside`.

    Root of the host stays what it is, and who has entered stays inside. This process must not have
    more than one thread.

    :raises HostError: if this host does not let this user.
    :raises OSError: if the process `beside` has ended.
    """
    if user.is_root():
        return
    if _outcome:
        if error := _outcome[0]:
            raise error
        return
    try:
        _enter(beside)
    except HostError as error:
        _outcome.append(error)  # this process may be half inside
        raise
    _outcome.append(None)


_outcome: list[HostError | None] = []
"""What became of entering; empty before it was tried."""


def _enter(beside: Held | None) -> None:
    delegation.settle()
    paths.remember()
    if len(list(THREADS.iterdir())) > 1:
        message = "this process has threads, with which it cannot enter a user namespace"
        raise HostError(message)
    if beside:
        descriptor = beside.open("ns/user", os.O_RDONLY)
        try:
            kernel.join_users(descriptor)
        finally:
            os.close(descriptor)
    else:
        _make()
    # in groups of the host a guest could read what these may read
    os.setgroups([])


def _make() -> None:
    require_kernel()
    lines = [
        " ".join(map(str, (os.getpid(), 0, own, 1, *mapping(kind))))
        for kind, own in zip(RANGES, (user.UID, user.GID), strict=True)
    ]
    argv = ["sh", "-fc", MAP_WHEN_TOLD, "sh", *lines]
    for tool in ("newuidmap", "newgidmap"):
        process.tool(tool)
    said = process.Tail()
    env = process.environment()
    with process.spawn(argv, stdio=process.STDIO, env=env) as child:
        try:
            kernel.own_users()
        except OSError as error:
            raise _forbidden(error) from None
        feed = process.Feed(b"\n")
        status = process.relay(child, stdin=feed, stdout=said, stderr=said)
    if status:
        message = "the users of a guest cannot be mapped to numbers of this host"
        raise HostError(message, evidence=bytes(said).decode(errors="replace").strip())


def require_kernel() -> None:
    """Refuse a kernel that may not give us rights in a user namespace.

    :raises HostError: if it is one.
    """
    if APPARMOR.exists() and APPARMOR.read_text().strip() == "1" and _is_unconfined():
        message = "AppArmor of this host gives users no rights in namespaces of their own"
        raise HostError(message, hint=APPARMOR_HINT)


def mapping(kind: str) -> list[int]:
    """Return the arguments of newuidmap(1) that map numbers from 1 on to those of our ranges.

    :raises HostError: if we have too few.
    """
    words: list[int] = []
    inside = 1
    for first, number in _ranges(kind):
        taken = min(number, IDS + 1 - inside)
        if taken > 0:
            words += (inside, first, taken)
            inside += taken
    if inside <= IDS:
        name = _name()
        message = f"'{RANGES[kind]}' gives the user '{name}' {inside - 1} numbers, {IDS} are needed"
        first = _unused()
        numbers = f"{first}-{first + IDS}"
        fix = ("usermod", f"--add-subuids={numbers}", f"--add-subgids={numbers}", name)
        raise NotAllowedError(message, fix=fix)
    return words


def _ranges(kind: str) -> Iterator[Range]:
    with suppress(OSError):
        text = RANGES[kind].read_text()
        yield from ranges(text.splitlines(), {str(user.UID), _name()})


def _unused() -> int:
    """Return a number from which on nobody has any, at least the first that useradd(8) gives."""
    ends = [FIRST]
    for file in RANGES.values():
        with suppress(OSError):
            ends += [one.first + one.number for one in ranges(file.read_text().splitlines())]
    return max(ends)


def ranges(lines: Iterable[str], names: set[str] | None = None) -> Iterator[Range]:
    """Yield the ranges that the lines of a file like subuid(5) give to a user with these names.

    Without names yield those of all users.
    """
    for line in lines:
        name, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if (
            name
            and "#" not in name
            and (names is None or name in names)
            and first.isdecimal()
            and count.isdecimal()
        ):
            yield Range(int(first), int(count))


def _name() -> str:
    """Return the name of our user, or its number if it has none."""
    try:
        import pwd  # Windows has none

        return pwd.getpwuid(user.UID).pw_name
    except KeyError:
        return str(user.UID)


def _is_unconfined() -> bool:
    with suppress(OSError):
        return LABEL.read_text().strip() == "unconfined"
    return False


def lacking_settings() -> tuple[str, ...]:
    """Return the settings of the kernel, as sysctl(8) takes them, that allow user namespaces."""
    found = []
    for path, setting in SWITCHES.items():
        with suppress(OSError):
            if path.read_text().strip() == "0":
                found.append(setting)
    return tuple(found)


def _forbidden(error: OSError) -> HostError:
    """Explain why the kernel made no user namespace."""
    message = "this host lets users without root make no namespaces"
    if settings := lacking_settings():
        return NotAllowedError(message, fix=("sysctl", *settings))
    return NotAllowedError(message, evidence=str(error.strerror))
