"""Images that a user brings, in every shape, booted; and what of theirs is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.errors import DownloadError
from postroj.image import architectures, pull
from postroj.image.catalog.entry import Oci
from postroj.image.store import store
from postroj.model import SourceKind
from tests.support import oci
from tests.support.cli import postroj
from tests.support.images import entry
from tests.support.tars import tar
from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration


def mounted_below(folder: Path) -> list[str]:
    """Return the mounts and loop devices of this host that have to do with a folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            lines.append(path.read_text())
    return [line for line in lines if str(folder) in line]


BOOTED = ("sh", "-c", "systemctl is-system-running; hostname; stat -c %a /usr/bin/su")


@pytest.fixture(scope="module")
def tree(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root file system of a Debian, as a folder beside its tar."""
    folder = tmp_path_factory.mktemp("tree")
    squashfs = store.require(image, architectures.of_this_host()).path
    with (folder / "root.tar").open("wb") as stream:
        subprocess.run(["sqfs2tar", squashfs], stdout=stream, check=True)
    (folder / "root").mkdir()
    subprocess.run(["tar", "-xf", folder / "root.tar", "-C", folder / "root"], check=True)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def as_folder(tree: Path, _: Path) -> str:
    return str(tree / "root")


def as_tar(tree: Path, _: Path) -> str:
    return str(tree / "root.tar")


def as_zstd(tree: Path, folder: Path) -> str:
    subprocess.run(["zstd", "-q", tree / "root.tar", "-o", folder / "root.tar.zst"], check=True)
    return str(folder / "root.tar.zst")


def as_squashfs(tree: Path, folder: Path) -> str:
    argv = ["tar2sqfs", "-q", "-c", "gzip", "-X", "level=1", str(folder / "root.squashfs")]
    with (tree / "root.tar").open("rb") as stream:
        subprocess.run(argv, stdin=stream, check=True, stderr=subprocess.DEVNULL)
    return str(folder / "root.squashfs")


def as_disk(tree: Path, folder: Path) -> str:
    disk, partition = folder / "disk.raw", folder / "partition"
    with partition.open("wb") as stream:
        stream.truncate(600 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree / "root", partition], check=True)
    with disk.open("wb") as stream:
        stream.truncate(610 << 20)
    table = "label: gpt\nstart=1MiB, size=1MiB, type=uefi\nstart=2MiB, size=600MiB, type=linux\n"
    subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True)
    argv = ["dd", f"if={partition}", f"of={disk}", "bs=1M", "seek=2", "conv=notrunc,sparse"]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    partition.unlink()
    return str(disk)


@pytest.mark.parametrize("shape", [as_folder, as_tar, as_zstd, as_squashfs, as_disk])
def test_import_of_every_shape_boots(
    shape: Callable[[Path, Path], str], tree: Path, tmp_path: Path, cache: Path
) -> None:
    source = shape(tree, tmp_path)
    done = postroj("import", "mine", source)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "import mine ...")
    done = postroj("run", "--image", "mine", "--", *BOOTED)
    state, name, mode = done.stdout.splitlines()
    assert (done.returncode, state, mode) == (0, "running", "4755")
    assert name.startswith("postroj-")
    record = json.loads((cache / f"images/mine-{architectures.of_this_host()}.json").read_text())
    assert (record["source"], record["url"]) == ("import", source)
    assert (record["manager"], record["verification"]) == ("apt", "none")
    assert record["compression"] == ("" if shape is as_squashfs else "lz4")
    if shape is not as_folder:
        with Path(source).open("rb") as stream:
            assert record["artifact"] == hashlib.file_digest(stream, "sha256").hexdigest()
    assert not mounted_below(cache)
    assert [path.name for path in (cache / "partial").iterdir()] == [".lock"]


@pytest.fixture
def url(tree: Path) -> Iterator[str]:
    with served(tree) as base:
        yield f"{base}/root.tar"


def test_import_sha256_pins_a_url(url: str, tree: Path, cache: Path) -> None:
    digest = hashlib.sha256((tree / "root.tar").read_bytes()).hexdigest()
    done = postroj("import", "mine", url, "--sha256", digest.upper(), env=os.environ)
    assert (done.returncode, "digest" in done.stdout) == (0, True)
    done = postroj("import", "mine", url)
    assert done.returncode == 2
    assert "comes over http" in done.stderr
    done = postroj("import", "--allow-unverified", "mine", url)
    assert done.returncode == 2
    assert "there is an image 'mine' already" in done.stderr
    wrong = "0" * 64
    done = postroj("import", "--force", "mine", url, "--sha256", wrong)
    assert done.returncode == 4
    assert f"expected SHA-256 {wrong}" in done.stderr
    assert f"received SHA-256 {digest}" in done.stderr
    (record,) = store.records()
    assert (record.artifact, record.verification) == (digest, "digest")
    assert [path.name for path in (cache / "partial").iterdir()] == [".lock"]


def test_import_of_a_missing_url_says_so(url: str, cache: Path) -> None:
    done = postroj("import", "--allow-unverified", "mine", url + "x")
    assert (done.returncode, "does not exist" in done.stderr) == (4, True)
    assert not store.records()


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        ("debian-trixie", "/", "is the name of an image in the catalog"),
        ("debian-stable", "/", "is the name of an image in the catalog"),
        ("Mine", "/", "cannot be the name of an image"),
        ("../mine", "/", "cannot be the name of an image"),
        ("mine", "/nowhere/root.tar", "'/nowhere/root.tar' does not exist"),
        ("mine", "ftp://host/root.tar", "cannot be imported from 'ftp://'"),
    ],
)
def test_import_refuses_what_cannot_be_a_name_or_digest(
    name: str, source: str, sentence: str, cache: Path
) -> None:
    done = postroj("import", name, source)
    assert (done.returncode, sentence in done.stderr) == (2, True)
    assert not list(cache.glob("images/*.json"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the archive is empty"),
        (b"no archive at all" * 100, "it is not a tar archive"),
        (b"hsqs" + bytes(5000), "it is a squashfs file of version 0.0"),
        (b"QFI\xfb" + bytes(5000), "it is a disk in the format qcow2"),
        (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(5000), "it is a disk in the format vdi"),
        (bytes(510) + b"\x55\xaa" + bytes(5000), "partitions that could be its root"),
    ],
)
def test_import_refuses_a_file_that_is_not_an_image(
    content: bytes, sentence: str, tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    done = postroj("import", "mine", file)
    assert (done.returncode, sentence in done.stderr) == (4, True)
    assert sorted(path.name for path in (cache / "images").iterdir()) == []
    assert [path.name for path in (cache / "partial").iterdir()] == [".lock"]


def test_import_refuses_a_folder_without_a_root_file_system(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "tree/etc").mkdir(parents=True)
    done = postroj("import", "mine", tmp_path / "tree")
    assert (done.returncode, "it contains no root file system" in done.stderr) == (4, True)


def test_import_of_a_box_tells_how_to_convert_its_disk(tmp_path: Path, cache: Path) -> None:
    box = tmp_path / "my.box"
    files = (("metadata.json", {"data": b"{}"}), ("box.img", {"data": b"QFI\xfb"}))
    box.write_bytes(tar(*files, root=False))
    done = postroj("import", "mine", box)
    assert done.returncode == 4
    assert "hint: unpack it, convert its disk (`qemu-img convert -O raw box.img" in done.stderr


SECOND = tar(("etc/motd", {"data": b"second"}), ("etc/.wh.debian_version", {}), root=False)
"""A layer on top of another."""
LOOK = "systemctl is-system-running; cat /etc/motd; ls /etc/debian_version 2>&1"


def layout(tree: Path, folder: Path) -> Path:
    made = oci.Layout(folder / "layout")
    return made.finish(made.image([(tree / "root.tar").read_bytes(), SECOND]))


def as_docker_archive(tree: Path, folder: Path) -> str:
    target = f"docker-archive:{folder}/saved.tar:one:1"
    argv = ["skopeo", "copy", "--quiet", f"oci:{layout(tree, folder)}", target]
    subprocess.run(argv, check=True)
    return f"{folder}/saved.tar"


def as_oci_archive(tree: Path, folder: Path) -> str:
    archive = f"{folder}/oci.tar.zst"
    subprocess.run(["tar", "-C", layout(tree, folder), "--zstd", "-cf", archive, "."], check=True)
    return archive


@pytest.mark.parametrize("shape", [as_docker_archive, as_oci_archive])
def test_import_of_an_oci_archive_boots(
    shape: Callable[[Path, Path], str], tree: Path, tmp_path: Path, cache: Path
) -> None:
    done = postroj("import", "mine", shape(tree, tmp_path))
    assert done.returncode == 0, done.stderr
    done = postroj("run", "--image", "mine", "--", "sh", "-c", LOOK)
    running, *rest = done.stdout.splitlines()
    assert running == "running"
    assert rest == ["secondls: cannot access '/etc/debian_version': No such file or directory"]


def test_import_from_a_registry_boots(tree: Path, tmp_path: Path, cache: Path) -> None:
    with oci.registry(tmp_path / "registry") as registry:
        name = registry.push(layout(tree, tmp_path), "some/where:1")
        done = postroj("import", "mine", f"docker://{name}")
        assert done.returncode == 0, done.stderr
        source = Oci(reference=name)
        with pytest.raises(DownloadError, match="nothere"):
            pull.pull(entry("other-1", Oci(reference=f"{registry.address}/some/nothere:1")))
        pulled = pull.pull(entry("other-1", source)).record
    (brought,) = (record for record in store.records() if record.name == "mine")
    assert (brought.source, brought.artifact) == (SourceKind.IMPORT, pulled.artifact)
    assert (pulled.source, pulled.build) == (SourceKind.OCI, "1")
    assert pulled.url == f"docker://{registry.address}/some/where@sha256:{pulled.artifact}"

    done = postroj("run", "--image", "mine", "--", "sh", "-c", LOOK)
    assert done.stdout.splitlines()[0] == "running"
