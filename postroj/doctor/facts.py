"""Facts about this host, one function for each requirement.

What can be tried is tried, in namespaces of its own that take the mounts and loop devices with
them. Nothing is derived from lists of versions or of distributions.
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

from postroj import paths, process, user
from postroj.container import disk as on_disk
from postroj.container.boot import launch
from postroj.container.cgroup import hierarchies
from postroj.container.cgroup.hierarchies import TRACKING, V2
from postroj.errors import CommandError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRIAL_TIMEOUT = 30.0
EMPTY_TAR = bytes(10240)
VERSION = re.compile(r"(?<![\w.])v?(\d+(?!\d*-bit)[\w.~+-]*)")

KEYRINGS = (Path("/usr/share/keyrings/debian-archive-keyring.gpg"),)
TRIALS = Path(__file__).with_name("trials.sh")
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


class Status(StrEnum):
    """How well this host meets a requirement."""

    OK = "ok"
    MISSING = "missing"
    TOO_OLD = "too old"
    WARNING = "warning"
    """It may be insufficient, or it could not be tried."""


@dataclass(frozen=True)
class Finding:
    """The status of one requirement, and what was found on this host."""

    status: Status
    found: str
    fix: tuple[str, ...] = ()
    """The command with which root gives what is missing, if it is not in a package."""


def _not_tried(why: str) -> Finding:
    return Finding(Status.WARNING, f"not tried: {why}")


def python(oldest: tuple[int, int] = (3, 11)) -> Finding:
    """Check the version of this Python."""
    new = tuple(map(int, platform.python_version_tuple()[:2])) >= oldest
    return Finding(Status.OK if new else Status.TOO_OLD, platform.python_version())


def version_of(output: str) -> str:
    """Return the version in the first line of a tool's `--version`; '' if it has none."""
    match = VERSION.search(output.partition("\n")[0])
    return match[1] if match else ""


def tool(name: str, oldest: int = 0) -> Finding:
    """Check that a tool is installed, with the major version `oldest` or newer."""
    try:
        output = process.run([name, "--version"], timeout=TRIAL_TIMEOUT).output
    except HostError:
        return Finding(Status.MISSING, "")
    except CommandError as error:
        return Finding(Status.WARNING, error.message)
    version = version_of(output)
    major = re.match(r"\d+", version)
    if oldest and (major is None or int(major[0]) < oldest):
        return Finding(Status.TOO_OLD, f"{version or 'no version'}, {oldest} or newer is needed")
    return Finding(Status.OK, version or "unknown version")


def keyring() -> Finding:
    """Check that Debian's keys are installed."""
    for path in KEYRINGS:
        if path.exists():
            return Finding(Status.OK, str(path))
    return Finding(Status.MISSING, "")


def namespaces() -> Finding:
    """Check that all kinds of namespaces that a guest has can be made."""
    kinds = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
    return _trial(["unshare", *kinds, "--fork", "true"], "all kinds were made")


def squashfs() -> Finding:
    """Check that a squashfs with lz4 can be mounted from a file."""
    if user.is_root():
        return image_trial("squashfs")
    return image_trial("squashfuse", str(paths.SQUASHFUSE))


def image_trial(trial: str, *words: str) -> Finding:
    """Run a trial of `trials.sh` with an empty squashfs that is compressed with lz4."""
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        make = ["tar2sqfs", "--quiet", "--compressor", "lz4", f"{folder}/image"]
        try:
            process.run(make, stdin=EMPTY_TAR, timeout=TRIAL_TIMEOUT)
        except HostError:
            return _not_tried("'tar2sqfs' is missing")
        except CommandError as error:
            return Finding(Status.MISSING, f"no lz4: {process.last_lines(error.evidence, 1)}")
        return _trial_in(Path(folder), trial, *words)


def pasta() -> Finding:
    """Check that pasta is installed, and serves a network namespace that root has made."""
    found = tool("pasta")
    if found.status is not Status.OK or os.geteuid() != 0:
        return found
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        trial = _trial_in(Path(folder), "pasta")
    if trial.status is not Status.MISSING:
        return found
    # pasta's AppArmor profile lists the namespaces that it may enter
    why = "; AppArmor is on" if APPARMOR.exists() and APPARMOR.read_text().strip() == "Y" else ""
    return Finding(Status.WARNING, f"{found.found}, serves no network: {trial.found}{why}")


def bwrap() -> Finding:
    """Check that bwrap is installed, and may make namespaces."""
    found = tool("bwrap")
    if found.status is not Status.OK:
        return found
    kinds = ("--unshare-net", "--unshare-pid", "--unshare-ipc")
    try:
        view = ("--ro-bind", "/", "/", "--proc", "/proc")
        process.run(["bwrap", *kinds, *view, "true"], timeout=TRIAL_TIMEOUT)
    except CommandError as error:
        why = process.last_lines(error.evidence, 1) or error.message
        return Finding(Status.WARNING, f"{found.found}, makes no namespaces: {why}")
    return found


def overlay() -> Finding:
    """Check that an overlay can be mounted on what guests write to."""
    options = launch.overlay_options(root=user.is_root())
    if not user.is_root() and os.geteuid() == 0 and on_disk.is_needed():
        try:
            with on_disk.claim() as claimed:
                success = "was mounted, on disk: a tmpfs keeps no attributes of users here"
                return _trial_in(claimed.path, "overlay-on-disk", options, success=success)
        except HostError as error:
            return Finding(Status.MISSING, error.reason.replace("\n", ": "))
    with TemporaryDirectory(prefix="postroj-doctor-") as folder:
        return _trial_in(Path(folder), "overlay", options)


def _trial_in(folder: Path, trial: str, *words: str, success: str = "was mounted") -> Finding:
    (folder / "mounted").mkdir()
    argv = [*process.CONTAINED, "sh", str(TRIALS), trial, str(folder), *words]
    return _trial(argv, success)


def _trial(argv: list[str], success: str) -> Finding:
    """Run a command that needs root; `success` is the finding if it works."""
    if os.geteuid() != 0:
        return _not_tried("only root may")
    return attempt(argv, success)


def attempt(argv: Sequence[str], success: str) -> Finding:
    """Run a command; `success` is the finding if it works."""
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
    if not user.is_root():
        kind, parts = "v2", [*hierarchies.homes().values()]
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
    """Check the free space for images."""
    cache = paths.cache_dir()
    folder = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    status = Status.OK if free >= enough else Status.WARNING
    return Finding(status, f"{free / 1e9:.1f} GB in '{cache}'")


def memory(enough: int = 512 * 10**6) -> Finding:
    """Check the available memory for a few guests."""
    available = available_memory(Path("/proc/meminfo").read_text().splitlines())
    return Finding(
        Status.OK if available >= enough else Status.WARNING, f"{available / 1e9:.1f} GB available"
    )


def available_memory(meminfo: Iterable[str]) -> int:
    """Return the bytes of `MemAvailable` in the lines of `/proc/meminfo`."""
    for line in meminfo:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0
