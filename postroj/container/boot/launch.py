"""The command line of `launch.sh`, which runs a guest, and what its exit status means.

Nothing is run here. docs/explanation/guests.rst has facts and measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import paths
from postroj.container.boot import idmap, nspawn, readahead
from postroj.container.cgroup.scope import DIVIDE
from postroj.container.network.pasta import ATTENDED
from postroj.model import NetworkMode
from postroj.process import CONTAINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.host import Host
    from postroj.container.spec import GuestSpec

SCRIPT = Path(__file__).with_name("launch.sh")

STATUS = "status"
"""File of the run directory with the exit status of nspawn, which is that of the guest's init."""

KILLED = "killed"
"""File of the run directory that exists if nspawn itself said that SIGKILL ended its guest."""

UNPACKED = "unpacked"
"""File of the run directory that exists if a layer was unpacked, since it could not be mounted."""

# nspawn asks for the group of PID 1, so the namespace is made above that: in the guest's own group,
# which must be empty again before its controllers are handed down.
JOIN = 'echo 0 >"$1/cgroup.procs" || exit 64; exec unshare --cgroup sh "$0" "$@"'

REBOOTED = 133
"""Status of nspawn when its guest reboots."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of the launch script that can fail; `status` is the script's exit status then."""

    status: int
    failure: str
    hint: str


MOUNT_IMAGE = Stage(
    status=61,
    failure="the image could not be mounted",
    hint="`postroj doctor` tries squashfs and loop devices on this host",
)
MOUNT_OVERLAY = Stage(
    status=62,
    failure="the guest's writable layer could not be mounted",
    hint="`postroj doctor` tries overlayfs on this host",
)
NETWORK = Stage(
    status=63,
    failure="the guest's private network could not be set up",
    hint="is this host online? `--network=host` and `--network=none` need no pasta",
)
CGROUP = Stage(
    status=64,
    failure="the guest's control group could not be joined",
    hint="`postroj doctor` shows whether control groups are writable here",
)
USERS = Stage(
    status=65,
    failure="the files of the image could not be given to the guest's own users",
    hint="`postroj doctor` tries `--private-users` on this host; guests run without it, too",
)
LINKS = Stage(
    status=66,
    failure="the image has a link for /dev, /proc, /run or /sys, which would be followed here",
    hint="no distribution has that: where is the image from?",
)

STAGES = {
    stage.status: stage for stage in (MOUNT_IMAGE, MOUNT_OVERLAY, NETWORK, CGROUP, USERS, LINKS)
}


def overlay_options(*, root: bool) -> str:
    """Return the options of an overlay that root of the host mounts, or others.

    Only root may set the attributes `trusted.*`, overlayfs.rst of the kernel.
    """
    return "redirect_dir=on,metacopy=off" if root else "userxattr"


def launch_argv(
    spec: GuestSpec,
    run_dir: Path,
    groups: Sequence[Path],
    divided: Path | None,
    pasta: Sequence[str],
    host: Host,
    disk: Path | None = None,
) -> list[str]:
    """Return the command that runs the guest of `spec` for as long as its stdin is open.

    The script is PID 1 of a PID namespace. The kernel ends everything in it with the script, also
    the guest's own PID 1, which survives a SIGKILL of nspawn; mounts and loop devices go with the
    last process. `groups` are the files of control groups to join, `divided` is the guest's group
    of cgroup v2, if it has one; `disk` the folder that takes the place of its tmpfs, if any.
    """
    lowers = [f"lower{number}" for number in range(len(spec.layers))]
    netns = run_dir / "mnt" / "netns"
    base = idmap.base(run_dir.name)
    network = _network(spec, root=host.root)
    settings: dict[str, object] = {
        "run_dir": run_dir,
        "size": spec.limits.disk,
        "disk": disk or "",
        "lowerdir": ":".join(["../seed", *reversed(lowers)]),
        "overlay": overlay_options(root=host.root),
        "fuse": "" if host.root else paths.SQUASHFUSE,
        "os_release": host.os_release,
        "network": network,
        "divided": divided or "",
        "base": base if spec.private_users else "",
        "read_only": "yes" if spec.read_only else "",
    }
    lists = (
        map(str, spec.layers),
        readahead.argv(lowers) if spec.boot else (),
        map(str, groups) if host.root else (),
        idmap.argv(base, lowers) if spec.private_users else (),
        [*pasta, *ATTENDED, "--netns", str(netns)] if network else (),
    )
    return [
        *(("sh", "-c", JOIN, str(DIVIDE), str(divided)) if groups and not host.root else ()),
        *(*CONTAINED, "sh", str(SCRIPT)),
        *(f"{name}={value}" for name, value in settings.items()),
        *(word for words in lists for word in ("--", *words)),
        *("--", *nspawn.nspawn_argv(spec, run_dir, root=host.root)),
    ]


def _network(spec: GuestSpec, *, root: bool) -> str:
    """Return which namespace pasta serves; '' without pasta.

    Ports below 1024 are closed if the namespace belongs to another user namespace than the guest,
    and who is not `root` of the host cannot mount `/sys` for one that was made before.
    """
    if spec.network is not NetworkMode.PRIVATE:
        return ""
    return "first" if root and not spec.private_users else "own"
