"""Maintain the store: compare files with their records, delete what nobody uses."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import locking, paths
from postroj.errors import ImageError, UsageError
from postroj.image.catalog import catalog
from postroj.image.store import os_errors, store, warm_layers
from postroj.image.store.record import Layer, Record, images_dir, open_file, read, stored_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from postroj.console import Progress

CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of verifying an image."""

    name: str
    architecture: str
    size: int
    """Bytes of its files, according to the record."""
    faults: tuple[str, ...]
    """Deviations from the record; empty if there are none."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted, or would be with `dry_run`."""

    files: tuple[str, ...]
    """Squashfs files without an image."""
    leftovers: tuple[str, ...]
    """Folders of killed commands in `partial/` and `downloads/`."""
    images: tuple[tuple[str, str], ...]
    """Names and architectures."""
    layers: tuple[str, ...]
    """Layers whose image is gone, or that no probe has used for long."""
    held: tuple[str, ...]
    """Images and files that stay because a guest or another command has locked them."""
    freed: int
    """Bytes."""


def resolve(name: str, architecture: str) -> str:
    """Return the full name of a stored image, or of a name or alias in the catalog.

    :raises UsageError: if there is none.
    """
    return name if (name, architecture) in stored_images() else catalog.find(name).name


def verify(images: Sequence[tuple[str, str]], progress: Progress) -> Iterator[Finding]:
    """Read all files of images (name, architecture) and compare them with their records."""
    total = sum(_recorded_size(*image) for image in images)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.reach(done, total)

    for name, architecture in images:
        progress.describe(name)
        if finding := _examine(name, architecture, advance):
            yield finding


def _recorded_size(name: str, architecture: str) -> int:
    try:
        record = read(name, architecture)
    except ValueError:
        return 0
    return record.total_size if record else 0


def _examine(name: str, architecture: str, advance: Callable[[int], None]) -> Finding | None:
    """Verify one image, again if it is replaced meanwhile; None if it is removed meanwhile."""
    while True:
        size, faults = 0, []
        try:
            record = read(name, architecture)
        except ValueError as error:
            faults = [f"its record cannot be read: {error}"]
            break
        if record is None:
            return None
        size = record.total_size
        faults = _faults(record, advance)
        if not faults or not store.is_replaced(record):
            break
    return Finding(name=name, architecture=architecture, size=size, faults=tuple(faults))


def _faults(record: Record, advance: Callable[[int], None]) -> list[str]:
    faults = [_fault(record.path_of(layer), layer, advance) for layer in record.files]
    return [fault for fault in faults if fault]


def _fault(path: Path, layer: Layer, advance: Callable[[int], None]) -> str:
    """Return what is wrong with a squashfs file; '' if nothing is."""
    try:
        descriptor = open_file(path)
    except FileNotFoundError:
        return f"'{path.name}' is missing"
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL):
            return f"'{path.name}' is not a regular file"
        return f"'{path.name}' cannot be read: {error.strerror}"
    digest, count = hashlib.sha256(), 0
    with open(descriptor, "rb", buffering=0) as stream:  # noqa: PTH123
        try:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                count += len(chunk)
                advance(len(chunk))
        except OSError as error:
            return f"'{path.name}' cannot be read: {error.strerror}"
    if count != layer.size:
        return f"'{path.name}' has {count} bytes instead of {layer.size}"
    if digest.hexdigest() != layer.sha256:
        return f"'{path.name}' was changed, its SHA-256 is {digest.hexdigest()}"
    return ""


def unused() -> list[tuple[str, int]]:
    """Return name and size of each file without an image; needs no permission to write."""
    with store.read_locked():
        return [(path.name, path.lstat().st_size) for path in store.orphans()]


def prune(*, everything: bool, dry_run: bool) -> Pruned:
    """Delete what nobody uses; with `everything`, also all images that are not locked."""
    leftovers: list[str] = []
    freed = 0
    for folder in (store.partial_dir(), paths.cache_dir() / "downloads"):

        def note(name: str, folder: Path = folder) -> None:
            nonlocal freed
            leftovers.append(f"{folder.name}/{name}")
            freed += paths.disk_usage(folder / name)

        with os_errors.explained():
            locking.sweep(folder, note, dry_run=dry_run)
    images: list[tuple[str, str]] = []
    held: list[str] = []
    for image in stored_images() if everything else ():
        try:
            freed += store.remove(*image, dry_run=dry_run)
            images.append(image)
        except ImageError:
            held.append(image[0])
        except UsageError:  # another process removed it
            continue
    files = store.collect_each(dry_run=dry_run) if images_dir().is_dir() else []
    layers = warm_layers.collect_each(
        unused=0.0 if everything else warm_layers.UNUSED, dry_run=dry_run
    )
    return Pruned(
        files=tuple(name for name, size in files if size is not None),
        leftovers=tuple(leftovers),
        images=tuple(images),
        layers=tuple(name for name, size in layers if size is not None),
        held=(*held, *(name for name, size in (*files, *layers) if size is None)),
        freed=freed + sum(size or 0 for _, size in (*files, *layers)),
    )
