"""What goes to the other machine with a command, and what is expected back: what it names."""

from __future__ import annotations

import os
import posixpath
import sys
import tarfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from postroj.away import mirrored
from postroj.remote.wire import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = sys.platform == "win32"
DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class Kind(StrEnum):
    """What comes back to a path."""

    FILE = "file"
    """The content of a file."""
    ADDED = "added"
    """What is to be added to a file."""
    FOLDER = "folder"
    """A folder with files, which become the user's."""
    COPY = "copy"
    """A file or folder with its owners."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A path that the command may write."""

    path: str
    """Absolute, as this system has it."""
    kind: Kind


@dataclass
class Freight:
    """Files of this machine for the other one, below their own paths there."""

    folder: str = field(default_factory=os.getcwd)
    """The working directory."""
    files: dict[str, str] = field(default_factory=dict)
    """Paths there, each with the path here; '' is an empty file."""
    trees: dict[str, str] = field(default_factory=dict)
    """The same of files and folders that keep owners and links."""
    folders: dict[str, None] = field(default_factory=dict)
    """Paths there of folders that must exist, whatever is in them here."""
    expected: list[Expected] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables for guests."""

    def __post_init__(self) -> None:
        self.folders[self.place(self.folder)] = None

    def place(self, text: str) -> str:
        """Return the path there, relative to the root of this machine's files."""
        path = mirrored(os.path.join(self.folder, text), windows=WINDOWS)  # noqa: PTH118
        return posixpath.normpath(path).lstrip("/") or "."

    def send(self, text: str) -> None:
        """Let a file go; of a folder only that it exists, and of what does not exist nothing."""
        place = self._way_to(text)
        if os.path.isfile(self._path(text)):  # noqa: PTH113 also False for a name that is too long
            self.files[place] = self._path(text)

    def send_tree(self, text: str, *, follow: bool) -> None:
        """Let a file or folder go as it is; `follow` a link, or let go of the link itself."""
        place = self._way_to(text)
        path = os.path.realpath(self._path(text)) if follow else self._path(text)
        if os.path.lexists(path):
            self.folders.pop(place, None)
            self.trees[place] = path

    def expect(self, text: str, kind: Kind) -> None:
        """Expect that a path is written; there it shows whether it exists here."""
        path, place = self._path(text), self._way_to(text)
        if os.path.isfile(path):  # noqa: PTH113 as above
            self.files.setdefault(place, "")
        one = Expected(path=path, kind=kind)
        if one not in self.expected:
            self.expected.append(one)

    def has_folder(self, path: str | Path) -> None:
        """Let a folder exist there."""
        self.folders[self.place(str(path))] = None

    def _path(self, text: str) -> str:
        return os.path.join(self.folder, text)  # noqa: PTH118 keeps a slash at the end

    def _way_to(self, text: str) -> str:
        """Let all folders on the way to a path exist there, and return where it will be."""
        path = Path(self._path(text))
        for above in (*reversed(path.parents), path):
            if above.name and os.path.isdir(above):  # noqa: PTH112 as above
                self.has_folder(above)
        return self.place(text)

    def write(self, file: IO[bytes]) -> None:
        """Write everything as a tar.

        :raises OSError: if a file cannot be read, or changes meanwhile.
        """
        with _new_tar(file) as tar:
            for name in self.folders:
                member = tarfile.TarInfo(name)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            tar.dereference = True
            for name, path in self.files.items():
                if path:
                    tar.add(path, name, filter=_ours)
                else:
                    tar.addfile(tarfile.TarInfo(name))
            tar.dereference = False
            for name, path in self.trees.items():
                tar.add(path, name, filter=_real)


def _new_tar(file: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=LARGEST)


def _ours(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Make a file that of whoever unpacks it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _real(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what only a running system has."""
    member.uname = member.gname = ""
    return None if member.type in DEVICES else member


def pack(path: Path, file: IO[bytes]) -> None:
    """Write a file, or the content of a folder, as a tar."""
    with _new_tar(file) as tar:
        for name in _members(path):
            tar.add(path / name, name or path.name, recursive=bool(name), filter=_real)


def _members(path: Path) -> Iterator[str]:
    if path.is_dir() and not path.is_symlink():
        yield "."
    else:
        yield ""


def unpack(file: IO[bytes], root: Path) -> None:
    """Unpack what `Freight.write` has written, for the same user on the other machine.

    :raises OSError: if a file cannot be written.
    """
    with tarfile.open(fileobj=file, mode="r|", bufsize=LARGEST) as tar:
        # Python before 3.11.4 has no parameter for it
        tar.extraction_filter = lambda member, path: member
        tar.extractall(root, numeric_owner=True)  # noqa: S202 see above


def as_file(stream: object) -> IO[bytes]:
    """Return what has the one method that `tarfile` needs of a file."""
    return cast("IO[bytes]", stream)
