"""Convert the root partition of a raw disk to a squashfs file."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, NamedTuple

from postroj import process, user
from postroj.errors import CommandError, HostError, ImageError
from postroj.image.unpack import pack

if TYPE_CHECKING:
    from pathlib import Path

ROOT_TYPES = {
    # https://uapi-group.org/specifications/specs/discoverable_partitions_specification/
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "x86_64",
    "B921B045-1DF0-41C3-AF44-4C6F280D3FAE": "aarch64",
    "44479540-F297-41B2-9AF7-D131D5F0458A": "i686",
    "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3": "armv7l",
    "72EC70A6-CF74-40E6-BD49-4BDA08E8F224": "riscv64",
    "C31C45E6-3F39-412E-80FB-4809C4980599": "ppc64le",
    "5EEAD9A9-FE09-4A1E-A1D7-520D00531306": "s390x",
}
"""Types of root partitions."""
LINUX = ("0FC63DAF-8483-4772-8E79-3D69D8477DE4", "83")
"""Types of Linux partitions in GPT and MBR, used if there is no typed root and only one of them."""

WITHOUT_JOURNAL = {"ext3": ",noload", "ext4": ",noload", "xfs": ",norecovery"}
"""Mount options that leave a dirty journal alone."""


class Partition(NamedTuple):
    """Position of the root partition on a disk, in bytes."""

    start: int
    size: int


def root_partition(table: str) -> Partition:
    """Choose the root partition from the output of `sfdisk --json`.

    :raises ImageError: if there is none, or several that could be it.
    """
    data = json.loads(table)["partitiontable"]
    sector = int(data.get("sectorsize", 512))
    partitions = data.get("partitions", [])
    typed = [one for one in partitions if str(one["type"]).upper() in ROOT_TYPES]
    plain = [one for one in partitions if str(one["type"]).upper() in LINUX]
    found = typed or plain
    if len(found) != 1:
        count = len(found) or "no"
        message = f"the disk has {count} partitions that could be its root"
        kinds = "\n".join(f"{one['node']}: type {one['type']}" for one in partitions[:20])
        hint = "give the root partition the type of its architecture, as for `systemd-dissect`"
        raise ImageError(message, evidence=kinds, hint=hint)
    return Partition(int(found[0]["start"]) * sector, int(found[0]["size"]) * sector)


def squash(raw: Path, target: Path) -> None:
    """Make a squashfs file of a disk's root partition.

    :raises HostError: if we are not root.
    :raises ImageError: if there is no root partition, or it cannot be read.
    """
    if not user.is_root():
        message = "reading a disk means to mount it, which needs root"
        raise HostError(message, hint="run the same command with `sudo`")
    try:
        table = process.run(["sfdisk", "--json", str(raw)]).text
    except CommandError as error:
        message = "the disk has no partition table"
        raise ImageError(message, evidence=error.reason) from None
    place = root_partition(table)
    kind = _file_system(raw, place)
    pack.squash_output(read_argv(raw, place, kind), target)


def _file_system(raw: Path, place: Partition) -> str:
    """Return the type of the file system in a partition."""
    argv = ["blkid", "--probe", "--offset", str(place.start), "--size", str(place.size)]
    done = process.run([*argv, "--output", "value", "--match-tag", "TYPE", str(raw)], ok=(0, 2))
    if not done.text:
        message = "the root partition has no known file system"
        raise ImageError(message)
    return done.text


def read_argv(raw: Path, place: Partition, kind: str) -> list[str]:
    """Return the command line that writes a partition as tar, mounted in a private namespace."""
    options = f"ro,nodev,nosuid,noexec,loop,offset={place.start},sizelimit={place.size}"
    options += WITHOUT_JOURNAL.get(kind, "")
    point = str(raw.with_name("mnt"))
    mount = ["mount", "-t", kind, "-o", options, str(raw), point]
    script = f"{shlex.join(['mkdir', point])} && {shlex.join(mount)}"
    script += f" && exec {shlex.join(pack.tar_argv(point))}"
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
