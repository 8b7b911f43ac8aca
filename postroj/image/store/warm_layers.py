"""Layers that are cached between runs, stacked on images; any of them can be made again.

    CACHE/layers/KIND-KEY.json                  the record; without it there is no layer
    CACHE/layers/KIND-KEY.<digest>.squashfs     immutable; guests lock theirs with a shared lock

The key is a hash of the recipe: the files below the layer and what was asked for. Replacing an
image therefore orphans its layers; they are deleted, with all layers stacked on them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING

from postroj import __version__, locking, paths, user
from postroj.image.store import os_errors, store
from postroj.image.store.record import DIGITS, checked_digest, is_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from postroj.model import Image

UNUSED = 7 * 24 * 3600.0
"""Seconds after which `prune` deletes a layer that no probe has used."""


MOST_DEPENDENCIES = 8 << 30
"""Limit for all layers of dependencies, in bytes: each package may have one of its own."""
LOCKED = 2
"""Number of digits of a layer's key that name its lock."""


class Kind(StrEnum):
    """Content of a layer; each kind may be stacked on the kinds before it."""

    KERNEL = "kernel"
    """A kernel with its modules, for a guest with a kernel of its own."""
    TOOLS = "tools"
    """Programs that serve such a guest from outside."""
    UDEV = "udev"
    """What finds the hardware of such a guest."""
    SETUP = "setup"
    """Written by the commands of `--setup`."""
    LISTS = "lists"
    """Package lists."""
    DEPENDENCIES = "dependencies"
    """Other packages that the packages under test need: installed, or only downloaded."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a layer is made from."""

    kind: Kind
    below: tuple[str, ...]
    """Names of the files below it, the image's base first."""
    asked: tuple[str, ...]
    """The commands of `--setup`, or the package manager and what its packages name."""

    @property
    def stem(self) -> str:
        """Prefix of the file names of layer and record."""
        words = json.dumps([self.kind, self.below, self.asked])
        return f"{self.kind}-{hashlib.sha256(words.encode()).hexdigest()[:DIGITS]}"

    @property
    def record_path(self) -> Path:
        """Path of the record."""
        return layers_dir() / f"{self.stem}.json"


@dataclass(frozen=True, kw_only=True)
class WarmLayer(Recipe):
    """A cached layer; the fields are the keys of its JSON."""

    sha256: str
    size: int
    """Bytes."""
    packages: tuple[str, ...] = ()
    """Names of the packages that it installs; only for dependencies."""
    created: str
    """UTC, ISO 8601."""
    postroj: str
    """Version of postroj that made it."""

    @property
    def path(self) -> Path:
        """Path of the squashfs file."""
        return layers_dir() / f"{self.stem}.{self.sha256[:DIGITS]}.squashfs"

    @property
    def made(self) -> float:
        """Creation time in seconds since 1970."""
        return datetime.fromisoformat(self.created).timestamp()


def layers_dir() -> Path:
    """Return the folder of cached layers."""
    return paths.cache_dir() / "layers"


def recipe(kind: Kind, image: Image, *asked: str) -> Recipe:
    """Return the recipe of a layer on top of an image."""
    whose = () if user.is_root() else ("user",)  # see `Record.by_user`
    below = tuple(path.name for path in image.layers)
    return Recipe(kind=kind, below=below, asked=(*asked, *whose))


def find(recipe: Recipe) -> WarmLayer | None:
    """Return the cached layer of a recipe; None if there is none."""
    with os_errors.explained():
        layer = _read(recipe.record_path)
    return layer if layer and is_file(layer.path) else None


