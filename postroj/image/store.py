"""The store: squashfs files, and beside each the record that says where it is from.

    CACHE/CACHEDIR.TAG
    CACHE/images/NAME-ARCH.json                 the record; without it there is no image
    CACHE/images/NAME-ARCH.<digest>.squashfs    never changed; its guests hold a shared lock on it
    CACHE/locks/                                who makes an image, who puts one in place
    CACHE/partial/                              what is being made; swept when its maker is dead

A file is complete before it gets its name, and the record is replaced atomically after that. So
an image is either the old one or the new one, and a guest keeps the one it began with.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from postroj import __version__, locking, paths
from postroj.errors import HostError, ImageError, UsageError
from postroj.model import Image, Manager, SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# What is below can be fetched again: https://bford.info/cachedir/\n"
)
DIGITS = 16
"""As many of its digest are part of a file's name."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a source says about what it made."""

    source: SourceKind
    url: str
    suite: str
    compression: str
    verification: Verification
    fingerprints: tuple[str, ...]
    """Of the primary keys that signed."""
    allow_expired: bool
    """Whether Release files that are out of date were accepted; its guests accept them, too."""


@dataclass(frozen=True, kw_only=True)
class Record(Provenance):
    """What is known of a stored image; the keys of its JSON."""

    name: str
    architecture: str
    manager: Manager
    sha256: str
    size: int
    created: str
    """UTC, ISO 8601."""
    postroj: str
    """The version that made it."""

    @property
    def file_name(self) -> str:
        """Name of its squashfs file."""
        return f"{self.name}-{self.architecture}.{self.sha256[:DIGITS]}.squashfs"

    @property
    def path(self) -> Path:
        """Its squashfs file."""
        return images_dir() / self.file_name

    def as_image(self) -> Image:
        """Return what `container` wants to know."""
        return Image(
            name=self.name,
            architecture=self.architecture,
            path=self.path,
            manager=self.manager,
        )

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record.

        :raises ValueError: if it is none, or one of a later version.
        """
        try:
            data = json.loads(text)
            known: dict[str, Any] = {field.name: data[field.name] for field in fields(cls)}
            known["source"] = SourceKind(known["source"])
            known["verification"] = Verification(known["verification"])
            known["manager"] = Manager(known["manager"])
            known["fingerprints"] = tuple(known["fingerprints"])
            known["sha256"] = str(known["sha256"])
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from None
        return cls(**known)


def images_dir() -> Path:
    """Return the folder of squashfs files and records."""
    return paths.cache_dir() / "images"


def partial_dir() -> Path:
    """Return the folder of what is being made."""
    return paths.cache_dir() / "partial"


def prepare() -> None:
    """Make the folders, and remove what a process that was killed has left in them.

    :raises HostError: if the cache cannot be written.
    """
    with trouble():
        for folder in (images_dir(), partial_dir(), paths.cache_dir() / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        tag = paths.cache_dir() / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(TAG, encoding="ascii")
        sweep()


def sweep() -> None:
    """Remove what a process that was killed has left half-made."""
    for name in locking.sweep(partial_dir()):
        log.debug("removed %s, whose maker is dead", name)


@contextmanager
def trouble() -> Iterator[None]:
    """Say it in a sentence when the cache cannot be read or written.

    :raises HostError: if it may not be.
    :raises ImageError: if its disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(str(error)) from None
        cache = paths.cache_dir()
        if not str(error.filename).startswith(str(cache)):
            raise
        message = f"the cache directory '{cache}' cannot be used"
        hint = "`POSTROJ_CACHE_DIR=DIR postroj ...` keeps images in a directory of yours"
        raise HostError(message, evidence=str(error), hint=hint) from None


def disk_full(evidence: str) -> ImageError:
    """Build the error for a disk that has no room for an image."""
    cache = paths.cache_dir()
    free = shutil.disk_usage(cache).free
    return ImageError(
        f"no space is left in the cache directory '{cache}'",
        evidence=f"{evidence}\n{free / 1e6:.0f} MB are free, an image in the making takes 500 MB",
        hint="`postroj remove NAME` deletes images, POSTROJ_CACHE_DIR names another directory",
    )


