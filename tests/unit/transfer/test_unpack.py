"""A tar of a stranger is unpacked below one folder, or refused."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import GuestError, ImageError, PostrojError
from postroj.transfer.unpack import FOLDER, Into, Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return the folder to unpack into, beside one that must stay untouched."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("ours")
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


@pytest.fixture
def into(top: Path) -> Iterator[int]:
    descriptor = os.open(top, FOLDER)
    yield descriptor
    os.close(descriptor)


def tar(*members: tuple[str, bytes, str], data: bytes = b"data", **more: Any) -> io.BytesIO:
    """Return a tar of members, each a name, a kind and a target, or the data of a file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.uid, member.gid = os.getuid(), os.getgid()
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            for key, value in more.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    made.seek(0)
    return made


def test_unpack_of_files_folders_and_links(top: Path, into: int) -> None:
    archive = tar(
        ("./", b"5", ""), ("./a", b"5", ""), ("./a/b", b"0", ""), ("l", b"2", "/etc"),
        ("h", b"1", "./a/b"), mode=0o750, mtime=1.25,
    )  # fmt: skip
    assert unpack(archive, Into(into)) == Unpacked(5, ())
    assert (top / "a" / "b").read_bytes() == b"data"
    assert (top / "h").samefile(top / "a" / "b")
    assert str((top / "l").readlink()) == "/etc"
    for path in (top / "a", top / "a" / "b", top / "l"):
        assert path.lstat().st_mtime_ns == 1_250_000_000
    assert [(top / name).stat().st_mode & 0o7777 for name in ("a", "h")] == [0o750, 0o750]


def test_only_a_fresh_folder_gets_the_mode_of_the_archive(top: Path, into: int) -> None:
    top.chmod(0o711)
    unpack(tar(("./", b"5", ""), mode=0o3770), Into(into))
    assert top.stat().st_mode & 0o7777 == 0o711
    unpack(tar(("./", b"5", ""), mode=0o3770), Into(into, is_fresh=True))
    assert top.stat().st_mode & 0o7777 == 0o1770


def test_set_user_id_is_dropped(top: Path, into: int) -> None:
    unpack(tar(("p", b"0", ""), mode=0o7755), Into(into))
    assert (top / "p").stat().st_mode & 0o7777 == 0o755


def test_without_owners_all_is_ours(top: Path, into: int) -> None:
    members = (("d", b"5", ""), ("d/f", b"0", ""), ("l", b"2", "f"))
    unpack(tar(*members, uid=4321, gid=4321), Into(into, keeps_owners=False))
    found = [(top / name).lstat() for name in ("d", "d/f", "l")]
    assert {(one.st_uid, one.st_gid) for one in found} == {(os.geteuid(), os.getegid())}


@pytest.mark.parametrize(
    "members",
    [
        [("../outside/file", b"0", "")],
        [("a/../../outside/file", b"0", "")],
        [("..", b"5", "")],
        [("a", b"2", "../outside"), ("a/file", b"0", "")],
        [("a", b"2", "../outside"), ("a", b"5", "")],
        [("a", b"2", "../outside"), ("a/new/file", b"0", "")],
        [("h", b"1", "../outside/file")],
        [("a", b"2", "../outside"), ("h", b"1", "a/file"), ("h", b"0", "")],
        [("there", b"2", "x"), ("there/file", b"0", "")],
        [("folder", b"5", ""), ("folder", b"0", "")],
        [(".", b"0", "")],
    ],
)
def test_names_that_lead_out_are_refused(
    top: Path, into: int, members: list[tuple[str, bytes, str]]
) -> None:
    (top / "there").symlink_to("../outside")
    with pytest.raises((PostrojError, OSError)):
        unpack(tar(*members), Into(into))
    outside = top.parent / "outside"
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "ours"
    assert (outside / "file").stat().st_nlink == 1


def test_existing_links_are_replaced_and_not_followed(top: Path, into: int) -> None:
    (top / "a").symlink_to("../outside/file")
    unpack(tar(("a", b"0", "")), Into(into))
    assert (top / "a").read_text() == "data"
    assert not (top / "a").is_symlink()
    unpack(tar(("/a", b"2", "../outside/file"), ("/a", b"0", "")), Into(into))
    assert (top.parent / "outside" / "file").read_text() == "ours"
    assert [path.name for path in top.iterdir()] == ["a"]


def test_devices_are_skipped(top: Path, into: int) -> None:
    said = unpack(tar(("null", b"3", ""), ("pipe", b"6", ""), ("f", b"0", "")), Into(into))
    assert said == Unpacked(3, ("'null'", "'pipe'"))
    assert [path.name for path in top.iterdir()] == ["f"]


def test_single_file_gets_its_new_name(top: Path, into: int) -> None:
    unpack(tar(("./theirs", b"0", "")), Into(into, alone="ours"))
    assert [path.name for path in top.iterdir()] == ["ours"]


@pytest.mark.parametrize(
    "members",
    [
        [("a", b"0", ""), ("b", b"0", "")],
        [("a/b", b"0", "")],
        [("a", b"5", "")],
        [("./", b"5", "")],
        [("a", b"1", "b")],
    ],
)
def test_more_than_the_requested_file_is_refused(
    top: Path, into: int, members: list[tuple[str, bytes, str]]
) -> None:
    with pytest.raises(GuestError, match="something other than the requested file"):
        unpack(tar(*members), Into(into, alone="ours"))
    assert {path.name for path in top.iterdir()} <= {"ours"}


@pytest.mark.parametrize(
    "more",
    [
        {"uid": 2**32 - 1},
        {"gid": 2**40},
        {"mtime": 2**40},
        {"pax_headers": {"GNU.sparse.map": "0,1"}},
        {"pax_headers": {"uid": "nobody"}},
    ],
)
def test_impossible_owners_are_refused(into: int, more: dict[str, Any]) -> None:
    with pytest.raises((GuestError, ImageError)):
        unpack(tar(("f", b"0", ""), **more), Into(into))


def test_empty_tar_makes_nothing(top: Path, into: int) -> None:
    assert unpack(tar(), Into(into, alone="x")) == Unpacked(0, ())
    assert list(top.iterdir()) == []


def test_truncated_tar_is_refused(into: int) -> None:
    whole = tar(("f", b"0", ""), data=bytes(5000)).getvalue()
    with pytest.raises(ImageError, match="was cut off"):
        unpack(io.BytesIO(whole[:3000]), Into(into))
