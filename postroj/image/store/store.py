"""The store: squashfs files, each image with a record of its origin.

    CACHE/CACHEDIR.TAG
    CACHE/images/NAME-ARCH.json                 the record; without it there is no image
    CACHE/images/NAME-ARCH.<digest>.squashfs    immutable; guests lock theirs with a shared lock
    CACHE/locks/                                locked while an image is built or put in place
    CACHE/partial/                              unfinished files; swept when their owner is dead

A file is complete before it gets its name, and its record is replaced atomically after that. So an
image is either the old one or the new one, and a guest keeps the one it started with.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from postroj import __version__, locking, paths, user
from postroj.errors import ImageError, UsageError
from postroj.image.store import fitness, os_errors
from postroj.image.store.record import (
    Layer,
    Provenance,
    Record,
    images_dir,
    is_file,
    open_file,
    read,
    record_path,
    stored_images,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from postroj.model import Image, Manager

log = logging.getLogger(__name__)

TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# What is below can be fetched again: https://bford.info/cachedir/\n"
)


def partial_dir() -> Path:
    """Return the folder of unfinished files."""
    return paths.cache_dir() / "partial"


def prepare() -> None:
    """Create the folders and sweep them.

    :raises HostError: if the cache cannot be written.
    """
    with os_errors.explained():
        for folder in (images_dir(), partial_dir(), paths.cache_dir() / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        with (
            suppress(FileExistsError),
            (paths.cache_dir() / "CACHEDIR.TAG").open("x", encoding="ascii") as tag,
        ):
            tag.write(TAG)
        sweep()


def sweep() -> None:
    """Remove unfinished files of dead processes."""
    for name in locking.sweep(partial_dir()):
        log.debug("removed %s, whose maker is dead", name)


def find(name: str, architecture: str) -> Record | None:
    """Return the record of an image if it is cached."""
    try:
        record = read(name, architecture)
    except ValueError as error:
        path = record_path(name, architecture)
        log.warning("the record '%s' cannot be read, its image is treated as not cached", path)
        log.debug("%s", error)
        return None
    if record is None or all(map(is_file, record.paths)):
        return record
    # If another process has replaced the image meanwhile, the new one is cached.
    return find(name, architecture) if is_replaced(record) else None


def is_replaced(record: Record) -> bool:
    """Whether the image has another record by now."""
    with suppress(ValueError):
        return read(record.name, record.architecture) != record
    return True


def require(name: str, architecture: str) -> Record:
    """Return the record of an image that must be cached.

    :raises UsageError: if it is not.
    """
    record = find(name, architecture)
    if record is None:
        message = f"the image '{name}' is not cached"
        hint = f"`postroj list-images --cached` shows others, `postroj pull {name}` downloads it"
        raise UsageError(message, hint=hint)
    return record


@contextmanager
def use(image: Image) -> Iterator[Image]:
    """Lock an image's files while the context lasts, so that nobody deletes them.

    Yields the current image, which may have replaced the given one.

    :raises UsageError: if the image was removed.
    :raises ImageError: if its replacement may not be used.
    """
    with ExitStack() as stack:
        with os_errors.explained():
            while not lock_shared(stack, image.layers):
                record = require(image.name, image.architecture)
                fitness.check(record)
                image = record.as_image()
        yield image


def lock_shared(stack: ExitStack, files: Iterable[Path]) -> bool:
    """Lock files with a shared lock until the stack unwinds; False if one of them is gone."""
    with ExitStack() as locked:
        for path in files:
            try:
                descriptor = open_file(path)
            except FileNotFoundError:
                return False
            locked.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink == 0:  # deleted before we got the lock
                return False
        stack.push(locked.pop_all())
    return True


@contextmanager
def building(name: str, architecture: str) -> Iterator[Path]:
    """Lock the building of an image, and yield a directory to build it in."""
    lock = paths.cache_dir() / "locks" / f"{name}-{architecture}.lock"

    def report_wait() -> None:
        log.info("%s: waiting for another `postroj pull`", name)

    with (
        os_errors.explained(),
        locking.exclusive(lock, report_wait),
        locking.Claim.make(partial_dir(), "pull") as claim,
    ):
        yield claim.path


def add(
    name: str,
    architecture: str,
    manager: Manager | None,
    file: Path,
    provenance: Provenance,
    sha256: str = "",
    *,
    prepared: tuple[str, ...] | None = None,
    systemd: int | None = None,
    locked: bool = False,
) -> Record:
    """Store a file from `building` and its record, and drop the image's previous layers.

    The digest is computed unless it is given.
    """
    layer = seal(file, sha256)
    record = Record(
        name=name,
        architecture=architecture,
        manager=manager,
        sha256=layer.sha256,
        size=layer.size,
        prepared=prepared,
        systemd=systemd,
        locked=locked,
        created=_now(),
        postroj=__version__,
        **{field.name: getattr(provenance, field.name) for field in fields(Provenance)},
    )
    _put_in_place(record, {layer: file}, file.parent)
    return record


def extend(record: Record, file: Path | None, prepared: tuple[str, ...], directory: Path) -> Record:
    """Stack a layer from `building` on an image; without a file, only note the preparation."""
    added = {seal(file): file} if file else {}
    record = replace(
        record,
        layers=(*record.layers, *added),
        prepared=prepared,
        by_user=not user.is_root(),
        created=_now(),
    )
    _put_in_place(record, added, directory)
    return record


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


def seal(file: Path, sha256: str = "") -> Layer:
    """Make a squashfs file durable and read-only; compute its digest unless it is given."""
    import hashlib

    with file.open("rb") as stream:
        digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.seek(0, os.SEEK_END)
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    return Layer(sha256=digest, size=size)


def draft(directory: Path, text: str) -> Path:
    """Write a durable draft of a record, to be renamed to its final name."""
    path = directory / "record.json"
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    return path


def _put_in_place(record: Record, added: Mapping[Layer, Path], directory: Path) -> None:
    """Rename files to their final names, then the record."""
    drafted = draft(directory, record.to_json())
    with write_locked():
        for layer, file in added.items():
            file.rename(record.path_of(layer))
        sync_folder(images_dir())  # the names of files must be durable before the record is
        drafted.replace(record_path(record.name, record.architecture))
        sync_folder(images_dir())


def collect() -> int:
    """Delete unlocked files without a record, and return the bytes freed."""
    return sum(size for _, size in collect_each() if size)


def collect_each(*, dry_run: bool = False) -> list[tuple[str, int | None]]:
    """Delete files as `collect` does; return name and size of each, None for a locked file."""
    with os_errors.explained(), write_locked():
        return [(path.name, delete_unlocked(path, dry_run=dry_run)) for path in orphans()]


def orphans() -> list[Path]:
    """Return the files that no record names."""
    current: set[Path] = set()
    for image in stored_images():
        with suppress(ValueError):
            record = read(*image)
            current.update(record.paths if record else ())
    return [path for path in sorted(images_dir().glob("*.squashfs")) if path not in current]


def remove(name: str, architecture: str, *, dry_run: bool = False) -> int:
    """Delete an image, even an incomplete one, and return the bytes freed.

    :raises UsageError: if it is not in the store.
    :raises ImageError: if a guest has locked it.
    """
    with os_errors.explained(), write_locked():
        if (name, architecture) not in stored_images():
            require(name, architecture)
        files: tuple[Path, ...] = ()
        with suppress(ValueError):
            record = read(name, architecture)
            files = record.paths if record else ()
        with ExitStack() as stack:
            sizes = [_lock_exclusively(stack, path) for path in files]
            if None in sizes:
                message = f"the image '{name}' is in use by a guest or by another command"
                raise ImageError(message, hint="stop its guests, then try again")
            for path in () if dry_run else (record_path(name, architecture), *files):
                path.unlink(missing_ok=True)
    return sum(size or 0 for size in sizes)


def records() -> list[Record]:
    """Return the records of all cached images."""
    return [record for image in stored_images() if (record := find(*image))]


def delete_unlocked(path: Path, *, dry_run: bool) -> int | None:
    """Delete a squashfs file and return its size; None if a guest has locked it."""
    with ExitStack() as stack:
        size = _lock_exclusively(stack, path)
        if size is not None and not dry_run:
            path.unlink()
    return size


def _lock_exclusively(stack: ExitStack, path: Path) -> int | None:
    """Lock a file exclusively until the stack unwinds and return its size; None if it is locked."""
    if not is_file(path):
        return 0  # a link or the like is never locked
    descriptor = open_file(path)
    stack.callback(os.close, descriptor)
    if not locking.try_lock(descriptor, fcntl.LOCK_EX):
        return None
    return os.fstat(descriptor).st_size


@contextmanager
def write_locked() -> Iterator[None]:
    """Lock the store for changes, so that no file is collected before its record is written."""
    _store_lock().parent.mkdir(exist_ok=True)  # a CI cache may contain the images alone
    with locking.exclusive(_store_lock()):
        yield


@contextmanager
def read_locked() -> Iterator[None]:
    """Lock the store against changes, without needing permission to write."""
    with os_errors.explained(), locking.shared(_store_lock()):
        yield


def _store_lock() -> Path:
    return paths.cache_dir() / "locks" / "store.lock"


def sync_folder(path: Path) -> None:
    """Flush a folder's names to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # some file systems do not support fsync on folders
        os.fsync(descriptor)
    os.close(descriptor)
