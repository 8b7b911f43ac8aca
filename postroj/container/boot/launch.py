"""The script that sets a guest up in namespaces of its own, starts nspawn, and lives while we do.

Nothing here runs anything. Facts and measurements: docs/explanation/guests.rst.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.boot import idmap, nspawn, readahead
from postroj.container.lifeline import KEEP
from postroj.container.network import pasta as network
from postroj.process import CONTAINED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroj.container.boot.nspawn import GuestSpec

NETWORK_UP = "network"
"""What a guest tells whose private network is up."""

STATUS = "status"
"""File of the run directory with the status of nspawn, which is that of the guest's init."""

UNPACKED = "unpacked"
"""File of the run directory that says that a layer could not be mounted, and was unpacked."""

NOBODY = (
    *("setpriv", "--no-new-privs", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all", "--"),
)
TAR = ("--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*")
"""What keeps owners, modes and file capabilities as they are in a layer, tar(1)."""

REBOOTED = 133
"""Status of nspawn whose guest reboots, made for a service's `RestartForceExitStatus=`."""

SIGNALLED = (128, 193)
"""Between these is a shell's status of what a signal has ended; an init that crashed has 255,
systemd's EXIT_EXCEPTION."""

LIVE_ON = (f'if read -r word && [ "$word" = {KEEP} ]; then wait $guest || :; fi',)
"""What the launch script waits for when its guest may be handed over."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of the launch script; `status` is the script's when it fails."""

    status: int
    failure: str
    hint: str


MOUNT_IMAGE = Stage(
    status=61,
    failure="the image could not be mounted",
    hint="`sudo postroj doctor` tries squashfs and loop devices on this host",
)
MOUNT_OVERLAY = Stage(
    status=62,
    failure="the guest's writable layer could not be mounted",
    hint="`sudo postroj doctor` tries overlayfs on this host",
)
NETWORK = Stage(
    status=63,
    failure="the guest's private network could not be set up",
    hint="is this host online? `--network=host` and `--network=none` need no pasta",
)
CGROUP = Stage(
    status=64,
    failure="the guest's control group could not be joined",
    hint="`sudo postroj doctor` shows whether control groups are writable here",
)
USERS = Stage(
    status=65,
    failure="the files of the image could not be given to the guest's own users",
    hint="`sudo postroj doctor` tries `--private-users` on this host; guests run without it, too",
)
LINKS = Stage(
    status=66,
    failure="the image has a link for /dev, /proc, /run or /sys, which would be followed here",
    hint="no distribution has that: where is the image from?",
)

STAGES = {
    stage.status: stage for stage in (MOUNT_IMAGE, MOUNT_OVERLAY, NETWORK, CGROUP, USERS, LINKS)
}
MAIMED = 67
"""Status of the launch script when nspawn was killed, whose guest would live on without it."""


def namespace_argv(script: str) -> list[str]:
    """The private mount and PID namespace in which `script` is PID 1.

    The kernel ends everything in a PID namespace with its PID 1, whoever survives SIGKILL of
    nspawn otherwise (the guest's own PID 1 does); mounts and loop devices go with the last process.
    """
    return [*CONTAINED, "sh", "-c", script]


def launch_script(
    spec: GuestSpec,
    run_dir: Path,
    cgroups: Sequence[Path],
    pasta: Sequence[str],
    os_release: str,
) -> str:
    """The script that sets a guest up in its namespaces, starts nspawn, and lives while we do.

    stdin is the lifeline: its end comes when postroj lets go of it, however postroj ends. A guest
    that is handed over first (`lifeline.KEEP`) lives until nspawn ends, or this script. stdout
    says a number when the network is up, pasta's, and `ENDED` when nspawn ended with its guest. A
    guest of which a part was killed ends as a whole, and says nothing. stderr is its console log.
    """
    mnt = run_dir / "mnt"
    lowers = [f"lower{number}" for number in range(len(spec.layers))]
    # relative to mnt, since a colon or a comma in a path would need escapes
    stacked = ":".join(["../seed", *reversed(lowers)])
    overlay = f"lowerdir={stacked},upperdir=upper,workdir=work,redirect_dir=on,metacopy=off"
    steps = [
        f"trap 'exit {MAIMED}' USR1",
        f"trap 'exit {NETWORK.status}' USR2",
        # outside of the guest's control group, in which no loop device can be opened
        *_beside("mounts", _mount_steps(spec, mnt, lowers, os_release)),
        # the first takes the kernel 5 to 20 ms
        *(_step(CGROUP, f"echo 0 > {shlex.quote(str(group))}") for group in cgroups),
        _wait("mounts"),
        shlex.join(["cd", str(mnt)]),
        *(_owner_steps(run_dir.name, lowers) if spec.private_users else []),
        *(_network_steps(mnt, pasta) if spec.network_first else []),
        _mount(MOUNT_OVERLAY, "overlay", overlay, "overlay", "root"),
        # nspawn 252 writes files to `/run`, and follows it on the host
        *(_step(LINKS, f"[ ! -L root/{name} ]") for name in ("dev", "proc", "run", "sys")),
        *(_var_steps() if spec.read_only else []),
        f"{{ {{ {_again(shlex.join(nspawn.nspawn_argv(spec, run_dir)))} }} 2>&1 | {CONSOLE};"
        f" {_END} }} 3>&2 &",
        *(["guest=$!"] if spec.keep else []),
        *(["read -r _ || :"] if not spec.keep else LIVE_ON),
    ]
    return "\n".join(["set -eu", "umask 022", *steps])


ENDED = "ended"
_END = (
    f"read -r status <../{STATUS};"
    f" if [ $status -gt {SIGNALLED[0]} ] && [ $status -lt {SIGNALLED[1]} ];"
    f" then kill -USR1 $$; else echo {ENDED}; fi;"
)
"""nspawn that was killed leaves its guest running: there this ends it."""
CONSOLE_SIZE = 16 << 20
"""Bytes of its console that are kept; a guest may print for ever."""
CONSOLE = (
    f"{{ (trap '' XFSZ; ulimit -f {CONSOLE_SIZE >> 9}; exec cat >&3 2>/dev/null) || :;"
    " exec cat >/dev/null; }"
)
"""What takes a guest's console, and writes at once what comes."""


def _again(command: str) -> str:
    """Start nspawn as often as it asks for: with `--keep-unit` it ends when its guest reboots.

    The status that it last ended with is left in the run directory.
    """
    run = f"status=0; {command} </dev/null >&2 || status=$?; echo $status >../{STATUS}"
    return f"while {run}; [ $status = {REBOOTED} ]; do :; done;"


def _mount_steps(spec: GuestSpec, mnt: Path, lowers: Sequence[str], os_release: str) -> list[str]:
    """Mount what the guest's root is made of, and over what is the host's and nspawn would use.

    All of its writable state lies in memory; inodes have no limit, as on a disk.
    """
    options = f"size={spec.limits.disk},mode=0755,nr_inodes=0"
    layers = [_mount_layer(path, lower) for path, lower in zip(spec.layers, lowers, strict=True)]
    ahead = f"{shlex.join(readahead.argv(lowers))} >/dev/null 2>&1 &"
    return [
        _mount(MOUNT_OVERLAY, "tmpfs", options, "tmpfs", str(mnt)),
        shlex.join(["cd", str(mnt)]),
        shlex.join(["mkdir", "upper", "work", "root", *lowers]),
        *_beside("layers", [*layers, *([ahead] if spec.boot else [])]),
        # nspawn leaves empty directories here when it is killed
        "[ -d /run/systemd/nspawn ] || mkdir -p /run/systemd/nspawn",
        _mount(MOUNT_OVERLAY, "tmpfs", "mode=0755", "tmpfs", "/run/systemd/nspawn"),
        # the host's own would be shown, and root in the guest could write to it
        _step(MOUNT_OVERLAY, f"printf %s {shlex.quote(os_release)} > os-release"),
        _step(MOUNT_OVERLAY, "[ ! -e /etc/os-release ] || mount --bind os-release /etc/os-release"),
        *([_netns(mnt)] if spec.network_first else []),
        _wait("layers"),
    ]


def _beside(name: str, steps: Sequence[str]) -> list[str]:
    """Do steps in a child, to wait for later."""
    return ["{", *steps, "} &", f"{name}=$!"]


def _wait(name: str) -> str:
    return f"wait ${name} || exit $?"


def _netns(mnt: Path) -> str:
    """Make a network namespace that is a file of the private tmpfs."""
    file = str(mnt / "netns")
    make = f": > {shlex.quote(file)} && {shlex.join(['unshare', f'--net={file}', 'true'])}"
    return _step(NETWORK, f"{{ {make}; }}")


def _network_steps(mnt: Path, pasta: Sequence[str]) -> list[str]:
    """Start pasta, which sets the network up while the guest boots, and tells when it has.

    A guest is not ready before, and does not outlive it: what fails there for want of a network is
    nobody's fault in it.
    """
    return [
        f"{{ {shlex.join([*pasta, *network.ATTENDED, '--netns', str(mnt / 'netns')])} || :;"
        " kill -USR2 $$; } &",
    ]


def _mount_layer(path: Path, lower: str) -> str:
    """Mount a layer; where it cannot be, unpack it into the guest's tmpfs, and leave `UNPACKED`.

    What it says is shown where both fail. The tool that reads it has no right of ours.
    """
    mount = ["mount", "-t", "squashfs", "-o", "loop,ro,nodev", str(path), lower]
    read = shlex.join([*NOBODY, "sqfs2tar", "/proc/self/fd/3"])
    write = shlex.join(["tar", "--extract", *TAR, "--directory", lower])
    unpack = f"{read} 3<{shlex.quote(str(path))} | {write} && : >../{UNPACKED}"
    failed = f"cat ../mount >&2; exit {MOUNT_IMAGE.status}"
    return f"{shlex.join(mount)} 2>../mount || {{ {unpack}; }} || {{ {failed}; }}"


def _owner_steps(name: str, lowers: Sequence[str]) -> list[str]:
    """Give all that the guest begins with to its own root."""
    base = idmap.base(name)
    return [
        _step(USERS, shlex.join(idmap.argv(base, lowers))),
        _step(USERS, shlex.join(["chown", "-R", f"{base}:{base}", "upper", "work", "../seed"])),
    ]


def _var_steps() -> list[str]:
    """Have a second way to `/var`, which stays open when nspawn closes the root file system."""
    return [
        _step(MOUNT_OVERLAY, "[ ! -L root/var ]"),  # else it leads to a folder of the host
        "mkdir var",
        _step(MOUNT_OVERLAY, "mount --bind root/var var"),
    ]


def _mount(stage: Stage, kind: str, options: str, source: str, target: str) -> str:
    return _step(stage, shlex.join(["mount", "-t", kind, "-o", options, source, target]))


def _step(stage: Stage, command: str) -> str:
    return f"{command} || exit {stage.status}"
