"""What this host's nspawn is, and what follows from its version: all of that is decided here.

The options that a guest is started with exist since `OLDEST`; tests/unit/container/test_host.py has
the version of each.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.cgroup import hierarchies
from postroj.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

OLDEST = 247
"""`SYSTEMD_SECCOMP=` is the youngest of what we ask of nspawn, systemd-nspawn(1)."""
WITHOUT_V1 = 258
"""Since then systemd knows nothing of version 1 of control groups: as guest, host and nspawn."""
WITH_V2 = 230
"""Since then a guest's systemd takes version 2 of control groups."""

LIBRARY = "libsystemd-shared-"
LIBRARIES = (*Path("/usr/lib").glob("*-linux-gnu*/systemd"), Path("/usr/lib/systemd"))
VERSION = re.compile(r"systemd (\d+)(?: \(\d+\.(\d+))?")
OS_RELEASE = Path("/etc/os-release")
LARGEST = 32 << 10
BUS = Path("/run/dbus/system_bus_socket")


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a guest meets on this host."""

    nspawn: tuple[int, int]
    """Version of systemd-nspawn, and which update of it: (258, 1)."""
    unified: bool
    """Whether it has version 2 of control groups alone."""
    bus: bool
    """Whether D-Bus runs."""
    os_release: str = ""
    """What its file says, os-release(5); '' if it has none."""


@cache
def look() -> Host:
    """Return what this host is.

    :raises HostError: if it has no systemd-nspawn.
    """
    process.tool("systemd-nspawn")
    kinds = hierarchies.mounted()
    said = installed(LIBRARIES) or process.run(["systemd-nspawn", "--version"]).text
    return Host(
        nspawn=version(said),
        unified=hierarchies.V2 in kinds and hierarchies.TRACKING not in kinds,
        bus=BUS.exists(),
        os_release=_os_release(),
    )


def _os_release() -> str:
    """Return what a script can write: of its size no distribution has one."""
    with suppress(OSError):
        return OS_RELEASE.read_text("utf-8", "surrogateescape")[:LARGEST].replace("\0", "")
    return ""


def installed(folders: Iterable[Path]) -> str:
    """Return the version that the library has in its name which nspawn is linked with.

    That takes no time, and asking nspawn takes 10 ms. '' where there is not exactly one, and for
    258, of which the update matters.
    """
    names = {path.stem for folder in folders for path in folder.glob(f"{LIBRARY}*.so")}
    found = {name.removeprefix(LIBRARY).partition(".")[0] for name in names}
    number = found.pop() if len(found) == 1 else ""
    return f"systemd {number}" if number.isdecimal() and int(number) != WITHOUT_V1 else ""


def version(said: str) -> tuple[int, int]:
    """Read what `systemd-nspawn --version` says: `systemd 258 (258.1-1-arch)`.

    :raises HostError: if that is no version.
    """
    match = VERSION.match(said)
    if not match:
        message = "`systemd-nspawn --version` tells no version"
        raise HostError(message, evidence=process.last_lines(said))
    return int(match[1]), int(match[2] or 0)


def require(host: Host, systemd: int | None) -> None:
    """Refuse what cannot boot, before anything is started.

    `systemd` is the major version in the image, None if nobody knows, or nothing is to boot.

    :raises HostError: if this host boots no such guest.
    """
    major = host.nspawn[0]
    if major < OLDEST:
        message = f"systemd-nspawn {major} of this host is too old, {OLDEST} or newer is needed"
        raise HostError(message)
    if host.nspawn == (WITHOUT_V1, 0) and not host.bus:
        # systemd issue 39044; 258.1 has pull request 39045
        message = "systemd-nspawn 258.0 starts no guest where no D-Bus runs, as on this host"
        raise HostError(message, hint="update it: 258.1 does")
    if major >= WITHOUT_V1 and not host.unified:
        message = f"systemd-nspawn {major} needs version 2 of control groups alone on this host"
        hint = "boot this host with `systemd.unified_cgroup_hierarchy=1` on its kernel command line"
        raise HostError(message, hint=hint)
    if major >= WITHOUT_V1 and systemd is not None and systemd < WITH_V2:
        message = (
            f"systemd {systemd} of the image cannot boot here: it needs version 1 of control"
            f" groups, which systemd-nspawn {major} gives to no guest"
        )
        hint = "a host with systemd-nspawn 257 or older boots it; `--no-boot` runs commands in it"
        raise HostError(message, hint=hint)


def environment(host: Host, systemd: int | None) -> dict[str, str]:
    """Return the variables for nspawn, for a guest with that version of systemd."""
    # The filter of an older host fails system calls that a newer guest's libc relies on
    # (systemd#16739, #31469): a false verdict on a package. mock turns it off for the same reason.
    variables = {"SYSTEMD_SECCOMP": "0"}
    if host.nspawn[0] < WITHOUT_V1:
        # A guest with systemd >= 258 refuses the legacy hierarchy that nspawn < 258 would choose
        # for it on a host with cgroup v1 or the hybrid (systemd#23961).
        unified = systemd is None or systemd >= WITH_V2
        variables["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = str(int(unified))
    return variables
