"""What a guest is to be, and nspawn's argv for it.

Nothing here runs anything. Facts and measurements: docs/explanation/guests.rst.
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
"""What `systemctl reboot` does once it has asked logind, which may keep it waiting for 25 seconds
where D-Bus or logind are restarting too. systemctl(1)"""

HOLDER = ("/bin/sh", "-c", "exec sleep 2147483647")
"""What a guest without init runs, so that there are namespaces to enter."""


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A file or directory of the host in the guest."""

    source: Path
    target: str
    read_only: bool

    @property
    def option(self) -> str:
        """As nspawn takes it (`:` and `\\` escaped, systemd-nspawn(1))."""
        parts = (str(self.source), self.target)
        escaped = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)
        return f"--bind{'-ro' if self.read_only else ''}={escaped}"


@dataclass(frozen=True, kw_only=True)
class GuestSpec:
    """What a guest is to be."""

    layers: tuple[Path, ...]
    """squashfs files, the image first, each later one on top."""
    network: NetworkMode = NetworkMode.PRIVATE
    published: tuple[Published, ...] = ()
    """Ports of the host that lead into a private network."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Variables for those who fetch something in it."""
    boot: bool = True
    binds: tuple[Bind, ...] = ()
    boot_timeout: float = 60.0
    """Seconds until the guest must be ready."""
    keep: bool = False
    """Whether it lives on when we are done with it."""
    holds: tuple[int, ...] = ()
    """Descriptors of locks that it holds for as long as it lives."""
    image: str = ""
    """Name of the image, for those who list guests."""
    systemd: int | None = None
    """Its major version in the image, where it is known."""
    emulated: bool = False
    """Whether its programs run through qemu-user."""
    purpose: str = ""
    """What the guest is for, for them too."""
    given: str = ""
    """The name that the user chose for it; '' if none was."""
    guests: int = 1
    """How many share what this host can give."""
    asked: limits.Asked = limits.NOTHING
    """Limits in place of its share."""
    private_users: bool = False
    """Whether its users are others than those of the host, root too."""
    read_only: bool = False
    """Whether its root file system can be read only."""

    @property
    def network_first(self) -> bool:
        """Whether it has a private network that is there before it.

        One that belongs to users of its own begins with its leader.
        """
        return self.network is NetworkMode.PRIVATE and not self.private_users

    @property
    def limits(self) -> limits.Limits:
        """The most that it takes."""
        return self.asked.instead_of(limits.of_host(self.guests))


def nspawn_argv(spec: GuestSpec, run_dir: Path) -> list[str]:
    """nspawn itself, without D-Bus, registration, or settings files of anybody."""
    network = {
        NetworkMode.PRIVATE: [f"--network-namespace-path={run_dir / 'mnt' / 'netns'}"],
        NetworkMode.NONE: ["--private-network"],
        NetworkMode.HOST: [],
    }[spec.network]
    users: list[str] = []
    if spec.private_users:
        # the network namespace must belong to its user namespace, or ports below 1024 are closed;
        # the capability is dropped as nspawn does it with a network namespace of ours
        network = ["--private-network", "--drop-capability=CAP_NET_ADMIN"]
        base = idmap.base(run_dir.name)
        users = [f"--private-users={base}:{idmap.IDS}", "--private-users-ownership=off"]
    boot = ["--boot", "--notify-ready=yes"] if spec.boot else ["--as-pid2"]
    payload = KERNEL_COMMAND_LINE if spec.boot else ("--", *HOLDER)
    return [
        *("systemd-nspawn", "--quiet", f"--machine={run_dir.name}"),
        f"--directory={run_dir / 'mnt' / 'root'}",
        # a guest that somebody ends must not look like one that shut itself down
        *("--register=no", "--keep-unit", "--settings=no", "--kill-signal=SIGKILL"),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        *network,
        *users,
        *(["--read-only", f"--bind={run_dir / 'mnt' / 'var'}:/var"] if spec.read_only else []),
        *(f"{bind.option}{':idmap' if spec.private_users else ''}" for bind in spec.binds),
        *boot,
        *payload,
    ]
