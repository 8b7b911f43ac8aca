from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from postroj.errors import ImageError, UsageError
from postroj.image.outfile import atomic_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the file system knows files without a name."""
    if request.param == "named":
        real = os.open

        def without(path: str, flags: int, *others: int, **more: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", path)
            return real(path, flags, *others, **more)

        monkeypatch.setattr(os, "open", without)
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_file_appears_when_it_is_complete(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_file(path, replace=False) as descriptor:
        os.write(descriptor, b"half")
        assert not path.exists()
        assert (names(tmp_path) == []) == (kind == "nameless")
        os.write(descriptor, b" whole")
    assert path.read_bytes() == b"half whole"
    assert names(tmp_path) == ["file"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_atomic_file_leaves_nothing_after_a_failure(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="Bad file"), atomic_file(path, replace=True) as descriptor:
        os.write(descriptor + 1000, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_atomic_file_replaces_nothing_unasked(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="file' exists"), atomic_file(path, replace=False):
        pytest.fail("must not begin")
    with atomic_file(path, replace=True) as descriptor:
        os.write(descriptor, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_atomic_file_spares_a_file_that_appears_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(UsageError, match="file' exists"), atomic_file(path, replace=False):
        path.write_bytes(b"of somebody else")
    assert path.read_bytes() == b"of somebody else"
    assert names(tmp_path) == ["file"]


def test_atomic_file_in_a_missing_folder(kind: str, tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="nowhere/file' cannot be written") as caught,
        atomic_file(tmp_path / "nowhere" / "file", replace=False),
    ):
        pytest.fail("must not begin")
    assert "No such file or directory" in caught.value.evidence


def test_atomic_file_on_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(ImageError, match="no space is left for") as caught,
        atomic_file(tmp_path / "file", replace=False),
        open("/dev/full", "wb", buffering=0) as full,  # noqa: PTH123
    ):
        full.write(b"x")
    assert "No space left on device" in caught.value.evidence
    assert names(tmp_path) == []
