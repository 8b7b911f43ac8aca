"""Inspect a squashfs file without mounting it: is it a root file system, and of which kind?

rdsquashfs reads it without privileges (`unpack.confine`); what it prints is untrusted data.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, ImageError
from postroj.image.unpack.confine import confined
from postroj.model import Manager

if TYPE_CHECKING:
    from pathlib import Path

TOP = {"usr", "bin", "sbin", "nix"}
"""Top folders, one of which every root file system has."""

MANAGERS = {
    "apt-get": Manager.APT,
    "zypper": Manager.ZYPPER,
    "dnf": Manager.DNF,
    "dnf5": Manager.DNF,
    "microdnf": Manager.DNF,
    "yum": Manager.DNF,
    "pacman": Manager.PACMAN,
}
"""By the program in `/usr/bin`; the first one present counts."""

SYSTEMD = ("usr/lib/systemd", "lib/systemd")
"""Folders of systemd itself."""

LINE = re.compile(r"\S+ +\S+ +\S+ (?P<name>.+?)(?: -> .*)?")
"""A line of `rdsquashfs --list`: mode, owner, size, name, target of a symlink."""
LARGEST = 256 << 20
"""Bytes of a file that is read whole."""
DISKS = (".img", ".qcow2", ".vmdk", ".vdi", ".vhd", ".raw")
"""Suffixes of disks, which boxes of Vagrant and OVA files contain."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a squashfs file contains."""

    distribution: str
    """ID of os-release; '' if there is none."""
    version: str
    title: str
    managers: tuple[Manager, ...]
    has_systemd: bool
    has_shell: bool

    @property
    def manager(self) -> Manager | None:
        """Its package manager, the usual one if it has several."""
        return next(iter(self.managers), None)


def inspect_squashfs(file: Path) -> Contents:
    """Inspect a squashfs file.

    :raises ImageError: if it is not a squashfs file, or not of a root file system.
    """
    names = names_in(file, "/")
    if not names & TOP:
        found = ", ".join(sorted(names)[:10]) or "nothing"
        message = "it contains no root file system"
        disk = next((name for name in sorted(names) if name.endswith(DISKS)), "")
        way = f"`qemu-img convert -O raw {disk} disk.raw`"
        raise ImageError(
            message,
            evidence=f"its top folder contains {found}",
            hint=f"unpack it, convert its disk ({way}), import that" if disk else "",
        )
    tools = names_in(file, "usr/bin")
    release = os_release(_read(file, "usr/lib/os-release") or _read(file, "etc/os-release"))
    return Contents(
        distribution=release.get("ID", ""),
        version=release.get("VERSION_ID", ""),
        title=release.get("PRETTY_NAME", ""),
        managers=tuple(dict.fromkeys(MANAGERS[tool] for tool in MANAGERS if tool in tools)),
        # NixOS has its systemd somewhere in its store.
        has_systemd="nix" in names or any("systemd" in names_in(file, path) for path in SYSTEMD),
        has_shell="sh" in tools | names_in(file, "bin"),
    )


def os_release(text: str) -> dict[str, str]:
    """Parse an os-release(5) file; skip malformed lines."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            with suppress(ValueError):
                found[key.strip()] = "".join(shlex.split(value))
    return found


def content_of(file: Path, path: str) -> bytes:
    """Return the content of a regular file in a squashfs file.

    :raises ImageError: if there is none.
    """
    with file.open("rb") as stream:
        number = stream.fileno()
        argv = confined(["rdsquashfs", "--cat", path, f"/proc/self/fd/{number}"])
        try:
            return process.run(argv, pass_fds=[number], limit=LARGEST).stdout
        except CommandError as error:
            message = f"the squashfs file has no file '{path}'"
            raise ImageError(message, evidence=error.reason) from None


def names_in(file: Path, folder: str) -> set[str]:
    """Return the names in a folder of a squashfs file; none if the folder does not exist."""
    lines = _rdsquashfs(file, "--list", folder).splitlines()
    return {match["name"] for line in lines if (match := LINE.fullmatch(line))}


def _read(file: Path, path: str) -> str:
    """Return the text of a regular file; '' if there is none."""
    return _rdsquashfs(file, "--cat", path)


def _rdsquashfs(file: Path, option: str, path: str) -> str:
    with file.open("rb") as stream:
        number = stream.fileno()
        argv = confined(["rdsquashfs", option, path, f"/proc/self/fd/{number}"])
        ok = (0,) if path == "/" else (0, 1)
        try:
            return process.run(argv, ok=ok, pass_fds=[number]).text
        except CommandError as error:
            message = "the squashfs file cannot be read"
            raise ImageError(message, evidence=error.reason) from None
