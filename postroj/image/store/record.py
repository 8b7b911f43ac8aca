"""The record of an image: its origin, how that was verified, and its files.

Stored as JSON beside the squashfs files; the keys are the names of the fields.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from postroj import paths, user
from postroj.image import emulation
from postroj.image.store import os_errors
from postroj.model import SHA256, Image, Manager, SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGITS = 16
"""Hex digits of the digest in the name of a file."""


def images_dir() -> Path:
    """Return the folder of squashfs files and records."""
    return paths.cache_dir() / "images"


def record_path(name: str, architecture: str) -> Path:
    """Return the path of an image's record."""
    return images_dir() / f"{name}-{architecture}.json"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a source reports about the image it built."""

    source: SourceKind
    url: str
    """The URL in the catalog, not that of a mirror to which it redirects, whose secrets expire;
    without secrets of its own, and for a registry with the digest."""
    build: str
    """Which of several builds at the URL: a suite, a version, a tag; '' if there is only one."""
    artifact: str
    """SHA-256 of the download; '' for an image of many packages."""
    compression: str
    """Of the squashfs; '' if it was stored as downloaded."""
    verification: Verification
    fingerprints: tuple[str, ...] = ()
    """Fingerprints of the primary keys that signed."""
    archived: bool = False
    """Whether it came from the archive of a release that has ended."""
    allow_expired: bool = False
    """Whether expired Release files were accepted; then its guests accept them as well."""
    signed: int | None = None
    """When it was signed, in seconds since 1970, so that nothing older replaces it; None if that is
    not known."""
    expired_signature: bool = False
    """Whether its signatures or keys have expired, and that was accepted."""
    epoch: int | None = None
    """Latest time stamp of files made during the build, in seconds since 1970; None if all files
    are as downloaded."""
    mirrors: tuple[str, ...] = ()
    """Mirror of each archive, as `debian=http://mirror.example/debian`."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A squashfs file of the store."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Record(Provenance):
    """A stored image; the fields are the keys of its JSON."""

    name: str
    architecture: str
    manager: Manager | None
    sha256: str
    size: int
    prepared: tuple[str, ...] | None
    """How it was made bootable, in words, by `layers`; None if it has not been prepared."""
    layers: tuple[Layer, ...] = ()
    """Layers stacked on the base."""
    systemd: int | None = None
    """Major version of its systemd according to the catalog, since reading it in each guest takes
    too long; None if the catalog does not say."""
    by_user: bool = False
    """Whether its layers were made without root of the host: an overlay of root's does not read
    what they remove, nor the other way round."""
    locked: bool = False
    """Whether it was pulled for a lock file; then it is used only where a lock file lists it."""
    created: str
    """UTC, ISO 8601."""
    postroj: str
    """Version of postroj that built it."""

    @property
    def is_prepared(self) -> bool:
        """Whether it was made bootable, by layers that overlays of this user read."""
        fits = not self.layers or self.by_user is not user.is_root()
        return self.prepared is not None and fits

    @property
    def files(self) -> list[Layer]:
        """All squashfs files, the base first."""
        return [Layer(sha256=self.sha256, size=self.size), *self.layers]

    @property
    def total_size(self) -> int:
        """Bytes of all squashfs files."""
        return sum(layer.size for layer in self.files)

    def path_of(self, layer: Layer) -> Path:
        """Return the path of one of its squashfs files."""
        name = f"{self.name}-{self.architecture}.{layer.sha256[:DIGITS]}.squashfs"
        return images_dir() / name

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of all squashfs files, the base first."""
        return tuple(map(self.path_of, self.files))

    @property
    def path(self) -> Path:
        """Path of the base."""
        return self.paths[0]

    def as_image(self) -> Image:
        """Convert the record to what `container` needs."""
        return Image(
            name=self.name,
            architecture=self.architecture,
            layers=self.paths,
            digest=self.sha256,
            manager=self.manager,
            systemd=self.systemd,
            emulated=emulation.is_needed(self.architecture),
        )

    def to_json(self) -> str:
        """Serialize the record."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Parse a record.

        :raises ValueError: if the text is not a record, or one of another version.
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
    """Convert parsed JSON or TOML to the fields of a provenance.

    :raises KeyError: if a field is missing.
    :raises ValueError: if a field has an unknown value.
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
    """Return a SHA-256; it becomes part of a path and may come from another user."""
    if not SHA256.fullmatch(str(text)):
        message = f"'{text}' is not a SHA-256"
        raise ValueError(message)
    return str(text)


def read(name: str, architecture: str) -> Record | None:
    """Return the record of an image, even if its files are gone; None without a record.

    :raises ValueError: if the record cannot be read or belongs to another image.
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
        message = f"it belongs to '{record.name}' for '{record.architecture}'"
        raise ValueError(message)
    return record


def stored_images() -> list[tuple[str, str]]:
    """Return name and architecture of all images with a record, readable or not."""
    stems = sorted(path.stem for path in images_dir().glob("*.json"))
    return [(name, architecture) for name, _, architecture in (s.rpartition("-") for s in stems)]


def open_file(path: Path) -> int:
    """Open a file of the store for reading; refuse links, pipes and the like."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return descriptor


def is_file(path: Path) -> bool:
    """Whether a regular file is there, not a link."""
    return path.is_file() and not path.is_symlink()
