"""The version of this host's systemd-nspawn, and everything that depends on it.

All options that postroj uses exist since `OLDEST`; tests/unit/container/test_host.py has the
version of each.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.container import disk
from postroj.container.cgroup import hierarchies
from postroj.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

OLDEST = 247
"""The version that brought `SYSTEMD_SECCOMP=`, the youngest feature in use, systemd-nspawn(1)."""
WITHOUT_V1 = 258
"""The version without cgroup v1: as the guest's systemd, the host's and as nspawn."""
WITH_V2 = 230
"""The version since which a guest's systemd accepts cgroup v2."""

LIBRARY = "libsystemd-shared-"
LIBRARIES = (*Path("/usr/lib").glob("*-linux-gnu*/systemd"), Path("/usr/lib/systemd"))
VERSION = re.compile(r"systemd (\d+)(?: \(\d+\.(\d+))?")
OS_RELEASE = Path("/etc/os-release")
LARGEST = 32 << 10
BUS = Path("/run/dbus/system_bus_socket")


@dataclass(frozen=True, kw_only=True)
class Host:
    """The parts of this host on which guests depend."""

    nspawn: tuple[int, int]
    """Major and minor version of systemd-nspawn, as (258, 1)."""
    unified: bool
    """Whether it has, or shows to guests, cgroup v2 alone."""
    bus: bool
    """Whether D-Bus runs."""
    root: bool = True
    """Whether root of the host runs guests; others do in a user namespace."""
    on_disk: bool = False
    """Whether guests write to a folder on disk, since a tmpfs does not do."""
    os_release: str = ""
    """The text of its os-release(5); '' if it has none."""


@cache
def read() -> Host:
    """Read the facts about this host, once.

    :raises HostError: if it has no systemd-nspawn.
    """
    process.tool("systemd-nspawn")
    kinds = hierarchies.mounted()
    text = installed(LIBRARIES) or process.run(["systemd-nspawn", "--version"]).text
    return Host(
        nspawn=version(text),
        unified=hierarchies.V2 in kinds
        and (hierarchies.TRACKING not in kinds or not user.is_root()),
        root=user.is_root(),
        on_disk=not user.is_root() and disk.is_needed(),
        bus=BUS.exists(),
        os_release=_os_release(),
    )


def _os_release() -> str:
    """Return the host's os-release without NUL, cut at a size that no distribution reaches."""
    with suppress(OSError):
        return OS_RELEASE.read_text("utf-8", "surrogateescape")[:LARGEST].replace("\0", "")
    return ""


def installed(folders: Iterable[Path]) -> str:
    """Return the version in the name of the library with which nspawn is linked.

    Asking nspawn would take 10 ms. Return '' if there is not exactly one such library, and for 258,
    whose minor version matters.
    """
    names = {path.stem for folder in folders for path in folder.glob(f"{LIBRARY}*.so")}
    found = {name.removeprefix(LIBRARY).partition(".")[0] for name in names}
    number = found.pop() if len(found) == 1 else ""
    return f"systemd {number}" if number.isdecimal() and int(number) != WITHOUT_V1 else ""


def version(text: str) -> tuple[int, int]:
    """Read the output of `systemd-nspawn --version`, as `systemd 258 (258.1-1-arch)`.

    :raises HostError: if it has no version.
    """
    match = VERSION.match(text)
    if not match:
        message = "`systemd-nspawn --version` shows no version"
        raise HostError(message, evidence=process.last_lines(text))
    return int(match[1]), int(match[2] or 0)


def require(host: Host, systemd: int | None) -> None:
    """Refuse a guest that this host cannot boot, before anything is started.

    `systemd` is the major version in the image; None if it is unknown, or the guest does not boot.

    :raises HostError: if this host cannot boot such a guest.
    """
    major = host.nspawn[0]
    if major < OLDEST:
        message = f"systemd-nspawn {major} of this host is too old, {OLDEST} or newer is needed"
        raise HostError(message)
    if host.nspawn == (WITHOUT_V1, 0) and not host.bus:
        # systemd issue 39044; 258.1 has pull request 39045
        message = "systemd-nspawn 258.0 cannot start guests on a host without D-Bus, as this one"
        raise HostError(message, hint="update systemd: 258.1 can")
    if major >= WITHOUT_V1 and not host.unified:
        message = f"systemd-nspawn {major} needs a host with version 2 of control groups alone"
        hint = "boot this host with `systemd.unified_cgroup_hierarchy=1` on its kernel command line"
        raise HostError(message, hint=hint)
    if systemd is None or systemd >= WITH_V2:
        return
    message = (
        f"systemd {systemd} of the image cannot boot here: it needs version 1 of control groups"
    )
    if major >= WITHOUT_V1:
        hint = "a host with systemd-nspawn 257 or older boots it; `--no-boot` runs commands in it"
        message = f"{message}, which systemd-nspawn {major} does not support"
        raise HostError(message, hint=hint)
    if not host.root:
        message = f"{message}, which only root has"
        raise HostError(message, hint="run the same command with `sudo`")


def environment(host: Host, systemd: int | None, *, own_network: bool) -> dict[str, str]:
    """Return the environment variables of nspawn for a guest with this version of systemd."""
    # The seccomp filter of an older host fails system calls on which a newer guest's libc relies
    # (systemd#16739, #31469), so a package would fail without being at fault. mock does the same.
    variables = {"SYSTEMD_SECCOMP": "0"}
    if own_network:
        # /proc/sys/net belongs to the network; nspawn makes it writable by itself only with a
        # network that it makes, src/nspawn/nspawn-mount.c
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network"
    if host.nspawn[0] < WITHOUT_V1:
        # On a host with cgroup v1 or the hybrid, nspawn < 258 would choose the legacy hierarchy,
        # which systemd >= 258 refuses in the guest (systemd#23961).
        unified = systemd is None or systemd >= WITH_V2
        variables["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = str(int(unified))
    return variables
