"""The specification of a guest, and nspawn's command line for it.

Nothing is run here. docs/explanation/guests.rst has facts and measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroj.container.boot import idmap
from postroj.container.boot.masks import KERNEL_COMMAND_LINE
from postroj.container.cgroup import limits
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroj.container.network.publish import Published

REBOOT = (
    *("systemctl", "start", "--no-block", "--job-mode=replace-irreversibly"),
    "reboot.target",
)
"""The job that `systemctl reboot` starts after it has asked logind, systemctl(1). logind may take
25 seconds to answer if D-Bus or logind itself is restarting."""

HOLDER = ("/bin/sh", "-c", "exec sleep 2147483647")
"""The only process of a guest without init, so that there are namespaces to enter."""


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A file or folder of the host that the guest sees."""

    source: Path
    target: str
    read_only: bool

    @property
    def option(self) -> str:
        """Return nspawn's option, with `:` and `\\` escaped, systemd-nspawn(1)."""
        parts = (str(self.source), self.target)
        escaped = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)
        return f"--bind{'-ro' if self.read_only else ''}={escaped}"


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

    @property
    def network_first(self) -> bool:
        """Whether the guest has a private network that is made before it.

        With private users the network is made with the leader.
        """
        return self.network is NetworkMode.PRIVATE and not self.private_users

    @property
    def limits(self) -> limits.Limits:
        """The limits of its resources."""
        return self.asked.instead_of(limits.of_host(self.guests))


def nspawn_argv(spec: GuestSpec, run_dir: Path) -> list[str]:
    """Return nspawn's command line, which uses no D-Bus, no registration and no settings files."""
    network = {
        NetworkMode.PRIVATE: [f"--network-namespace-path={run_dir / 'mnt' / 'netns'}"],
        NetworkMode.NONE: ["--private-network"],
        NetworkMode.HOST: [],
    }[spec.network]
    users: list[str] = []
    if spec.private_users:
        # ports below 1024 are closed if the network namespace belongs to another user namespace;
        # nspawn drops the capability by itself if it is given a network namespace
        network = ["--private-network", "--drop-capability=CAP_NET_ADMIN"]
        base = idmap.base(run_dir.name)
        users = [f"--private-users={base}:{idmap.IDS}", "--private-users-ownership=off"]
    boot = ["--boot", "--notify-ready=yes"] if spec.boot else ["--as-pid2"]
    payload = KERNEL_COMMAND_LINE if spec.boot else ("--", *HOLDER)
    return [
        *("systemd-nspawn", "--quiet", f"--machine={run_dir.name}"),
        f"--directory={run_dir / 'mnt' / 'root'}",
        # a guest that was ended from outside must not look like one that shut itself down
        *("--register=no", "--keep-unit", "--settings=no", "--kill-signal=SIGKILL"),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        *network,
        *users,
        *(["--read-only", f"--bind={run_dir / 'mnt' / 'var'}:/var"] if spec.read_only else []),
        *(f"{bind.option}{':idmap' if spec.private_users else ''}" for bind in spec.binds),
        *boot,
        *payload,
    ]
