"""nspawn's command line for a guest.

Nothing is run here. docs/explanation/guests.rst has facts and measurements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.container.boot import idmap
from postroj.container.boot.masks import KERNEL_COMMAND_LINE
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.container.spec import Bind, GuestSpec

HOLDER = ("/bin/sh", "-c", "exec sleep 2147483647")
"""The only process of a guest without init, so that there are namespaces to enter."""


GRANTED = ("CAP_IPC_LOCK", "CAP_SYS_RESOURCE")
"""Capabilities that nspawn withholds and that cost no safety, docs/explanation/sandbox.rst."""
OWN_NETWORK = "CAP_NET_ADMIN"
"""nspawn grants it with a network that it makes itself.

Not where pasta serves the network: root could lead its packets to the host's loopback.
"""


# nspawn looks for its group below the top of what is mounted there. The tmpfs is in between, as the
# kernel mounts no file system over itself.
MOUNT_GROUPS = """\
mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@\""""
WITH_OWN_GROUPS = (
    *("unshare", "--mount", "--propagation", "slave"),
    *("sh", "-c", MOUNT_GROUPS, "sh"),
)


def nspawn_argv(spec: GuestSpec, run_dir: Path, *, root: bool = True) -> list[str]:
    """Return nspawn's command line, which uses no D-Bus, no registration and no settings files.

    `root` is whether root of the host runs it.
    """
    network = {
        NetworkMode.PRIVATE: [f"--network-namespace-path={run_dir / 'mnt' / 'netns'}"],
        NetworkMode.NONE: ["--private-network"],
        NetworkMode.HOST: [],
    }[spec.network]
    users: list[str] = []
    if spec.private_users or (spec.network is NetworkMode.PRIVATE and not root):
        network = ["--private-network", f"--drop-capability={OWN_NETWORK}"]
    if spec.private_users:
        base = idmap.base(run_dir.name)
        users = [f"--private-users={base}:{idmap.IDS}", "--private-users-ownership=off"]
    boot = ["--boot", "--notify-ready=yes"] if spec.boot else ["--as-pid2"]
    payload = KERNEL_COMMAND_LINE if spec.boot else ("--", *HOLDER)
    return [
        *(() if root else WITH_OWN_GROUPS),
        *("systemd-nspawn", "--quiet", f"--machine={run_dir.name}"),
        f"--directory={run_dir / 'mnt' / 'root'}",
        # a guest that was ended from outside must not look like one that shut itself down
        *("--register=no", "--keep-unit", "--settings=no", "--kill-signal=SIGKILL"),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        f"--capability={','.join(GRANTED)}",
        # without init nobody reads /etc/hostname
        *([f"--hostname={spec.hostname}"] if spec.hostname else []),
        *network,
        *users,
        *(["--read-only", f"--bind={run_dir / 'mnt' / 'var'}:/var"] if spec.read_only else []),
        *(f"{bind_option(bind)}{':idmap' if spec.private_users else ''}" for bind in spec.binds),
        *boot,
        *payload,
    ]


def bind_option(bind: Bind) -> str:
    """Return nspawn's option, with `:` and `\\` escaped, systemd-nspawn(1)."""
    parts = (str(bind.source), bind.target)
    escaped = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)
    return f"--bind{'-ro' if bind.read_only else ''}={escaped}"
