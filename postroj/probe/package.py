"""Package files: from what was typed, a path or a URL, to a file that a guest may see."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from postroj import console, net
from postroj.errors import DownloadError, PackageError, UsageError
from postroj.model import Manager

if TYPE_CHECKING:
    from collections.abc import Sequence

SHA256 = re.compile(r"[0-9a-fA-F]{64}")

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
"""Bytes of a member's header, ar(5)."""
MEMBERS = 16
"""As many members are looked at; a .deb has three."""

MAGIC = {AR_MAGIC: Manager.APT}
"""How a package file begins: deb(5)."""

GUEST_DIR = "/run/postroj/packages"
"""Where a guest sees package files, read-only; below a tmpfs, so that nothing of it remains."""


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A package under test."""

    path: Path
    manager: Manager

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.name

    @property
    def guest_path(self) -> str:
        """Where the guest sees it; apt wants the suffix."""
        name = re.sub(r"[\x00-\x1f]", "_", self.name)
        return f"{GUEST_DIR}/{name if name.endswith('.deb') else f'{name}.deb'}"


def fetch(packages: Sequence[str], digests: Sequence[str], folder: Path) -> list[Path]:
    """Bring every package to a local file, URLs into `folder`; `digests` pin them, if any.

    :raises UsageError: if a file does not exist, or the digests do not match up with the packages.
    :raises DownloadError: if a URL cannot be fetched, or a pinned digest is another one.
    """
    if digests and len(digests) != len(packages):
        message = f"`--package` is given {len(packages)} and `--sha256` {len(digests)} times"
        raise UsageError(message, hint="one `--sha256` for each package, in the same order")
    if wrong := next((pin for pin in digests if not SHA256.fullmatch(pin)), None):
        message = f"'{wrong}' is no SHA-256 digest"
        raise UsageError(message, hint="it has 64 hexadecimal digits")
    pins: Sequence[str | None] = digests or [None] * len(packages)
    paths = [_fetch(text, pin, folder) for text, pin in zip(packages, pins, strict=True)]
    names = [path.name for path in paths]
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = f"two packages have the file name '{twice}'"
        raise UsageError(message)
    return paths


def _fetch(text: str, pin: str | None, folder: Path) -> Path:
    if "://" in text:
        try:
            name = urlsplit(text).path.rpartition("/")[2]
        except ValueError:
            message = f"'{text}' is no URL"
            raise UsageError(message) from None
        if not name.strip("."):
            name = "package"
        target = folder / name
        with console.progress(f"download {name}", unit="B") as progress:
            net.download(text, target, sha256=pin, progress=progress)
        return target
    path = Path(text).absolute()
    if not os.path.isfile(path):  # noqa: PTH113 a name that is too long is no file, and no error
        message = f"'{text}' is no file"
        raise UsageError(message, hint="`--package` takes a path or an http(s) URL")
    if pin is not None:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != pin.lower():
            message = f"'{text}' is not the file that was pinned"
            raise DownloadError(
                message, evidence=f"expected SHA-256 {pin}\nreceived SHA-256 {digest}"
            )
    return path


def recognise(path: Path) -> PackageFile:
    """Tell a package's format by how its file begins, and that all of it is there.

    :raises PackageError: if it is none that postroj knows, or cut off.
    """
    with path.open("rb") as stream:
        head = stream.read(max(map(len, MAGIC)))
        for magic, manager in MAGIC.items():
            if head.startswith(magic):
                _refuse_cut_off(path, stream)
                return PackageFile(path=path, manager=manager)
    message = f"'{path.name}' is no package"
    raise PackageError(
        message,
        evidence=f"{path.stat().st_size} bytes, the first are {head!r}",
        hint="postroj probes .deb packages",
    )


def _refuse_cut_off(path: Path, stream: BinaryIO) -> None:
    """Walk the members of an ar archive, ar(5): what is cut off needs no guest to be seen."""
    size = stream.seek(0, os.SEEK_END)
    position = len(AR_MAGIC)
    members: list[str] = []
    while position < size and len(members) < MEMBERS:
        stream.seek(position)
        header = stream.read(AR_HEADER)
        length = header[48:58].strip()
        if not header.endswith(b"`\n") or not length.isdigit():
            break
        members.append(header[:16].decode(errors="replace").strip().rstrip("/"))
        position += AR_HEADER + int(length) + int(length) % 2
    # the padding byte of the last member may be missing
    whole = position - 1 <= size and any(name.startswith("data.tar") for name in members)
    if not whole:
        message = f"'{path.name}' is no complete package"
        raise PackageError(
            message,
            evidence=f"{size} bytes, members: {', '.join(members) or 'none'}",
            hint="build or download it again",
        )
