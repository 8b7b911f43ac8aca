"""What is asked of a guest before it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.container import limits
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroj.container.network.publish import Published


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A file or folder of the host that the guest sees."""

    source: Path
    target: str
    read_only: bool


class Accelerator(StrEnum):
    """How the instructions of a machine are run, as qemu names it."""

    KVM = "kvm"
    """By the processor."""
    TCG = "tcg"
    """One by one, by qemu: ten to twenty times as slow."""

    @property
    def slowness(self) -> float:
        """By how much longer postroj waits for a guest than for a container."""
        return 8.0 if self is Accelerator.TCG else 1.0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a guest with a kernel of its own runs on."""

    architecture: str
    """As `uname -m` has it."""
    accelerator: Accelerator
    kernel: Path
    """A squashfs file with the kernel, its modules and its initrd, see `kernels`."""
    tools: tuple[Path, ...]
    """squashfs files with the programs that serve the guest from outside, the lowest first."""


@dataclass(frozen=True, kw_only=True)
class GuestSpec:
    """The specification of a guest."""

    layers: tuple[Path, ...]
    """squashfs files, the image first, the others on top of it in order."""
    network: NetworkMode = NetworkMode.PRIVATE
    published: tuple[Published, ...] = ()
    """Ports of a private network that the host has, too."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for programs that download something in the guest."""
    hostname: str = ""
    """The guest's host name, without its domain; '' for the name of the guest."""
    boot: bool = True
    binds: tuple[Bind, ...] = ()
    boot_timeout: float = 60.0
    """Seconds until the guest must be ready."""
    keep: bool = False
    """Whether the guest lives on after its context is left."""
    locks: tuple[int, ...] = ()
    """Descriptors of lock files that stay locked as long as the guest lives."""
    image: str = ""
    """Name of the image, for lists of guests."""
    systemd: int | None = None
    """Major version of systemd in the image; None if it is unknown."""
    emulated: bool = False
    """Whether its programs run through qemu-user."""
    purpose: str = ""
    """What the guest is for, for lists of guests."""
    given: str = ""
    """The name that the user chose; '' if the user chose none."""
    guests: int = 1
    """The number of guests among which the host is divided."""
    asked: limits.Asked = limits.NOTHING
    """Limits that the user asked for in place of this guest's share."""
    private_users: bool = False
    """Whether its users, root too, are not users of the host."""
    read_only: bool = False
    """Whether its root file system is mounted read-only."""
    machine: Machine | None = None
    """Its own hardware and kernel; None for a container, which shares the host's."""

    @property
    def owns_network(self) -> bool:
        """Whether its network is not the host's."""
        return self.network is not NetworkMode.HOST

    @property
    def limits(self) -> limits.Limits:
        """The limits of its resources."""
        return self.asked.instead_of(limits.of_host(self.guests))
