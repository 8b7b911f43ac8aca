"""The table of what postroj needs from a host: what, why, and in which package it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from postroj.doctor import confinement, facts, machines, users
from postroj.doctor.facts import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from postroj.doctor.facts import Finding

BOOTSTRAP = "building Debian images"
ARCHIVES = "images from archives"
PRIVATE = "--network=private"
OWN_KERNEL = "--vm"
WITHOUT_ROOT = "users without root"


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that postroj needs from a host."""

    name: str
    why: str
    examine: Callable[[], Finding]
    only_for: str = ""
    """What does not work without it, or who can run no guest; '' if nobody can.

    Nothing that root can do without is lacking for root.
    """
    packages: Mapping[str, str] = field(default_factory=dict)
    """The package that contains it, by the host's package manager."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How this host meets a requirement."""

    requirement: Requirement
    status: Status
    found: str
    fix: tuple[str, ...] = ()
    """The command with which root gives what is missing, if it is not in a package."""

    @property
    def lacking(self) -> bool:
        """Whether something has to be installed or changed."""
        return self.status in (Status.MISSING, Status.TOO_OLD)

    @property
    def fatal(self) -> bool:
        """Whether we can run no guest on this host."""
        return self.lacking and self.requirement.only_for in ("", WITHOUT_ROOT)


def _same(package: str, *managers: str) -> dict[str, str]:
    return dict.fromkeys(managers or ("apt", "dnf", "zypper", "pacman"), package)


UTIL_LINUX = _same("util-linux")

