"""The record of an image: where it is from, how that was proved, which files it is.

It lies as JSON beside the squashfs files of its image; the keys are the names of the fields.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from postroj import paths
from postroj.image import emulation
from postroj.image.store import os_errors
from postroj.model import SHA256, Image, Manager, SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGITS = 16
"""As many of its digest are part of a file's name."""


def images_dir() -> Path:
    """Return the folder of squashfs files and records."""
    return paths.cache_dir() / "images"


def record_path(name: str, architecture: str) -> Path:
    """Return the record of an image."""
    return images_dir() / f"{name}-{architecture}.json"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a source says about what it made."""

    source: SourceKind
    url: str
    """Where it is from in the end, without secrets; a registry's with its digest."""
    build: str
    """Which one of several at that place: a suite, a version, a tag; '' if there is but one."""
    artifact: str
    """SHA-256 of what was fetched; '' where that is many packages."""
    compression: str
    """Of the squashfs; '' if it was taken as it is."""
    verification: Verification
    fingerprints: tuple[str, ...] = ()
    """Of the primary keys that signed."""
    allow_expired: bool = False
    """Whether Release files that are out of date were accepted; its guests accept them, too."""
    epoch: int | None = None
    """Seconds since 1970: no file that was made on the way is dated later; None where all files
    are as they were fetched."""
    mirrors: tuple[str, ...] = ()
    """Where the packages of each archive are from, as `debian=http://mirror.example/debian`."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A squashfs file of the store."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Record(Provenance):
    """What is known of a stored image; the keys of its JSON."""

    name: str
    architecture: str
    manager: Manager | None
    sha256: str
    size: int
    prepared: tuple[str, ...] | None
    """What was done to it so that it boots, in `layers`; None while nobody has looked."""
    layers: tuple[Layer, ...] = ()
    """Stacked on it."""
    systemd: int | None = None
    """Its major version as the catalog had it, which takes too long to read for each guest; None
    where nobody knows."""
    created: str
    """UTC, ISO 8601."""
    postroj: str
    """The version that made it."""

    @property
    def files(self) -> list[Layer]:
        """All of its squashfs files, the base first."""
        return [Layer(sha256=self.sha256, size=self.size), *self.layers]

    @property
    def total_size(self) -> int:
        """Bytes of all its squashfs files."""
        return sum(layer.size for layer in self.files)

    def path_of(self, layer: Layer) -> Path:
        """Return one of its squashfs files."""
        name = f"{self.name}-{self.architecture}.{layer.sha256[:DIGITS]}.squashfs"
        return images_dir() / name

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of its squashfs files, the base first."""
        return tuple(map(self.path_of, self.files))

    @property
    def path(self) -> Path:
        """Its base."""
        return self.paths[0]

    def as_image(self) -> Image:
        """Return what `container` wants to know."""
        return Image(
            name=self.name,
            architecture=self.architecture,
            layers=self.paths,
            manager=self.manager,
            systemd=self.systemd,
            emulated=emulation.is_needed(self.architecture),
        )

    def to_json(self) -> str:
        """Write a record."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record.

        :raises ValueError: if it is none, or one of another version.
        """
        try:
            data = json.loads(text)
            known: dict[str, Any] = {
                field.name: data[field.name]
                for field in fields(cls)
                if field.name in data or field.default is MISSING
            }
            known |= provenance_fields(known)
            known["manager"] = Manager(known["manager"]) if known["manager"] else None
            known["prepared"] = None if known["prepared"] is None else tuple(known["prepared"])
            known["layers"] = tuple(
                Layer(sha256=checked_digest(layer["sha256"]), size=int(layer["size"]))
                for layer in known.get("layers", ())
            )
            known["sha256"] = checked_digest(known["sha256"])
            systemd = known.get("systemd")
            known["systemd"] = None if systemd is None else int(systemd)
        except KeyError as error:
            message = f"it has no key {error}"
            raise ValueError(message) from None
        except TypeError as error:
            raise ValueError(str(error)) from None
        return cls(**known)


def provenance_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a provenance from what JSON or TOML made of them.

    :raises KeyError: if one is missing.
    :raises ValueError: if one has a value that is not known.
    """
    known = {
        field.name: data[field.name]
        for field in fields(Provenance)
        if field.name in data or field.default is MISSING
    }
    known["source"] = SourceKind(known["source"])
    known["verification"] = Verification(known["verification"])
    for name in ("fingerprints", "mirrors"):
        known[name] = tuple(map(str, known.get(name, ())))
    return known


def checked_digest(text: object) -> str:
    """Return a SHA-256; it becomes part of a path, and may come from another user's cache."""
    if not SHA256.fullmatch(str(text)):
        message = f"'{text}' is no SHA-256"
        raise ValueError(message)
    return str(text)


def read(name: str, architecture: str) -> Record | None:
    """Return the record of an image, if it has one, whatever became of its files.

    :raises ValueError: if it cannot be read, or is that of another image.
    """
    with os_errors.explained():
        try:
            descriptor = open_file(record_path(name, architecture))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL):
                raise ValueError(str(error)) from None
            raise
        with open(descriptor, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            record = Record.from_json(stream.read())
    if (record.name, record.architecture) != (name, architecture):
        message = f"it is that of '{record.name}' for '{record.architecture}'"
        raise ValueError(message)
    return record


def stored_images() -> list[tuple[str, str]]:
    """Return name and architecture of all images that have a record, readable or not."""
    stems = sorted(path.stem for path in images_dir().glob("*.json"))
    return [(name, architecture) for name, _, architecture in (s.rpartition("-") for s in stems)]


def open_file(path: Path) -> int:
    """Open a file of the store for reading, and nothing that stands in for one: a link, a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return descriptor


def is_file(path: Path) -> bool:
    """Whether there is a file of the store, and nothing that stands in for one."""
    return path.is_file() and not path.is_symlink()
