from __future__ import annotations

import hashlib
import io
import random
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, Literal

import pytest

from postroj.errors import ImageError
from postroj.image.unpack import tree
from postroj.image.unpack.flatten import flatten
from postroj.image.unpack.pack import END
from postroj.image.unpack.tarstream import number, parse_records
from tests.support.tars import COMPRESSIONS, Member, tar

if TYPE_CHECKING:
    from pathlib import Path

FOLDER, LINK, SYMLINK = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
Members = list[Member]


def file(name: str, data: bytes = b"", **about: Any) -> Member:
    return name, {"data": data, **about}


def folder(name: str, **about: Any) -> Member:
    return name, {"type": FOLDER, **about}


def link(name: str, to: str) -> Member:
    return name, {"type": LINK, "linkname": to}


def symlink(name: str, to: str) -> Member:
    return name, {"type": SYMLINK, "linkname": to}


def flat(directory: Path, *layers: Members | bytes) -> bytes:
    """The tar that layers amount to."""
    paths = []
    for count, layer in enumerate(layers):
        path = directory / f"layer-{count}"
        path.write_bytes(layer if isinstance(layer, bytes) else tar(*layer, root=False))
        paths.append(path)
    out = io.BytesIO()
    flatten(paths, out)
    return out.getvalue()


