"""Make the archives and packages that the benchmarks use."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from postroj.image import architectures, pull
from postroj.image.catalog import catalog
from postroj.image.store import store

IMAGE = "debian-bookworm"
POSTROJ = str(Path(sys.executable).with_name("postroj"))
DOWNLOAD = """\
apt-get --quiet update >&2
cd /tmp
apt-get --quiet --option=APT::Sandbox::User=root download "$1" >&2
cat *.deb
"""


def archive(folder: Path, megabytes: int) -> Path:
    """Make a bootable rootfs.tar.xz of Debian, enlarged by random data."""
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, architectures.of_this_host())
    path = folder / "rootfs.tar"
    with path.open("wb") as stream:
        subprocess.run(["sqfs2tar", record.path], stdout=stream, check=True)
    with tarfile.open(path, "a") as tar:
        for number in range(megabytes):
            member = tarfile.TarInfo(f"usr/share/bench/{number}")
            member.size = 1_000_000
            tar.addfile(member, BytesIO(os.urandom(member.size)))
    subprocess.run(["xz", "--threads=0", path], check=True)
    return path.with_suffix(".tar.xz")


def daemon(folder: Path, name: str, image: str) -> Path:
    """Download a package from the mirror of an image."""
    path = folder / f"{name}.deb"
    argv = [POSTROJ, "--quiet", "run", "--no-boot", "--image", image, "--"]
    with path.open("wb") as stream:
        subprocess.run([*argv, "sh", "-ec", DOWNLOAD, "sh", name], stdout=stream, check=True)
    return path


def raised(package: Path) -> Path:
    """Make the same package in a higher version."""
    tree = package.with_suffix(".tree")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    newer = (f"{ln.rstrip()}+bench\n" if ln.startswith("Version:") else ln for ln in lines)
    control.write_text("".join(newer))
    path = package.with_suffix(".newer.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, path], check=True)
    return path
