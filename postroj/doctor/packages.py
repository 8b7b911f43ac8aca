"""Install what this host lacks, with its own package manager."""

from __future__ import annotations

import logging
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.errors import CommandError, HostError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from postroj.doctor.requirements import Result

log = logging.getLogger(__name__)

APT_LISTS = Path("/var/lib/apt/lists")
DAY = 86_400.0
NO_VARIABLES: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Installer:
    """A package manager of the host, and how to run it."""

    name: str
    families: tuple[str, ...]
    """Values of `ID` and `ID_LIKE` in `/etc/os-release` of the hosts that have it."""
    install: tuple[str, ...]
    refresh: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


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


def remedy(results: Collection[Result]) -> str:
    """Return the commands that give what is lacking, as root types them; '' if there are none."""
    installer = _installer()
    packages = missing_packages(results, installer.name) if installer else []
    commands = [shlex.join(result.fix) for result in results if result.fix]
    if installer and packages:
        commands.insert(0, shown([*installer.install, *packages], installer.env))
    return "; ".join(commands)


def mend(results: Collection[Result]) -> bool:
    """Install or allow what is lacking; return whether there was something to do.

    Without root each command runs through sudo, which may ask for a password on our terminal.

    :raises HostError: if no package manager of this host is known.
    :raises CommandError: if a command failed.
    """
    installable = [result for result in results if result.lacking and result.requirement.packages]
    fixes = [result.fix for result in results if result.fix]
    try:
        if installable:
            _install(installable)
    finally:  # a package that is out of reach keeps nobody from the rest
        for fix in fixes:
            _as_root(fix)
    return bool(installable or fixes)


def _install(installable: Collection[Result]) -> None:
    installer = _installer()
    packages = missing_packages(installable, installer.name) if installer else []
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


def shown(command: Iterable[str], env: Mapping[str, str]) -> str:
    """Return a command with variables as a user types it."""
    return shlex.join([*(f"{name}={value}" for name, value in env.items()), *command])


def _run(installer: Installer, command: Iterable[str]) -> None:
    _as_root([*command], installer.env)


def _as_root(command: Sequence[str], env: Mapping[str, str] = NO_VARIABLES) -> None:
    """Show a command and run it; its output is shown only if it fails, or with `--verbose`."""
    log.info("%s", shown(command, env))
    variables = process.environment(env)
    is_root = user.is_root()
    # sudo removes variables
    prefix = [] if is_root else ["sudo", "env", *map("=".join, variables.items())]
    done = process.run([*prefix, *command], env=variables, with_terminal=not is_root)
    log.debug("%s", done.output)