REQUIREMENTS = (
    Requirement(name="root", why="makes namespaces, mounts and cgroups", examine=users.root),
    Requirement(
        name="subordinate ids",
        why="number the other users in a guest",
        examine=users.subordinate_ids,
        only_for=WITHOUT_ROOT,
    ),
    Requirement(
        name="newuidmap",
        why="maps subordinate ids",
        examine=users.newuidmap,
        only_for=WITHOUT_ROOT,
        packages={"apt": "uidmap", "dnf": "shadow-utils", "zypper": "shadow", "pacman": "shadow"},
    ),
    Requirement(
        name="user's D-Bus",
        why="asks the user's systemd for cgroups",
        examine=users.session_bus,
        only_for=WITHOUT_ROOT,
        packages={"apt": "dbus-user-session"},
    ),
    Requirement(
        name="user namespaces",
        why="stand in for root",
        examine=users.user_namespaces,
        only_for=WITHOUT_ROOT,
    ),
    Requirement(
        name="squashfuse",
        why="shows images to users without root",
        examine=users.squashfuse,
        only_for="images that take no memory",
        packages=_same("squashfuse"),
    ),
    Requirement(name="Python", why="runs postroj", examine=facts.python),
    Requirement(
        name="systemd-nspawn",
        why="boots guests",
        examine=partial(facts.tool, "systemd-nspawn", oldest=247),
        packages={**_same("systemd-container", "apt", "dnf", "zypper"), "pacman": "systemd"},
    ),
    Requirement(
        name="unshare",
        why="keeps mounts of a guest away from the host",
        examine=partial(facts.tool, "unshare"),
        packages=UTIL_LINUX,
    ),
    Requirement(
        name="mount",
        why="puts the layers of a guest together",
        examine=partial(facts.tool, "mount"),
        packages={**UTIL_LINUX, "apt": "mount"},
    ),
    Requirement(
        name="setpriv",
        why="limits what commands in a guest may do",
        examine=partial(facts.tool, "setpriv"),
        packages=UTIL_LINUX,
    ),
    Requirement(
        name="nsenter",
        why="runs commands in a guest",
        examine=partial(facts.tool, "nsenter"),
        packages=UTIL_LINUX,
    ),
    Requirement(
        name="tar",
        why="packs files of guests and of this host",
        examine=partial(facts.tool, "tar"),
        only_for="cp, commit, cached layers",
        packages=_same("tar"),
    ),
    Requirement(
        name="tar2sqfs",
        why="makes images of archives",
        examine=partial(facts.tool, "tar2sqfs"),
        only_for="making images",
        packages=_same("squashfs-tools-ng", "apt", "dnf"),
    ),
    Requirement(
        name="prlimit",
        why="limits what a hostile archive can use up",
        examine=partial(facts.tool, "prlimit"),
        only_for="making images",
        packages=UTIL_LINUX,
    ),
    Requirement(
        name="bwrap",
        why="keeps tools that unpack archives from files and network",
        examine=facts.bwrap,
        only_for="safer images",
        packages=_same("bubblewrap"),
    ),
    Requirement(name="namespaces", why="separate a guest from the host", examine=facts.namespaces),
    Requirement(
        name="loop, squashfs",
        why="an image is one compressed file",
        examine=facts.squashfs,
        only_for="images that take no memory",
    ),
    Requirement(name="overlay", why="changes of a guest are thrown away", examine=facts.overlay),
    Requirement(
        name="cgroups", why="systemd in a guest needs its own", examine=users.control_groups
    ),
    Requirement(
        name="limits",
        why="limit what a guest takes",
        examine=confinement.limiting,
        only_for="--memory, --cpus, --pids",
    ),
    Requirement(
        name="capabilities",
        why="let services lock memory, raise limits, filter packets",
        examine=confinement.capabilities,
        only_for="services that need them",
    ),
    Requirement(
        name="devices",
        why="keeps root in a guest from the host's disks",
        examine=confinement.devices,
        only_for="safer guests",
    ),
    Requirement(
        name="private users",
        why="make root in a guest nobody on this host",
        examine=confinement.private_users,
        only_for="--private-users",
    ),
    Requirement(
        name="pasta",
        why="gives every guest a network of its own",
        examine=facts.pasta,
        only_for=PRIVATE,
        packages=_same("passt"),
    ),
    Requirement(
        name="qemu-system",
        why="gives a guest a kernel of its own",
        examine=machines.system_emulator,
        only_for=OWN_KERNEL,
        packages=machines.packages(),
    ),
    Requirement(
        name="ssh",
        why="runs commands in such a guest, and on another machine",
        examine=machines.ssh,
        only_for=f"{OWN_KERNEL}, --host",
        packages={
            "apt": "openssh-client",
            "dnf": "openssh-clients",
            "zypper": "openssh-clients",
            "pacman": "openssh",
        },
    ),
    Requirement(
        name="/dev/kvm",
        why="lets the processor run such a guest, instead of qemu",
        examine=machines.kvm,
        only_for=f"a fast {OWN_KERNEL}",
    ),
    Requirement(
        name="mmdebstrap",
        why="fetches and unpacks packages",
        examine=partial(facts.tool, "mmdebstrap"),
        only_for=BOOTSTRAP,
        packages=_same("mmdebstrap", "apt", "dnf"),
    ),
    Requirement(
        name="gpgv",
        why="checks signatures",
        examine=partial(facts.tool, "gpgv"),
        only_for=BOOTSTRAP,
        packages={"apt": "gpgv", "dnf": "gnupg2", "zypper": "gpg2", "pacman": "gnupg"},
    ),
    Requirement(
        name="Debian's keys",
        why="keys that signatures are checked with",
        examine=facts.keyring,
        only_for=BOOTSTRAP,
        packages={
            "apt": "debian-archive-keyring",
            "dnf": "debian-keyring",
            "pacman": "debian-archive-keyring",
        },
    ),
    *(
        Requirement(
            name=tool,
            why="decompresses archives",
            examine=partial(facts.tool, tool),
            only_for=ARCHIVES,
            packages=_same(tool) | packages,
        )
        for tool, packages in {
            "gzip": {},
            "xz": {"apt": "xz-utils"},
            "zstd": {},
            "bzip2": {},
        }.items()
    ),
    Requirement(
        name="sfdisk",
        why="finds the root partition of a disk",
        examine=partial(facts.tool, "sfdisk"),
        only_for="importing and exporting disks",
        packages={**UTIL_LINUX, "apt": "fdisk"},
    ),
    Requirement(
        name="skopeo",
        why="talks to registries",
        examine=partial(facts.tool, "skopeo"),
        only_for="images from registries",
        packages=_same("skopeo"),
    ),
    Requirement(
        name="disk", why="an image takes 0.1 GB, and 0.5 GB while it is made", examine=facts.disk
    ),
    Requirement(name="memory", why="a guest takes about 0.1 GB", examine=facts.memory),
)


def of_architecture(architecture: str) -> tuple[Requirement, ...]:
    """Return what guests of another architecture need beyond `REQUIREMENTS`."""
    return (
        Requirement(
            name=f"qemu-user, {architecture}",
            why="runs the programs of its images",
            examine=partial(machines.user_emulator, architecture),
            only_for=f"--arch {architecture}",
        ),
        Requirement(
            name=f"qemu-system, {architecture}",
            why="gives a guest a kernel of its own",
            examine=partial(machines.system_emulator, architecture),
            only_for=f"{OWN_KERNEL} --arch {architecture}",
            packages=machines.packages(architecture),
        ),
    )


def survey(requirements: Iterable[Requirement] = REQUIREMENTS) -> tuple[Result, ...]:
    """Examine this host; change nothing and leave nothing behind."""
    results = []
    for requirement in requirements:
        finding = requirement.examine()
        results.append(
            Result(
                requirement=requirement, status=finding.status, found=finding.found, fix=finding.fix
            )
        )
    return tuple(results)
