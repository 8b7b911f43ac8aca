"""Layers that are kept between runs: made on top of images, each can be made again.

    CACHE/layers/KIND-KEY.json                  the record; without it there is no layer
    CACHE/layers/KIND-KEY.<digest>.squashfs     never changed; guests hold a shared lock on theirs

A key stands for what a layer was made of: the files below it, and what was asked for. So a layer
whose image was replaced is found no more; it is deleted, and all that rests on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj import __version__, locking, paths
from postroj.image.store import os_errors, store
from postroj.image.store.record import DIGITS, checked_digest, is_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.model import Image

UNUSED = 7 * 24 * 3600.0
"""Seconds after which `prune` deletes a layer that no probe has used."""


class Kind(StrEnum):
    """What a layer brings; each may rest on those before it."""

    SETUP = "setup"
    """What the user's commands have written."""
    LISTS = "lists"
    """Package lists."""
    DEPENDENCIES = "dependencies"
    """Packages that were fetched, and not installed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a layer is made of."""

    kind: Kind
    below: tuple[str, ...]
    """Names of the files below it, the image's own first."""
    asked: tuple[str, ...]
    """The commands of a set-up; the package manager."""

    @property
    def stem(self) -> str:
        """How the names of its record and its file begin."""
        words = json.dumps([self.kind, self.below, self.asked])
        return f"{self.kind}-{hashlib.sha256(words.encode()).hexdigest()[:DIGITS]}"

    @property
    def record_path(self) -> Path:
        """Its record."""
        return layers_dir() / f"{self.stem}.json"


@dataclass(frozen=True, kw_only=True)
class WarmLayer(Recipe):
    """A layer that is kept; the keys of its JSON."""

    sha256: str
    size: int
    """Bytes."""
    complete: tuple[str, ...] = ()
    """Of dependencies: digests of the package files for which all was fetched."""
    created: str
    """UTC, ISO 8601."""
    postroj: str
    """The version that made it."""

    @property
    def path(self) -> Path:
        """Its squashfs file."""
        return layers_dir() / f"{self.stem}.{self.sha256[:DIGITS]}.squashfs"

    @property
    def made(self) -> float:
        """When it was made, in seconds since 1970."""
        return datetime.fromisoformat(self.created).timestamp()


def layers_dir() -> Path:
    """Return the folder of kept layers."""
    return paths.cache_dir() / "layers"


def recipe(kind: Kind, image: Image, *asked: str) -> Recipe:
    """Return what a layer on top of an image is made of."""
    return Recipe(kind=kind, below=tuple(path.name for path in image.layers), asked=asked)


def find(recipe: Recipe) -> WarmLayer | None:
    """Return the layer of a recipe, if it is kept."""
    with os_errors.explained():
        kept = _read(recipe.record_path)
    return kept if kept and is_file(kept.path) else None


def _read(path: Path) -> WarmLayer | None:
    """Read a record; one that cannot be read is none."""
    try:
        with open(open_file(path), encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            data = json.load(stream)
        kept = WarmLayer(
            kind=Kind(data["kind"]),
            below=tuple(map(str, data["below"])),
            asked=tuple(map(str, data["asked"])),
            sha256=checked_digest(data["sha256"]),
            size=int(data["size"]),
            complete=tuple(map(str, data["complete"])),
            created=str(data["created"]),
            postroj=str(data["postroj"]),
        )
        is_sound = kept.record_path == path and kept.made > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return kept if is_sound else None


def use(stack: ExitStack, kept: WarmLayer) -> bool:
    """Keep a layer from being deleted until the stack unwinds; False if it is gone already."""
    with os_errors.explained():
        if not store.lock_shared(stack, [kept.path]):
            return False
    with suppress(OSError):  # a cache that cannot be written serves, too
        os.utime(kept.record_path, follow_symlinks=False)
    return True


@contextmanager
def building(image: Image) -> Iterator[Path]:
    """Be the only one who makes layers on an image; the path of a directory to make them in.

    :raises HostError: if the cache cannot be written.
    """
    store.prepare()
    lock = paths.cache_dir() / "locks" / f"{image.name}-{image.architecture}.layers.lock"
    with (
        os_errors.explained(),
        locking.exclusive(lock),
        locking.Claim.make(store.partial_dir(), "layer") as claim,
    ):
        layers_dir().mkdir(exist_ok=True)
        yield claim.path


def add(stack: ExitStack, recipe: Recipe, file: Path, complete: tuple[str, ...] = ()) -> WarmLayer:
    """Keep a layer that was made, in the place of one that there was; in use as by `use`."""
    sealed = store.seal(file)
    kept = WarmLayer(
        kind=recipe.kind,
        below=recipe.below,
        asked=recipe.asked,
        sha256=sealed.sha256,
        size=sealed.size,
        complete=complete,
        created=datetime.now(UTC).isoformat(),
        postroj=__version__,
    )
    with os_errors.explained():
        store.lock_shared(stack, [file])
        with store.write_locked():
            file.rename(kept.path)
            _write(kept, file.parent)
    return kept


def amend(kept: WarmLayer, complete: tuple[str, ...], directory: Path) -> WarmLayer:
    """Note for which package files a layer is complete; its file stays as it is."""
    kept = replace(kept, complete=complete)
    with os_errors.explained(), store.write_locked():
        _write(kept, directory)
    return kept


def _write(kept: WarmLayer, directory: Path) -> None:
    """Replace a record by one that is drafted in `directory`."""
    store.sync_folder(layers_dir())  # the file's name before the record's
    draft = store.draft(directory, json.dumps(asdict(kept), indent=2) + "\n")
    draft.replace(kept.record_path)


def collect() -> int:
    """Delete the layers whose image is gone, and files of none; the bytes that became free."""
    return sum(size for _, size in collect_each() if size)


def collect_each(
    *, unused: float = float("inf"), dry_run: bool = False
) -> list[tuple[str, int | None]]:
    """Delete layers whose image is gone, or which nobody has used for `unused` seconds.

    Name and size of each file that is deleted, None if it is held.
    """
    if not layers_dir().is_dir():
        return []
    with os_errors.explained(), store.write_locked():
        current = {path.name for record in store.records() for path in record.paths}
        found = {path: _read(path) for path in layers_dir().glob("*.json")}
        doomed = {}
        for path, kept in sorted(found.items(), key=lambda pair: _height(pair[1])):
            if kept and current.issuperset(kept.below) and _was_used(path, unused):
                current.add(kept.path.name)
            elif not dry_run and (kept is None or not is_file(kept.path)):
                path.unlink()
            elif kept:
                doomed[kept.path.name] = path
        files = [path for path in layers_dir().glob("*.squashfs") if path.name not in current]
        sizes = [
            (path.name, store.delete_unlocked(path, dry_run=dry_run)) for path in sorted(files)
        ]
        for name, size in sizes:
            if name in doomed and size is not None and not dry_run:
                doomed[name].unlink()
    return sizes


def _height(kept: WarmLayer | None) -> int:
    """Say how many files a layer rests on: fewer than any on top of it."""
    return len(kept.below) if kept else 0


def _was_used(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime < seconds
