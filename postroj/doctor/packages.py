"""Install what this host lacks, with its own package manager."""

from __future__ import annotations

import logging
import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, HostError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from postroj.doctor.requirements import Result

log = logging.getLogger(__name__)

APT_LISTS = Path("/var/lib/apt/lists")
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Installer:
    """A package manager of the host, and how to run it."""

    name: str
    families: tuple[str, ...]
    """Values of `ID` and `ID_LIKE` in `/etc/os-release` of the hosts that have it."""
    install: tuple[str, ...]
    refresh: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def show(self, command: Iterable[str]) -> str:
        """Return a command as a user types it."""
        return shlex.join([*(f"{name}={value}" for name, value in self.env.items()), *command])


INSTALLERS = (
    Installer(
        name="apt",
        families=("debian", "ubuntu"),
        refresh=("apt-get", "update"),
        install=(
            *("apt-get", "install", "-y", "--no-install-recommends"),
            *("-o", "DPkg::Lock::Timeout=120"),  # a fresh machine often upgrades itself
        ),
        env={"DEBIAN_FRONTEND": "noninteractive"},
    ),
    Installer(name="dnf", families=("fedora", "rhel"), install=("dnf", "install", "-y")),
    Installer(name="zypper", families=("suse", "opensuse"), install=("zypper", "-n", "install")),
    Installer(name="pacman", families=("arch",), install=("pacman", "-S", "--noconfirm")),
)


def choose(os_release: str, present: Collection[str]) -> Installer | None:
    """Choose the distribution's package manager; for an unknown one the first that is installed.

    `present` are the programs of this host, some of which may belong to other distributions.
    """
    pairs = [line.partition("=") for line in os_release.splitlines()]
    values = {name: value.strip("\"' ") for name, _, value in pairs}
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".split()
    usable = [installer for installer in INSTALLERS if installer.install[0] in present]
    for word in words:
        for installer in usable:
            if word.startswith(installer.families):
                return installer
    return usable[0] if usable else None


def missing_packages(results: Iterable[Result], manager: str) -> list[str]:
    """Return the packages that contain what is lacking, each once."""
    packages = [
        result.requirement.packages[manager]
        for result in results
        if result.lacking and manager in result.requirement.packages
    ]
    return sorted(set(packages))


def remedy(results: Iterable[Result]) -> str:
    """Return the command that installs what is lacking, as a user types it; '' if there is none."""
    installer = _installer()
    packages = missing_packages(results, installer.name) if installer else []
    if not installer or not packages:
        return ""
    return installer.show([*installer.install, *packages])


def mend(results: Collection[Result]) -> bool:
    """Install what is lacking; return whether there was something to install.

    :raises HostError: if this process is not root, or no package manager of this host is known.
    :raises CommandError: if the package manager failed.
    """
    installable = [result for result in results if result.lacking and result.requirement.packages]
    if not installable:
        return False
    if os.geteuid() != 0:
        message = "only root can install packages"
        raise HostError(message, hint="`sudo postroj doctor --fix`")
    installer = _installer()
    packages = missing_packages(results, installer.name) if installer else []
    if not installer or not packages:
        names = ", ".join(f"'{result.requirement.name}'" for result in installable)
        message = f"no known package of this host contains {names}"
        raise HostError(message, hint="install these programs by hand, then `postroj doctor`")
    if installer.name == "apt" and lists_are_stale(APT_LISTS, time.time()):
        try:
            _run(installer, installer.refresh)
        except CommandError as error:
            # often only a third party's repository is out of reach
            log.warning("%s; continuing with the old package lists", error.message)
    _run(installer, [*installer.install, *packages])
    return True


def lists_are_stale(folder: Path, now: float) -> bool:
    """Whether apt has no package lists, or has not updated them for a day."""
    if not any(folder.glob("*_Packages*")):
        return True
    # the lists have the time of the mirror, but these folders have that of the update
    touched = [path.stat().st_mtime for path in (folder, folder / "partial") if path.exists()]
    return now - max(touched) > DAY


def _installer() -> Installer | None:
    try:
        os_release = Path("/etc/os-release").read_text(errors="replace")
    except OSError:
        os_release = ""
    programs = {installer.install[0] for installer in INSTALLERS}
    return choose(os_release, {program for program in programs if _is_there(program)})


def _is_there(program: str) -> bool:
    try:
        process.tool(program)
    except HostError:
        return False
    return True


def _run(installer: Installer, command: Iterable[str]) -> None:
    log.info("%s", installer.show(command))
    done = process.run(list(command), env=process.environment(installer.env))
    log.debug("%s", done.output)