def content(directory: Path, *layers: Members | bytes) -> dict[str, str]:
    """Names of what is there in the end, and its data, or where it leads."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(flat(directory, *layers))) as archive:
        for member in archive:
            assert member.name not in found, "two members of one name"
            if member.isfile():
                stream = archive.extractfile(member)
                assert stream
                found[member.name] = stream.read().decode()
            elif member.issym():
                found[member.name] = f"-> {member.linkname}"
            elif member.islnk():
                found[member.name] = f"= {member.linkname}"
            else:
                found[member.name] = "/"
    return found


CASES: dict[str, tuple[list[Members], dict[str, str]]] = {
    "a later file wins": ([[file("a", b"1")], [file("a", b"2")]], {"a": "2"}),
    "a whiteout deletes below": (
        [[file("d/a", b"1"), file("d/b", b"2")], [file("d/.wh.a")]],
        {"d/b": "2"},
    ),
    "a whiteout deletes a folder": (
        [[folder("d"), file("d/e/a", b"1"), file("x")], [file(".wh.d")]],
        {"x": ""},
    ),
    "a whiteout spares its own layer, whatever comes first": (
        [[file("d/old", b"1")], [file("d/new", b"2"), file(".wh.d"), file("d/more", b"3")]],
        {"d/new": "2", "d/more": "3"},
    ),
    "a whiteout of nothing": ([[file("a")], [file(".wh.b"), file("no/such/.wh.c")]], {"a": ""}),
    "a deleted folder that comes back is empty": (
        [[folder("d"), file("d/a")], [file(".wh.d")], [folder("d")]],
        {"d": "/"},
    ),
    "an opaque folder hides all below": (
        [[file("d/a"), file("d/e/b")], [file("d/new", b"1"), file("d/.wh..wh..opq")]],
        {"d/new": "1"},
    ),
    "an opaque folder keeps its own attributes": (
        [[folder("d"), file("d/a")], [file("d/.wh..wh..opq")]],
        {"d": "/"},
    ),
    "an opaque root": ([[file("a"), folder("b")], [file(".wh..wh..opq"), file("c")]], {"c": ""}),
    "a whiteout hides for later layers, too": (
        [[file("d/a", b"1")], [file("d/.wh.a")], [file("d/b")]],
        {"d/b": ""},
    ),
    "what AUFS keeps for itself": (
        [[file("a"), folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")]],
        {"a": ""},
    ),
    "a file in the place of a folder": ([[file("d/a")], [file("d", b"1")]], {"d": "1"}),
    "a symlink in the place of a folder": (
        [[folder("d"), file("d/a"), folder("e")], [symlink("d", "e")]],
        {"e": "/", "d": "-> e"},
    ),
    "a folder in the place of a file": (
        [[file("d")], [folder("d"), file("d/a")]],
        {
            "d": "/",
            "d/a": "",
        },
    ),
    "a folder that no member stands for in the place of a file": (
        [[file("d")], [file("d/a", b"1")]],
        {"d/a": "1"},
    ),
    "a folder takes the place of a symlink": (
        [[folder("e"), file("e/a"), symlink("d", "e")], [folder("d"), file("d/b", b"1")]],
        {"e": "/", "e/a": "", "d": "/", "d/b": "1"},
    ),
    "a symlink on the way is followed": (
        [[folder("usr/sbin"), symlink("sbin", "usr/sbin")], [file("sbin/foo", b"1")]],
        {"usr/sbin": "/", "sbin": "-> usr/sbin", "usr/sbin/foo": "1"},
    ),
    "so is one that begins at the root, and one that leads up": (
        [
            [folder("a/b"), symlink("a/abs", "/a/b"), symlink("a/b/up", "../../../../a")],
            [file("a/abs/x", b"1"), file("a/b/up/y", b"2"), folder("a/abs/z")],
        ],
        {
            "a/b": "/",
            "a/abs": "-> /a/b",
            "a/b/up": "-> ../../../../a",
            "a/b/x": "1",
            "a/y": "2",
            "a/b/z": "/",
        },
    ),
    "a symlink out of the tree stays in it": (
        [[symlink("out", "/etc/../../..")], [file("out/passwd", b"1")]],
        {"out": "-> /etc/../../..", "passwd": "1"},
    ),
    "a symlink to nothing makes its folder": (
        [[symlink("var/run", "/run")], [file("var/run/pid", b"1")]],
        {"var/run": "-> /run", "run/pid": "1"},
    ),
    "a whiteout through a symlink": (
        [[file("usr/bin/a"), file("usr/bin/b"), symlink("bin", "usr/bin")], [file("bin/.wh.a")]],
        {"usr/bin/b": "", "bin": "-> usr/bin"},
    ),
    "hard links of one layer": (
        [[file("a", b"1"), link("b", "a")], [file("c")]],
        {"a": "1", "b": "= a", "c": ""},
    ),
    "a hard link to a layer below": ([[file("a", b"1")], [link("b", "a")]], {"a": "1", "b": "= a"}),
    "a hard link keeps what its target was": (
        [[file("a", b"1"), link("b", "a")], [file("a", b"2")]],
        {"a": "2", "b": "1"},
    ),
    "hard links whose first name is deleted": (
        [[file("a", b"1"), link("b", "a"), link("c", "b")], [file(".wh.a")]],
        {"b": "1", "c": "= b"},
    ),
    "a hard link to itself": ([[file("a", b"1"), link("a", "a")]], {"a": "1"}),
    "a hard link through a symlink": (
        [[file("usr/a", b"1"), symlink("u", "usr"), link("b", "u/a")]],
        {"usr/a": "1", "u": "-> usr", "b": "= usr/a"},
    ),
    "a hard link to a symlink": (
        [[symlink("a", "x"), link("b", "a")], [file(".wh.a")]],
        {"b": "-> x"},
    ),
    "two members of one name": ([[file("a", b"1"), file("a", b"2")]], {"a": "2"}),
    "absolute and odd names": (
        [[file("/a", b"1"), file(".//b/./c", b"2"), folder("./d")]],
        {"a": "1", "b/c": "2", "./d": "/"},
    ),
    "odd characters": (
        [[file("d/a\nb", b"1"), file("gone\udcff")], [file(".wh.gone\udcff"), file("n\udcfe")]],
        {"d/a\nb": "1", "n\udcfe": ""},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_flatten_applies_the_rules_of_layers(case: str, tmp_path: Path) -> None:
    layers, expected = CASES[case]
    assert content(tmp_path, *layers) == expected


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_flatten_takes_compressed_layers(suffix: str, tmp_path: Path) -> None:
    layers = [COMPRESSIONS[suffix](tar(member, root=False)) for member in (file("a"), file("b"))]
    assert content(tmp_path, *layers) == {"a": "", "b": ""}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_flatten_passes_a_single_layer_on_unchanged(suffix: str, tmp_path: Path) -> None:
    data = COMPRESSIONS[suffix](
        tar(link("usr/bin/b", "usr/bin/apt-get"), symlink("bin", "usr/bin"))
    )
    assert flat(tmp_path, data) == data


@pytest.mark.parametrize(
    "about",
    [
        {"uid": 3_000_000, "gid": 2_000_000_000, "mode": 0o6755, "mtime": 1234567890.123},
        {"pax_headers": {"SCHILY.xattr.security.capability": "\x01\x00\xff", "comment": "x"}},
        {"name": "deep/" * 60 + "x"},
        {"uname": "ü", "gname": "somebody"},
    ],
)
@pytest.mark.parametrize("form", ["posix", "gnu"])
def test_flatten_copies_headers_byte_for_byte(
    about: dict[str, Any], form: str, tmp_path: Path
) -> None:
    about = dict(about)
    info = tarfile.TarInfo(about.pop("name", "usr/bin/some"))
    for key, value in about.items():
        setattr(info, key, value)
    info.size = 3
    of_form: Literal[1, 2] = 2 if form == "posix" else 1  # of tarfile
    raw = info.tobuf(of_form, "utf-8", "surrogateescape") + b"abc".ljust(512, b"\0")
    out = flat(tmp_path, raw + END, [file("other")])
    assert out.startswith(raw)


def test_renamed_member_keeps_its_attributes(tmp_path: Path) -> None:
    capability = "SCHILY.xattr.security.capability"
    about: dict[str, Any] = {"uid": 4_000_000, "gid": 9, "mode": 0o4711, "mtime": 1234567890.5}
    about["pax_headers"] = {capability: "\x01\x02"}
    moved = file("sbin/" + "long" * 50, b"data", **about)
    out = flat(tmp_path, [symlink("sbin", "usr/sbin")], [moved, symlink("sbin/s", "t" * 300)])
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        info = archive.getmember("usr/sbin/" + "long" * 50)
        assert (info.uid, info.gid, info.mode, info.mtime) == (4_000_000, 9, 0o4711, 1234567890.5)
        assert info.pax_headers[capability] == "\x01\x02"
        assert archive.getmember("usr/sbin/s").linkname == "t" * 300


def test_reader_takes_old_kinds_of_members(tmp_path: Path) -> None:
    def old(name: str, kind: bytes, size: int = 0) -> bytes:
        info = tarfile.TarInfo(name)
        info.size = size
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        header[156:157] = kind
        header[257:500] = bytes(243)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header)

    layer = old("old/", b"\0") + old("dir-with-size/", b"5", 100) + old("file", b"7", 1)
    layer += b"x".ljust(512, b"\0")
    assert content(tmp_path, layer) == {"old": "/", "dir-with-size": "/", "file": "x"}


def test_flatten_copies_sparse_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as stream:
        for position in range(0, 10 << 20, 1 << 20):
            stream.seek(position)
            stream.write(b"x")
    for options in (["--format=gnu"], ["--sparse-version=0.0"], ["--sparse-version=1.0"]):
        options = options if "gnu" in options[0] else ["--format=posix", *options]
        argv = ["tar", "-c", "-S", *options, "-C", str(source), "sparse"]
        data = subprocess.run(argv, check=True, capture_output=True).stdout
        below: Members = [symlink("d", "e")]
        out = flat(tmp_path, below, data, [link("d/moved", "sparse"), file(".wh.sparse")])
        assert len(out) < 1 << 20
        (tmp_path / "out.tar").write_bytes(out)
        argv = ["tar", "-x", "-O", "-f", str(tmp_path / "out.tar"), "e/moved"]
        there = subprocess.run(argv, check=True, capture_output=True).stdout
        expected = hashlib.sha256((source / "sparse").read_bytes()).hexdigest()
        assert hashlib.sha256(there).hexdigest() == expected


HOSTILE: dict[str, tuple[Members, str]] = {
    "a name that leads out": ([file("../etc/passwd")], "outside of its root"),
    "a name that leads out further down": ([file("a/../../b")], "outside of its root"),
    "a hard link that leads out": ([link("a", "../../etc/shadow")], "outside of its root"),
    "a hard link to nothing": ([link("a", "etc/shadow")], "leads nowhere"),
    "a hard link to a folder": ([folder("d"), link("a", "d")], "leads nowhere"),
    "a hard link to the root": ([link("a", "/")], "leads nowhere"),
    "a whiteout of nothing": ([file("d/.wh.")], "malformed"),
    "a whiteout of the root": ([file(".wh..")], "malformed"),
    "a whiteout of what is above": ([file("d/.wh...")], "malformed"),
    "a folder that is a whiteout": ([file(".wh.d/a")], "malformed"),
    "a circle of symlinks": (
        [symlink("a", "b"), symlink("b", "a"), file("a/x")],
        "loop of symlinks",
    ),
    "a root that is a file": ([file("./")], "root"),
    "a name that is too long": ([file("n" * 256)], "Linux does not allow"),
    "a path that is too long": ([file("n/" * 2100)], "Linux does not allow"),
    "folders in folders": ([file("n/" * 300)], "folders in each other"),
    "an unknown kind": ([("a", {"type": b"Z"})], "unknown kind"),
    "nothing but a whiteout": ([file(".wh.a")], "has no files"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers_are_refused(case: str, tmp_path: Path) -> None:
    members, message = HOSTILE[case]
    with pytest.raises(ImageError, match=message):
        flat(tmp_path, members)


def test_layers_beyond_the_limits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit, members in (
        ("MOST_MEMBERS", 3, [file(f"d/{one}") for one in range(3)]),
        ("MOST_NAMES", 100, [file("n" * 101)]),
        ("MOST_UNPACKED", 5000, [file("a", bytes(5000))]),
        ("MOST_FOLLOWED", 3, [symlink("a", "b/c"), file("a/d"), file("a/e")]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(tree, name, limit)
            with pytest.raises(ImageError, match=r"more than|loop of symlinks"):
                flat(tmp_path, members)
    with pytest.raises(ImageError, match="more than 500 layers"):
        flat(tmp_path, *([file("a")] for _ in range(501)))


def test_sparse_file_counts_with_its_holes(tmp_path: Path) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 60)}
    with pytest.raises(ImageError, match="bytes of data"):
        flat(tmp_path, [file("a", bytes(512), pax_headers=records)])


def test_many_opaque_folders_take_no_time(tmp_path: Path) -> None:
    many = [file(f"d/{count}") for count in range(3000)]
    again = [file("d/.wh..wh..opq"), file(".wh.d")] * 3000
    assert len(content(tmp_path, [file("d/old")], [*many, *again])) == 3000


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_damaged_layers_are_refused(suffix: str, tmp_path: Path) -> None:
    data = COMPRESSIONS[suffix](tar(file("a", random.Random(0).randbytes(10_000))))
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        flat(tmp_path, data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"not a tar archive|damaged"):
        flat(tmp_path, COMPRESSIONS[suffix](b"garbage " * 1000))


def test_layer_without_an_end_is_accepted(tmp_path: Path) -> None:
    data = tar(file("a", b"1"), root=False).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    assert content(tmp_path, data, [file("b")]) == {"a": "1", "b": ""}


@pytest.mark.parametrize("body", [b"x", b"9 a=b\n", b"0 a=b\n", b"6 a=b ", b"5 ab\n", b" 6 a=b\n"])
def test_parse_records_refuses_malformed_records(body: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        parse_records(body)


def test_parse_records_takes_values_with_newlines() -> None:
    assert parse_records(b"8 a=b\nc\n6 a=b\n") == [(b"a", b"b\nc"), (b"a", b"b")]


def test_number_and_decimal_parse_header_fields() -> None:
    fields = (b"0000644\0", b" 12 \0\0\0", b"12345670", bytes(8))
    assert [number(field) for field in fields] == [0o644, 0o12, 0o12345670, 0]
    assert number(b"\x80" + (1 << 40).to_bytes(11, "big")) == 1 << 40
    with pytest.raises(ImageError, match="not a tar archive"):
        number(b"0o12    ")
