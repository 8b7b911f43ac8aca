"""The store: squashfs files, and beside each the record that says where it is from.

    CACHE/CACHEDIR.TAG
    CACHE/images/NAME-ARCH.json                 the record; without it there is no image
    CACHE/images/NAME-ARCH.<digest>.squashfs    never changed; guests hold a shared lock on theirs
    CACHE/locks/                                who makes an image, who puts one in place
    CACHE/partial/                              what is being made; swept when its maker is dead

A file is complete before it gets its name, and the record is replaced atomically after that. So
an image is either the old one or the new one, and a guest keeps the one it began with.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from postroj import __version__, locking, paths
from postroj.errors import ImageError, UsageError
from postroj.image.store import os_errors
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
    """Return the folder of what is being made."""
    return paths.cache_dir() / "partial"


def prepare() -> None:
    """Make the folders, and remove what a process that was killed has left in them.

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
    """Remove what a process that was killed has left half-made."""
    for name in locking.sweep(partial_dir()):
        log.debug("removed %s, whose maker is dead", name)


def find(name: str, architecture: str) -> Record | None:
    """Return the record of an image, if it is cached."""
    try:
        record = read(name, architecture)
    except ValueError as error:
        path = record_path(name, architecture)
        log.warning("the record '%s' cannot be read, its image counts as not cached", path)
        log.debug("%s", error)
        return None
    if record is None or all(map(is_file, record.paths)):
        return record
    # one that was replaced meanwhile is cached all the same
    return find(name, architecture) if is_replaced(record) else None


def is_replaced(record: Record) -> bool:
    """Whether the record of an image is another one now."""
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
        hint = f"`postroj list-images --cached` shows what is, `postroj pull {name}` fetches it"
        raise UsageError(message, hint=hint)
    return record


@contextmanager
def use(image: Image) -> Iterator[Image]:
    """Keep the files of an image from being deleted while the context lasts.

    What is yielded is the image that is current now: it may have been replaced since.

    :raises UsageError: if it was removed since.
    """
    with ExitStack() as stack:
        with os_errors.explained():
            while not lock_shared(stack, image.layers):
                image = require(image.name, image.architecture).as_image()
        yield image


def lock_shared(stack: ExitStack, files: Iterable[Path]) -> bool:
    """Hold a shared lock on each of some files until the stack unwinds; False if one is gone."""
    with ExitStack() as held:
        for path in files:
            try:
                descriptor = open_file(path)
            except FileNotFoundError:
                return False
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink == 0:  # deleted before the lock was ours
                return False
        stack.push(held.pop_all())
    return True


@contextmanager
def building(name: str, architecture: str) -> Iterator[Path]:
    """Be the only one who makes this image; the path of a directory to make it in."""
    lock = paths.cache_dir() / "locks" / f"{name}-{architecture}.lock"

    def say() -> None:
        log.info("%s: waiting for another `postroj pull` of it", name)

    with (
        os_errors.explained(),
        locking.exclusive(lock, say),
        locking.Claim.make(partial_dir(), "pull") as claim,
    ):
        yield claim.path


def add(
    name: str,
    architecture: str,
    manager: Manager | None,
    file: Path,
    of: Provenance,
    sha256: str = "",
    *,
    prepared: tuple[str, ...] | None = None,
    systemd: int | None = None,
) -> Record:
    """Put a file from `building` in place, then its record; only this makes it an image.

    Its digest is taken unless it is known already.
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
        created=_now(),
        postroj=__version__,
        **{field.name: getattr(of, field.name) for field in fields(Provenance)},
    )
    _put_in_place(record, {layer: file}, file.parent)
    return record


def extend(record: Record, file: Path | None, prepared: tuple[str, ...], directory: Path) -> Record:
    """Stack a layer, made in a `directory` from `building`, on an image; None changes no file."""
    added = {seal(file): file} if file else {}
    layers = (*record.layers, *added)
    record = replace(record, layers=layers, prepared=prepared, created=_now())
    _put_in_place(record, added, directory)
    return record


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


def seal(file: Path, sha256: str = "") -> Layer:
    """Make a squashfs file permanent, and take its digest unless it is known already."""
    import hashlib

    with file.open("rb") as stream:
        digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.seek(0, os.SEEK_END)
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    return Layer(sha256=digest, size=size)


def draft(directory: Path, text: str) -> Path:
    """Write a record, permanent already, to the file from which it takes its place."""
    path = directory / "record.json"
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    return path


def _put_in_place(record: Record, added: Mapping[Layer, Path], directory: Path) -> None:
    """Rename files to their names, then the record, drafted in `directory`, to its own."""
    drafted = draft(directory, record.to_json())
    with write_locked():
        for layer, file in added.items():
            file.rename(record.path_of(layer))
        sync_folder(images_dir())  # the files' names before the record's
        drafted.replace(record_path(record.name, record.architecture))
        sync_folder(images_dir())


def collect() -> int:
    """Delete the files that no record names and no guest holds; the bytes that became free."""
    return sum(size for _, size in collect_each() if size)


def collect_each(*, dry_run: bool = False) -> list[tuple[str, int | None]]:
    """Delete files as `collect` does; name and size of each, None if it is held."""
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
    """Delete an image, also one that is incomplete; the bytes that became free.

    :raises UsageError: if it is not in the store.
    :raises ImageError: if a guest holds it.
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
                raise ImageError(message, hint="end its guests, then try again")
            for path in () if dry_run else (record_path(name, architecture), *files):
                path.unlink(missing_ok=True)
    return sum(size or 0 for size in sizes)


def records() -> list[Record]:
    """Return the records of all images that are cached."""
    return [record for image in stored_images() if (record := find(*image))]


def delete_unlocked(path: Path, *, dry_run: bool) -> int | None:
    """Delete a squashfs file unless a guest holds it; its size, None if it is held."""
    with ExitStack() as stack:
        size = _lock_exclusively(stack, path)
        if size is not None and not dry_run:
            path.unlink()
    return size


def _lock_exclusively(stack: ExitStack, path: Path) -> int | None:
    """Be the only one who holds a file until the stack unwinds; its size, None if it is held."""
    if not is_file(path):
        return 0  # what only stands in for a file is held by nobody
    descriptor = open_file(path)
    stack.callback(os.close, descriptor)
    if not locking.try_lock(descriptor, fcntl.LOCK_EX):
        return None
    return os.fstat(descriptor).st_size


@contextmanager
def write_locked() -> Iterator[None]:
    """Keep a file that has its name but not yet its record from being collected."""
    _store_lock().parent.mkdir(exist_ok=True)  # a cache of CI may hold the images alone
    with locking.exclusive(_store_lock()):
        yield


@contextmanager
def read_locked() -> Iterator[None]:
    """Contents while nothing is put in place or deleted; takes no right to write."""
    with os_errors.explained(), locking.shared(_store_lock()):
        yield


def _store_lock() -> Path:
    return paths.cache_dir() / "locks" / "store.lock"


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # some file systems have no fsync of folders
        os.fsync(descriptor)
    os.close(descriptor)
