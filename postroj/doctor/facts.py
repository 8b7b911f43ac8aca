"""Looks at the host, one function a question; what can be tried is tried and not read from lists.

Trials happen in a mount namespace of their own, which takes all of its mounts and loop devices
with it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from postroj import paths, process
from postroj.container.cgroup import hierarchies
from postroj.container.cgroup.hierarchies import TRACKING, V2
from postroj.errors import CommandError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TRIAL_TIMEOUT = 30.0
EMPTY_TAR = bytes(10240)
VERSION = re.compile(r"(?<![\w.])v?(\d+(?!\d*-bit)[\w.~+-]*)")

KEYRINGS = (Path("/usr/share/keyrings/debian-archive-keyring.gpg"),)
MOUNT_SQUASHFS = 'mount -t squashfs -o loop,ro "$1/image" "$1/mounted"'
MOUNT_OVERLAY = """
mount -t tmpfs tmpfs "$1/mounted"
cd "$1/mounted"
mkdir lower upper work merged
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
"""
SERVE_NETWORK = """
mount -t tmpfs tmpfs "$1/mounted"
: > "$1/mounted/netns"
unshare --net="$1/mounted/netns" true
pasta --quiet --config-net --runas 0 --netns "$1/mounted/netns"
"""
"""As guests have it; pasta stays until all processes of the trial are ended."""
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


class Status(StrEnum):
    """How a requirement is met."""

    OK = "ok"
    MISSING = "missing"
    TOO_OLD = "too old"
    WARNING = "warning"
    """Might not do, or could not be tried."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question, and what it rests on."""

    status: Status
    found: str


def _not_tried(why: str) -> Finding:
    return Finding(Status.WARNING, f"not tried: {why}")


def root() -> Finding:
    """Whether we are root."""
    uid = os.geteuid()
    return Finding(Status.MISSING if uid else Status.OK, f"uid {uid}")


def python(oldest: tuple[int, int] = (3, 11)) -> Finding:
    """Whether this Python is new enough."""
    new = tuple(map(int, platform.python_version_tuple()[:2])) >= oldest
    return Finding(Status.OK if new else Status.TOO_OLD, platform.python_version())


def version_of(said: str) -> str:
    """Return the version in the first line of what a tool says of itself; '' if there is none."""
    match = VERSION.search(said.partition("\n")[0])
    return match[1] if match else ""


def tool(name: str, oldest: int = 0) -> Finding:
    """Whether a tool of the host is there, and its version; `oldest` is a major one."""
    try:
        said = process.run([name, "--version"], timeout=TRIAL_TIMEOUT).output
    except HostError:
        return Finding(Status.MISSING, "")
    except CommandError as error:
        return Finding(Status.WARNING, error.message)
    version = version_of(said)
    major = re.match(r"\d+", version)
    if oldest and (major is None or int(major[0]) < oldest):
        return Finding(Status.TOO_OLD, f"{version or 'no version'}, {oldest} or newer is needed")
    return Finding(Status.OK, version or "version not told")


def keyring() -> Finding:
    """Whether Debian's keys are there."""
    for path in KEYRINGS:
        if path.exists():
            return Finding(Status.OK, str(path))
    return Finding(Status.MISSING, "")


def newuidmap() -> Finding:
    """Look for what maps subordinate ids; it tells no version."""
    if os.geteuid() == 0:
        return Finding(Status.OK, "root needs none")
    try:
        return Finding(Status.OK, process.tool("newuidmap"))
    except HostError:
        return Finding(Status.MISSING, "")


def namespaces() -> Finding:
    """Whether namespaces of every kind that a guest has can be made."""
    kinds = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
    return _trial(["unshare", *kinds, "--fork", "true"], "all kinds were made")


def squashfs() -> Finding:
    """Whether a squashfs with lz4 can be mounted from a file."""
    return image_trial(MOUNT_SQUASHFS)