def _read(path: Path) -> WarmLayer | None:
    """Read a record; None if it is damaged."""
    try:
        with open(open_file(path), encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            data = json.load(stream)
        layer = WarmLayer(
            kind=Kind(data["kind"]),
            below=tuple(map(str, data["below"])),
            asked=tuple(map(str, data["asked"])),
            sha256=checked_digest(data["sha256"]),
            size=int(data["size"]),
            packages=tuple(map(str, data["packages"])),
            created=str(data["created"]),
            postroj=str(data["postroj"]),
        )
        is_sound = layer.record_path == path and layer.made > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return layer if is_sound else None


def use(stack: ExitStack, layer: WarmLayer) -> bool:
    """Lock a layer until the stack unwinds, so that nobody deletes it; False if it is gone."""
    with os_errors.explained():
        if not store.lock_shared(stack, [layer.path]):
            return False
    with suppress(OSError):  # a read-only cache works as well
        os.utime(layer.record_path, follow_symlinks=False)
    return True


@contextmanager
def building(recipe: Recipe) -> Iterator[Path]:
    """Lock the building of a layer, and yield a directory to build it in.

    A few other recipes share the lock, so that the number of lock files is limited.

    :raises HostError: if the cache cannot be written.
    """
    store.prepare()
    name = recipe.stem[: len(recipe.kind) + 1 + LOCKED]
    lock = paths.cache_dir() / "locks" / f"{name}.layers.lock"
    with (
        os_errors.explained(),
        locking.exclusive(lock),
        locking.Claim.make(store.partial_dir(), "layer") as claim,
    ):
        layers_dir().mkdir(exist_ok=True)
        yield claim.path


def add(stack: ExitStack, recipe: Recipe, file: Path, packages: tuple[str, ...] = ()) -> WarmLayer:
    """Cache a new layer, replacing the recipe's previous one, and lock it as `use` does."""
    sealed = store.seal(file)
    layer = WarmLayer(
        kind=recipe.kind,
        below=recipe.below,
        asked=recipe.asked,
        sha256=sealed.sha256,
        size=sealed.size,
        packages=packages,
        created=datetime.now(UTC).isoformat(),
        postroj=__version__,
    )
    with os_errors.explained():
        store.lock_shared(stack, [file])
        with store.write_locked():
            file.rename(layer.path)
            _write(layer, file.parent)
    return layer


def _write(layer: WarmLayer, directory: Path) -> None:
    """Replace a record by a draft in `directory`."""
    store.sync_folder(layers_dir())  # the layer's name must be durable before the record is
    draft = store.draft(directory, json.dumps(asdict(layer), indent=2) + "\n")
    draft.replace(layer.record_path)


def collect() -> int:
    """Delete layers without an image and files without a record; return the bytes freed."""
    return sum(size for _, size in collect_each() if size)


def collect_each(
    *, unused: float = float("inf"), dry_run: bool = False
) -> list[tuple[str, int | None]]:
    """Delete layers whose image is gone, or that nobody has used for `unused` seconds.

    Of dependencies, those used last stay, up to `MOST_DEPENDENCIES`. Returns name and size of each
    deleted file, None for a locked one.
    """
    if not layers_dir().is_dir():
        return []
    with os_errors.explained(), store.write_locked():
        current = {path.name for record in store.records() for path in record.paths}
        found = {path: _read(path) for path in layers_dir().glob("*.json")}
        surplus = _surplus(found)
        doomed = {}
        for path, layer in sorted(found.items(), key=lambda pair: _height(pair[1])):
            is_wanted = path not in surplus and _was_used(path, unused)
            if layer and current.issuperset(layer.below) and is_wanted:
                current.add(layer.path.name)
            elif not dry_run and (layer is None or not is_file(layer.path)):
                path.unlink()
            elif layer:
                doomed[layer.path.name] = path
        files = [path for path in layers_dir().glob("*.squashfs") if path.name not in current]
        sizes = [
            (path.name, store.delete_unlocked(path, dry_run=dry_run)) for path in sorted(files)
        ]
        for name, size in sizes:
            if name in doomed and size is not None and not dry_run:
                doomed[name].unlink()
    return sizes


def _surplus(layers: Mapping[Path, WarmLayer | None]) -> set[Path]:
    """Return the records of dependencies that exceed the limit, those used last left out."""
    kind = Kind.DEPENDENCIES
    ours = {path: layer.size for path, layer in layers.items() if layer and layer.kind is kind}
    by_use = sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)
    sums = accumulate(ours[path] for path in by_use)
    return {path for path, total in zip(by_use, sums, strict=True) if total > MOST_DEPENDENCIES}


def _height(layer: WarmLayer | None) -> int:
    """Return the number of files below a layer, to sort layers bottom up."""
    return len(layer.below) if layer else 0


def _was_used(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime < seconds
