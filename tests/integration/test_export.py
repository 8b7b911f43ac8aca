"""What is exported is, bit by bit, what a guest of the image sees, in every format."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.image import architectures
from postroj.image.store import store
from postroj.image.unpack import disk
from tests.support.cli import all_argv, eventually, postroj, start
from tests.support.listing import mounted

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

ARCH = architectures.of_this_host()
BASE = "debian-bookworm"
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""`cap_net_raw+ep`, as setcap writes it."""


@pytest.fixture(scope="module")
def cache(
    pulled: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A cache with a bootstrapped image and one that has a layer more, and what that one is."""
    pulled(BASE)
    folder = tmp_path_factory.mktemp("export")
    cache, tree = folder / "cache", folder / "tree"
    base = store.require(BASE, ARCH)
    with pytest.MonkeyPatch.context() as patch:
        source = base.path
        patch.setenv("POSTROJ_CACHE_DIR", str(cache))
        store.prepare()
        for name in ("base", "layered"):
            with store.building(name, ARCH) as directory:
                copy = directory / "image.squashfs"
                shutil.copy(source, copy)
                store.add(name, ARCH, base.manager, copy, base)
        with store.building("layered", ARCH) as directory:
            file = directory / "layer.squashfs"
            make_layer(tree, file)
            layered = store.extend(store.require("layered", ARCH), file, ("more",), directory)
        lower, upper = layered.paths
    script = (
        'cd "$(dirname "$0")"; mkdir -p a b; mount -o loop,ro "$1" a; mount -o loop,ro "$2" b;'
        " mount -t overlay -o ro,lowerdir=b:a overlay merged"
    )
    (folder / "merged").mkdir()
    return cache, mounted(script, folder / "merged", lower, upper)


def make_layer(tree: Path, target: Path) -> None:
    """Make a layer that has all that gets lost easily, and that takes away files of the base."""
    (tree / "opt/odd name\n").mkdir(parents=True)
    setuid = tree / "opt/setuid"
    setuid.write_bytes(b"\x7fELF")
    os.chown(setuid, 1, 2)
    setuid.chmod(0o6751)
    (tree / "opt/same").hardlink_to(setuid)
    capable = tree / "opt/capable"
    capable.write_bytes(b"\x7fELF")
    os.setxattr(capable, "security.capability", CAPABILITY)
    os.setxattr(capable, "trusted.origin", b"\x00\xff")
    (tree / "opt/link").symlink_to("/nowhere/at/all")
    os.mkfifo(tree / "opt/pipe", 0o640)
    os.mknod(tree / "opt/null", 0o666 | 0o020000, os.makedev(1, 3))
    os.utime(capable, (981173106, 981173106))
    # as overlayfs has it: a file that is gone, and a folder that hides the one below
    (tree / "etc").mkdir()
    os.mknod(tree / "etc/debian_version", 0o020000, os.makedev(0, 0))
    (tree / "etc/skel").mkdir()
    os.setxattr(tree / "etc/skel", "trusted.overlay.opaque", b"y")
    (tree / "etc/skel/only").touch()
    argv = ["mksquashfs", str(tree), str(target), "-quiet", "-no-progress", "-xattrs"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(autouse=True)
def own_folders(cache: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(cache[0]))
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / "state"))


def export(name: str, file: Path) -> None:
    done = postroj("export", name, file)
    assert done.returncode == 0, done.stderr


def unpacked(archive: Path) -> dict[str, Any]:
    """What is in a tar, unpacked in memory."""
    script = (
        'mount -t tmpfs tmpfs "$0";'
        ' tar -C "$0" --xattrs "--xattrs-include=*" --same-owner -xpf "$1"'
    )
    point = archive.parent / "unpacked"
    point.mkdir()
    return mounted(script, point, archive)


def test_exported_image_has_files_of_every_kind(cache: tuple[Path, dict[str, Any]]) -> None:
    _, seen = cache
    assert seen["opt/setuid"]["mode"] == "-rwsr-s--x"
    assert seen["opt/setuid"]["owner"] == [1, 2]
    assert seen["opt/same"]["same as"] == "opt/same"
    assert seen["opt/setuid"]["same as"] == "opt/same"
    assert seen["opt/capable"]["xattrs"]["security.capability"] == CAPABILITY.hex()
    assert seen["opt/capable"]["time"] == 981173106
    assert "etc/debian_version" not in seen
    assert [path for path in seen if path.startswith("etc/skel/")] == ["etc/skel/only"]
    assert seen["usr/bin/su"]["mode"] == "-rwsr-xr-x"
    assert seen["usr/bin/perl"]["links"] > 1
    assert len(seen) > 5000


def test_export_merges_several_layers_into_one_tar(
    cache: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    export("layered", tmp_path / "out.tar.zst")
    assert unpacked(tmp_path / "out.tar.zst") == cache[1]


def test_export_of_one_layer_to_tar_is_the_image(tmp_path: Path) -> None:
    path = store.require("base", ARCH).path
    (tmp_path / "mnt").mkdir()
    expected = mounted('mount -o loop,ro "$1" "$0"', tmp_path / "mnt", path)
    export("base", tmp_path / "out.tar")
    assert unpacked(tmp_path / "out.tar") == expected


def test_export_merges_several_layers_into_one_squashfs(
    cache: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    export("layered", tmp_path / "out.squashfs")
    (tmp_path / "mnt").mkdir()
    out = mounted('mount -o loop,ro "$1" "$0"', tmp_path / "mnt", tmp_path / "out.squashfs")
    assert out == cache[1]


class TestDisk:
    """A disk, as other tools see it."""

    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        export("base", tmp_path / "out.raw")
        return tmp_path / "out.raw"

    def test_raw_disk_has_a_table_and_one_partition(self, raw: Path) -> None:
        argv = ["sfdisk", "--json", str(raw)]
        table = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert table.stderr == ""
        place = disk.root_partition(table.stdout)
        content = store.require("base", ARCH).path.read_bytes()
        with raw.open("rb") as stream:
            stream.seek(place.start)
            assert stream.read(len(content)) == content
        assert 0 <= place.size - len(content) < 512
        assert "GUID:60" in table.stdout
        argv = ["sfdisk", "--verify", str(raw)]
        checked = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert "No errors detected" in checked.stdout

    def test_raw_disk_is_accepted_by_systemd_dissect(self, raw: Path) -> None:
        done = subprocess.run(
            ["systemd-dissect", "--no-pager", raw],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "PRETTY_NAME=Debian GNU/Linux 12 (bookworm)" in done.stdout
        assert "✓ bootable system for container" in done.stdout
        (row,) = (line for line in done.stdout.splitlines() if " squashfs " in line)
        assert row.split()[:2] == ["ro", "root"]

    def test_raw_disk_of_the_same_image_has_the_same_bytes(self, raw: Path, tmp_path: Path) -> None:
        export("base", tmp_path / "again.raw")
        assert (tmp_path / "again.raw").read_bytes() == raw.read_bytes()


def used(cache: Path) -> list[str]:
    """Loop devices with files of a cache, and processes that name one."""
    loops = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    words = [argv.decode(errors="replace") for argv in all_argv()]
    return [text for text in (*loops, *words) if str(cache) in text]


@pytest.mark.parametrize("name", ["out.tar.zst", "out.raw"])
def test_export_that_is_killed_leaves_nothing(
    name: str, cache: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start("export", "layered", folder / name)
    assert eventually(lambda: used(cache[0]))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert list(folder.iterdir()) == []
    assert eventually(lambda: not used(cache[0]), 5)
    done = postroj("prune")
    assert (done.returncode, "export-" in done.stdout) == (0, True)
    for left in (tmp_path / "state", cache[0] / "partial"):
        assert [path.name for path in left.iterdir()] == [".lock"]


def test_export_of_several_layers_is_refused_without_root(tmp_path: Path) -> None:
    reading = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *reading)
    words = [*user, "env", "-C", "/", *start_argv("export", "layered", "-")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert "no control groups of version 2" in done.stderr
    assert "`sudo postroj` needs none" in done.stderr


def start_argv(*words: str) -> list[str]:
    from tests.support.cli import POSTROJ

    return [*POSTROJ, *words]