def image_trial(script: str) -> Finding:
    """Whether a script works that mounts a squashfs with lz4, `$1/image`, below `$1`."""
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        make = ["tar2sqfs", "--quiet", "--compressor", "lz4", f"{folder}/image"]
        try:
            process.run(make, stdin=EMPTY_TAR, timeout=TRIAL_TIMEOUT)
        except HostError:
            return _not_tried("'tar2sqfs' is missing")
        except CommandError as error:
            return Finding(Status.MISSING, f"no lz4: {process.last_lines(error.evidence, 1)}")
        return _mount_trial(script, Path(folder))


def pasta() -> Finding:
    """Whether pasta is there, and serves a network namespace that root has made."""
    found = tool("pasta")
    if found.status is not Status.OK or os.geteuid() != 0:
        return found
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        trial = _mount_trial(SERVE_NETWORK, Path(folder))
    if trial.status is not Status.MISSING:
        return found
    # its profile names the namespaces that it may enter
    why = "; AppArmor is on" if APPARMOR.exists() and APPARMOR.read_text().strip() == "Y" else ""
    return Finding(Status.WARNING, f"{found.found}, serves no network: {trial.found}{why}")


def overlay() -> Finding:
    """Whether an overlay can be mounted on a tmpfs."""
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        return _mount_trial(MOUNT_OVERLAY, Path(folder))


def _mount_trial(script: str, folder: Path) -> Finding:
    (folder / "mounted").mkdir()
    return _trial([*process.CONTAINED, "sh", "-euc", script, "sh", str(folder)], "was mounted")


def _trial(argv: list[str], success: str) -> Finding:
    """Whether a command which needs root works."""
    if os.geteuid() != 0:
        return _not_tried("only root may")
    try:
        process.run(argv, timeout=TRIAL_TIMEOUT)
    except HostError:
        return _not_tried(f"'{argv[0]}' is missing")
    except CommandError as error:
        return Finding(Status.MISSING, process.last_lines(error.evidence, 1) or error.message)
    return Finding(Status.OK, success)


def layout(found: Mapping[str, Path]) -> tuple[str, list[Path]]:
    """Return the name of this layout of hierarchies, and the hierarchies that every guest needs."""
    unified, tracking = found.get(V2), found.get(TRACKING)
    if unified == hierarchies.TOP:
        return "v2", [unified]
    if tracking and unified:
        return "v1 hybrid", [tracking, unified]
    return ("v1", [tracking]) if tracking else ("none", [])


def cgroups() -> Finding:
    """Check that guests can have control groups."""
    kind, parts = layout(hierarchies.mounted())
    if not parts:
        return Finding(Status.MISSING, f"nothing is mounted at '{hierarchies.TOP}'")
    if os.geteuid() != 0:
        return _not_tried("only root may")
    for part in parts:
        group = part / f"postroj-doctor-{os.getpid()}"
        try:
            group.mkdir()
            group.rmdir()
        except OSError as error:
            return Finding(Status.MISSING, f"{kind}, no group in '{part}': {error.strerror}")
    if kind == "v1":
        return Finding(Status.WARNING, "v1: guests with a recent systemd need v2 or hybrid")
    return Finding(Status.OK, f"{kind}, writable")


def disk(enough: int = 2 * 10**9) -> Finding:
    """Whether there is space for images."""
    cache = paths.cache_dir()
    folder = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    status = Status.OK if free >= enough else Status.WARNING
    return Finding(status, f"{free / 1e9:.1f} GB in '{cache}'")


def memory(enough: int = 512 * 10**6) -> Finding:
    """Whether there is memory for a few guests."""
    available = available_memory(Path("/proc/meminfo").read_text().splitlines())
    return Finding(
        Status.OK if available >= enough else Status.WARNING, f"{available / 1e9:.1f} GB available"
    )


def available_memory(meminfo: Iterable[str]) -> int:
    """Return the bytes that programs can have, from the lines of `/proc/meminfo`."""
    for line in meminfo:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0
