from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import ImageError, VerificationError
from postroj.image.architectures import of_this_host
from postroj.image.unpack import bundle
from postroj.image.unpack.bundle import Archive, is_container_archive
from postroj.image.unpack.decompress import Decompressor
from postroj.image.unpack.flatten import flatten
from tests.support.oci import HERE, Layout, digest, platform
from tests.support.tars import COMPRESSIONS, Member, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER = "s390x" if HERE != "s390x" else "amd64"
LAYERS = [
    tar(("etc/gone", {"data": b"x"}), ("etc/kept", {"data": b"1"})),
    tar(("etc/.wh.gone", {}), ("etc/new", {"data": b"2"}), root=False),
]
THERE = {"etc/kept": b"1", "etc/new": b"2"}


def packed(folder: Path) -> bytes:
    """A layout as a tar, as `tar -C FOLDER -c .` makes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        out.add(folder, ".")
    return buffer.getvalue()


def docker_save(
    layers: list[bytes] = LAYERS, machine: str = HERE, **more: Any
) -> list[tuple[str, dict[str, Any]]]:
    """The members of what `docker save` writes, before version 25."""
    config = {"architecture": machine, "os": "linux"}
    ids = [f"sha256:{digest(layer)}" for layer in layers]
    data = json.dumps(config | {"rootfs": {"type": "layers", "diff_ids": ids}} | more).encode()
    names = [f"{digest(b'id' + layer)}/layer.tar" for layer in layers]
    about = f"{digest(data)}.json"
    image = {"Config": about, "RepoTags": ["some:1"], "Layers": names}
    return [
        *((name, {"data": layer}) for name, layer in zip(names, layers, strict=True)),
        (about, {"data": data}),
        ("manifest.json", {"data": json.dumps([image]).encode()}),
        ("repositories", {"data": b"{}"}),
    ]


def content(data: bytes, directory: Path, machine: str = "") -> dict[str, bytes]:
    """Files of `etc` in the root file system of an archive."""
    out = io.BytesIO()
    archive = Archive(directory)
    with Decompressor(archive.store) as plain:
        plain.write(data)
    flatten(archive.layers(machine or of_this_host()), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as flat:
        streams = {member.name: flat.extractfile(member) for member in flat}
    return {name: stream.read() for name, stream in streams.items() if stream and "etc" in name}


def test_oci_layout_is_converted(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.image([gzip.compress(LAYERS[0]), LAYERS[1]])
    data = packed(layout.finish(image))
    assert is_container_archive(data[:4096])
    assert content(data, tmp_path) == THERE


def test_oci_layout_of_several_platforms(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    other = layout.image([tar()], OTHER, **platform(OTHER))
    data = packed(layout.finish(layout.index(other, layout.image(LAYERS, **platform(HERE)))))
    assert content(data, tmp_path) == THERE
    (tmp_path / "again").mkdir()
    with pytest.raises(ImageError, match="the image does not exist for the architecture 'riscv64'"):
        content(data, tmp_path / "again", "riscv64")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_docker_archive_is_converted(suffix: str, tmp_path: Path) -> None:
    data = tar(*docker_save(), root=False)
    assert is_container_archive(data[:4096])
    assert content(COMPRESSIONS[suffix](data), tmp_path) == THERE


def test_links_in_an_archive_are_followed(tmp_path: Path) -> None:
    first, second, *rest = docker_save()
    moved = (f"{'0' * 64}/layer.tar", first[1])
    link = (first[0], {"type": tarfile.SYMTYPE, "linkname": f"../{moved[0]}"})
    hard = (f"{'1' * 64}/layer.tar", second[1])
    members: list[Member] = [moved, link, hard, (second[0], {"type": tarfile.LNKTYPE})]
    members[-1][1]["linkname"] = hard[0]
    assert content(tar(*members, *rest, root=False), tmp_path) == THERE


def test_docker_archive_with_compressed_layers(tmp_path: Path) -> None:
    members = docker_save()
    for _, about in members[:2]:
        about["data"] = gzip.compress(about["data"])
    assert content(tar(*members, root=False), tmp_path) == THERE


def broken_blob(layout: Layout, image: dict[str, Any]) -> None:
    path = layout.folder / "blobs/sha256" / digest(LAYERS[1])
    path.write_bytes(LAYERS[1].replace(b"2", b"3"))


def missing_blob(layout: Layout, image: dict[str, Any]) -> None:
    (layout.folder / "blobs/sha256" / digest(LAYERS[1])).unlink()


def broken_manifest(layout: Layout, image: dict[str, Any]) -> None:
    path = layout.folder / "blobs/sha256" / image["digest"][7:]
    path.write_bytes(path.read_bytes() + b" ")


def circle(layout: Layout, image: dict[str, Any]) -> None:
    name = layout.folder / "blobs/sha256" / digest(LAYERS[1])
    name.unlink()
    name.symlink_to(name.name)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (broken_blob, VerificationError, "does not match its digest"),
        (broken_manifest, VerificationError, "does not match its digest"),
        (missing_blob, ImageError, "is incomplete"),
        (circle, ImageError, "is incomplete"),
    ],
)
def test_damaged_oci_layouts_are_refused(
    damage: Callable[[Layout, dict[str, Any]], None],
    kind: type[ImageError],
    message: str,
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.image(LAYERS)
    layout.finish(image)
    damage(layout, image)
    with pytest.raises(kind, match=message):
        content(packed(layout.folder), tmp_path)


@pytest.mark.parametrize(
    ("members", "kind", "message"),
    [
        (docker_save(machine=OTHER), ImageError, "the image does not exist for the architecture"),
        (docker_save(rootfs={"diff_ids": []}), ImageError, "2 layers but 0 digests"),
        (docker_save(rootfs={"diff_ids": ["x"] * 2}), ImageError, "not a SHA-256"),
        (
            docker_save(rootfs={"diff_ids": ["sha256:" + "0" * 64] * 2}),
            VerificationError,
            "does not match its digest",
        ),
        (docker_save()[1:], ImageError, "is incomplete"),
        ([("manifest.json", {"data": b"{}"})], ImageError, "cannot be read"),
        ([("manifest.json", {"data": b"[]"})], ImageError, "has no image"),
        ([("index.json", {"data": b"[]"})], ImageError, "cannot be read"),
        ([("index.json", {"data": b"{}"})], ImageError, "cannot be read"),
        ([("repositories", {"data": b"{}"})], ImageError, "contains no image"),
        ([("../manifest.json", {"data": b"[]"})], ImageError, "outside of its root"),
        (
            [("manifest.json", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})],
            ImageError,
            "contains no image",
        ),
    ],
    ids=[
        "other architecture",
        "no digests",
        "malformed digests",
        "wrong digests",
        "no config",
        "list not a list",
        "empty list",
        "index not a table",
        "empty index",
        "no list",
        "list outside",
        "list is a symlink",
    ],
)
def test_archives_without_an_image_are_refused(
    members: list[Member], kind: type[ImageError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        content(tar(*members, root=False), tmp_path)


def test_two_images_in_one_archive_are_refused(tmp_path: Path) -> None:
    members = docker_save()
    images = json.loads(members[-2][1]["data"]) * 2
    members[-2][1]["data"] = json.dumps(images).encode()
    with pytest.raises(ImageError, match="several images"):
        content(tar(*members, root=False), tmp_path)


def test_members_are_stored_under_our_own_names(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert content(tar(*docker_save(), root=False), work) == THERE
    assert {path.name.partition("-")[0] for path in tmp_path.rglob("*")} == {"work", "member"}


def test_archive_with_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MOST_FILES", 3)
    with pytest.raises(ImageError, match="too many files"):
        content(tar(*docker_save(), root=False), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "MOST_UNPACKED", 1000)
    with pytest.raises(ImageError, match="too large ones"):
        content(tar(*docker_save(), root=False), tmp_path)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("blobs", True),
        ("blobs/sha256/" + "a" * 64, True),
        ("a" * 64 + "/VERSION", True),
        ("a" * 64 + ".tar", True),
        ("a" * 64 + ".json", True),
        ("./index.json", True),
        ("oci-layout", True),
        ("manifest.json", True),
        ("usr", False),
        ("./bin", False),
        ("etc/manifest.json", False),
        ("a" * 63, False),
    ],
)
def test_is_container_archive_reads_the_first_member(
    first: str, expected: bool, tmp_path: Path
) -> None:
    folder: Member = (".", {"type": tarfile.DIRTYPE})
    assert is_container_archive(tar((first, {}), root=False)[:4096]) is expected
    more = tar(folder, (first, {}), ("usr", {}), root=False)
    assert is_container_archive(more[:4096]) is expected


def test_is_container_archive_of_what_is_not_a_tar() -> None:
    assert not is_container_archive(b"")
    assert not is_container_archive(b"x" * 4096)
    assert not is_container_archive(bytes(4096))