def find(name: str, architecture: str) -> Record | None:
    """Return the record of an image, if it is cached."""
    path = images_dir() / f"{name}-{architecture}.json"
    text = None
    with trouble(), suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8", errors="replace")
    if text is None:
        return None
    try:
        record = Record.from_json(text)
    except ValueError as error:
        log.warning("the record '%s' cannot be read, its image counts as not cached", path)
        log.debug("%s", error)
        return None
    return record if record.path.exists() else None


def require(name: str, architecture: str) -> Record:
    """Return the record of an image that must be cached.

    :raises UsageError: if it is not.
    """
    record = find(name, architecture)
    if record is None:
        message = f"the image '{name}' is not cached"
        hint = f"`postroj list-images --cached` shows what is, `postroj pull {name}` fetches it"
        raise UsageError(message, hint=hint)
    return record


@contextmanager
def hold(image: Image) -> Iterator[Image]:
    """Keep the file of an image from being deleted while the context lasts.

    What is yielded is the image that is current now: it may have been replaced since.

    :raises UsageError: if it was removed since.
    """
    with trouble():
        descriptor = _shared(image.path)
        if descriptor is None:
            image = require(image.name, image.architecture).as_image()
            descriptor = _shared(image.path)
    if descriptor is None:
        message = f"the image '{image.name}' was replaced twice while it was being opened"
        raise ImageError(message, hint="try again")
    try:
        yield image
    finally:
        os.close(descriptor)


def _shared(path: Path) -> int | None:
    """Open a file with a shared lock; None if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.fstat(descriptor).st_nlink == 0:  # deleted before the lock was ours
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def building(name: str, architecture: str) -> Iterator[Path]:
    """Be the only one who makes this image; the path of a directory to make it in."""
    lock = paths.cache_dir() / "locks" / f"{name}-{architecture}.lock"

    def say() -> None:
        log.info("%s: waiting for another `postroj pull` of it", name)

    with (
        trouble(),
        locking.exclusive(lock, say),
        locking.Claim.make(partial_dir(), "pull") as claim,
    ):
        yield claim.path


def add(name: str, architecture: str, manager: Manager, file: Path, of: Provenance) -> Record:
    """Put a file from `building` in place, then its record; only this makes it an image."""
    import hashlib
    from datetime import UTC, datetime

    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.seek(0, os.SEEK_END)
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    record = Record(
        name=name,
        architecture=architecture,
        manager=manager,
        sha256=digest,
        size=size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        postroj=__version__,
        **{field.name: getattr(of, field.name) for field in fields(Provenance)},
    )
    draft = file.with_suffix(".json")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(record), indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    with _putting_in_place():
        file.rename(record.path)
        _sync_folder(images_dir())  # the file's name before the record's
        draft.replace(images_dir() / f"{name}-{architecture}.json")
        _sync_folder(images_dir())
    return record


def collect() -> int:
    """Delete the files that no record names and no guest holds; the bytes that became free."""
    freed = 0
    with trouble(), _putting_in_place():
        current = {record.file_name for record in records()}
        for path in images_dir().glob("*.squashfs"):
            if path.name not in current:
                freed += _delete_unheld(path) or 0
    return freed


def remove(name: str, architecture: str) -> int:
    """Delete an image; the bytes that became free.

    :raises UsageError: if it is not cached.
    :raises ImageError: if a guest holds it.
    """
    with trouble(), _putting_in_place():
        record = require(name, architecture)
        freed = _delete_unheld(record.path)
        if freed is None:
            message = f"the image '{name}' is in use by a guest"
            raise ImageError(message, hint="end its guests, then try again")
        (images_dir() / f"{name}-{architecture}.json").unlink()
    return freed


def records() -> list[Record]:
    """Return the records of all images that are cached."""
    found = []
    for path in sorted(images_dir().glob("*.json")):
        name, _, architecture = path.stem.rpartition("-")
        if record := find(name, architecture):
            found.append(record)
    return found


def _delete_unheld(path: Path) -> int | None:
    """Delete a squashfs file unless a guest holds it; its size, None if it is held."""
    with path.open("rb") as stream:
        if not locking.try_lock(stream.fileno(), fcntl.LOCK_EX):
            return None
        size = os.fstat(stream.fileno()).st_size
        path.unlink()
    return size


@contextmanager
def _putting_in_place() -> Iterator[None]:
    """Keep a file that has its name but not yet its record from being collected."""
    with locking.exclusive(paths.cache_dir() / "locks" / "store.lock"):
        yield


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # some file systems have no fsync of folders
        os.fsync(descriptor)
    os.close(descriptor)
