from __future__ import annotations

import gzip
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import ImageError, Interrupted
from postroj.image.unpack import pack
from tests.support.tars import COMPRESSIONS, tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINK, SYMLINK, DEVICE = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.BLKTYPE
FILE: dict[str, Any] = {"data": b"x"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "image.squashfs"


def squash(data: bytes, target: Path, subtree: str = "", step: int = 1000) -> None:
    squash_all((data[start : start + step] for start in range(0, len(data), step)), target, subtree)


def squash_all(chunks: Iterable[bytes], target: Path, subtree: str = "") -> None:
    with pack.Packer(target, subtree) as packer:
        for chunk in chunks:
            packer.write(chunk)


def listing(target: Path) -> list[str]:
    done = subprocess.run(["rdsquashfs", "-d", target], capture_output=True, check=True)
    return done.stdout.decode(errors="replace").splitlines()


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_squash_takes_every_compression(suffix: str, target: Path) -> None:
    squash(COMPRESSIONS[suffix](tar()), target)
    assert "file usr/lib/os-release 0644 0 0" in listing(target)
    status = target.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o644)


def test_squash_keeps_attributes(target: Path) -> None:
    capability = "SCHILY.xattr.security.capability"
    members: list[tuple[str, dict[str, Any]]] = [
        ("usr/bin/su", {"data": b"s", "mode": 0o4755, "uid": 1, "gid": 2, "mtime": 12345}),
        ("usr/bin/ping", {"data": b"p", "pax_headers": {capability: "\x01\x00\x00\x02"}}),
        ("usr/bin/sudo", {"type": LINK, "linkname": "usr/bin/su"}),
        ("etc", {"type": SYMLINK, "linkname": "/usr/etc"}),
        ("dev/sda", {"type": DEVICE, "devmajor": 8}),
    ]
    squash(tar(*members), target)
    lines = listing(target)
    assert "file usr/bin/su 04755 1 2" in lines or "file usr/bin/su 4755 1 2" in lines
    assert any(line.startswith("slink etc") and line.endswith("/usr/etc") for line in lines)
    assert any(line.startswith("nod dev/sda") for line in lines)
    argv = ["rdsquashfs", "--cat", "usr/bin/sudo", str(target)]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"s"
    argv = ["rdsquashfs", "--xattr", "usr/bin/ping", str(target)]
    assert b"security.capability" in subprocess.run(argv, capture_output=True, check=True).stdout


def test_squash_takes_a_subtree_as_root(target: Path) -> None:
    squash(tar(("root.x86_64/etc/hosts", FILE), root=False), target, "root.x86_64")
    assert "file etc/hosts 0644 0 0" in listing(target)


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (("../evil", FILE), "outside of its root"),
        (("usr/../../evil", FILE), "outside of its root"),
        (("usr/lib/os-release", FILE), "two members of the same name"),
        (("usr/lib/os-release/x", FILE), "below one that is not a directory"),
        (("x", {"type": LINK, "linkname": "nothing"}), "a hard link that leads nowhere"),
        (("x", {"type": LINK, "linkname": "../../etc/shadow"}), "a hard link that leads nowhere"),
    ],
)
def test_squash_refuses_hostile_members(
    member: tuple[str, dict[str, Any]], sentence: str, target: Path
) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        squash(tar(member), target)
    assert caught.value.evidence


def test_squash_follows_no_symlink(target: Path, tmp_path: Path) -> None:
    members = [("s", {"type": SYMLINK, "linkname": str(tmp_path)}), ("s/file", FILE)]
    with pytest.raises(ImageError, match="below one that is not a directory"):
        squash(tar(*members), target)
    assert not (tmp_path / "file").exists()


def test_squash_accepts_harmless_members(target: Path) -> None:
    names = ["/absolute", "sp ace", "new\nline", "\udcff\udcfe", "x" * 255, "./dot"]
    squash(tar(*((name, FILE) for name in names)), target)
    assert "file absolute 0644 0 0" in listing(target)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_squash_refuses_a_truncated_archive(suffix: str, target: Path) -> None:
    data = tar(("x", {"data": os.urandom(20000)}))
    data = data.rstrip(b"\0") if suffix == "" else COMPRESSIONS[suffix](data)[:-12]
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        squash(data, target)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"x", "it is not a tar archive|cut off"),
        (b"<html>no such file</html>" * 50, "it is not a tar archive"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"\x1f\x8b" + bytes(100), "damaged"),
    ],
    ids=["empty", "one byte", "HTML", "empty gzip", "damaged gzip"],
)
def test_squash_refuses_what_is_not_an_archive(data: bytes, sentence: str, target: Path) -> None:
    with pytest.raises(ImageError, match=sentence):
        squash(data, target)


def test_squash_refuses_a_decompression_bomb(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MOST_UNPACKED", 1 << 20)
    bomb = COMPRESSIONS["xz"](tar(("zeros", {"data": bytes(1 << 23)})))
    with pytest.raises(ImageError, match="unpacks to more than"):
        squash(bomb, target)


def test_interrupted_squash_ends_its_tools(target: Path) -> None:
    data = COMPRESSIONS["gz"](tar())

    def chunks() -> Iterator[bytes]:
        yield data[:200]
        raise Interrupted

    with pytest.raises(Interrupted):
        squash_all(chunks(), target)
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""
