"""`postroj.lock`: the exact images of a project, which every pull reproduces or fails.

The file comes with a project, so with anybody's checkout. Therefore it only narrows what the
catalog offers: it selects a build by its digest, but neither a server nor a repository.

A TOML file for people and version control: sorted, one value a line. Two images are the same if
their downloads are (`artifact`); an image built from many packages has no single download, so there
the squashfs files are compared (`sha256`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postroj import paths
from postroj.errors import UsageError, VerificationError
from postroj.image.outfile import atomic_file
from postroj.image.store.record import Provenance, Record, checked_digest, provenance_fields
from postroj.model import SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA = 1

HEADER = """\
# Exact images, written by `postroj lock`. While this file is in the working directory, or named
# by POSTROJ_LOCK, every pull of an image that it names makes it again just so, or fails.
"""


@dataclass(frozen=True, kw_only=True)
class LockedImage:
    """An image as the lock file describes it."""

    name: str
    architecture: str
    sha256: str
    """Of its base squashfs."""
    provenance: Provenance

    @classmethod
    def from_record(cls, record: Record) -> LockedImage:
        """Build the entry of a stored image."""
        values = {field.name: getattr(record, field.name) for field in fields(Provenance)}
        return cls(
            name=record.name,
            architecture=record.architecture,
            sha256=record.sha256,
            provenance=Provenance(**values),
        )

    def matches(self, artifact: str, sha256: str) -> bool:
        """Whether an image with these digests of download and squashfs is this one."""
        wanted = self.provenance.artifact
        return artifact == wanted if wanted else sha256 == self.sha256

    @property
    def is_reproducible(self) -> bool:
        """Whether the record suffices to reproduce it; early versions recorded too little."""
        return bool(self.provenance.artifact) or self.provenance.epoch is not None

    def check(self, provenance: Provenance, sha256: str) -> None:
        """Check that a source has built exactly this image.

        :raises VerificationError: if it is another image.
        """
        if self.matches(provenance.artifact, sha256):
            return
        wanted = self.provenance.artifact or self.sha256
        got = provenance.artifact or sha256
        evidence = f"locked: {wanted}, {self.provenance.url}\nnow:    {got}, {provenance.url}"
        hint = f"`postroj --ignore-lock pull --force {self.name}` pulls the current image"
        message = f"'{self.name}' is no longer the image in the lock file"
        if self.provenance.source is SourceKind.BOOTSTRAP:
            message = (
                f"the mirror of '{self.name}' has moved on: its current packages make another image"
                " than the one in the lock file"
            )
            day = datetime.fromtimestamp(self.provenance.epoch or 0, UTC).date()
            hint = (
                f"use a snapshot mirror (of {day} or later)"
                f" as the apt source of this host and lock an image made from it; {hint}"
            )
        raise VerificationError(message, evidence=evidence, hint=hint)


def find(name: str, architecture: str) -> LockedImage | None:
    """Return an image of the lock file in effect; None if the file does not list it.

    :raises UsageError: if the file cannot be read, or was found and belongs to another user.
    """
    path = paths.lock_file()
    if path is None:
        return None
    if "POSTROJ_LOCK" not in os.environ and not paths.is_ours(path):
        message = f"the lock file '{path}' belongs to another user"
        hint = "`--lock postroj.lock` uses it anyway, `--ignore-lock` ignores it"
        raise UsageError(message, hint=hint)
    for locked in load(path):
        if (locked.name, locked.architecture) == (name, architecture):
            return locked
    return None


def load(path: Path) -> list[LockedImage]:
    """Read a lock file.

    :raises UsageError: if it does not exist or is not a lock file.
    """
    import tomllib  # imported late, because most commands read no lock file

    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return _images(data)
    except OSError as error:
        message = f"the lock file '{path}' cannot be read"
        raise UsageError(message, evidence=str(error)) from None
    except (ValueError, TypeError, AttributeError) as error:
        message = f"the lock file '{path}' is damaged, or of another version of postroj"
        hint = "`postroj lock` rewrites it"
        raise UsageError(message, evidence=str(error), hint=hint) from None
    except KeyError as error:
        message = f"an image in the lock file '{path}' has no key {error}"
        raise UsageError(message, hint="`postroj lock` rewrites it") from None


def _images(data: dict[str, Any]) -> list[LockedImage]:
    if data.get("schema") != SCHEMA:
        message = f"its schema is {data.get('schema')}, not {SCHEMA}"
        raise ValueError(message)
    return [_locked(image) for image in data.get("image", [])]


def _locked(image: dict[str, Any]) -> LockedImage:
    if image["artifact"]:
        checked_digest(image["artifact"])
    return LockedImage(
        name=str(image["name"]),
        architecture=str(image["architecture"]),
        sha256=checked_digest(image["sha256"]),
        provenance=Provenance(**provenance_fields(image)),
    )


def write(path: Path, images: Iterable[LockedImage]) -> None:
    """Write a lock file.

    :raises UsageError: if it cannot be written.
    """
    text = dump(images)
    with (
        atomic_file(path, replace=True) as descriptor,
        os.fdopen(descriptor, "w", closefd=False) as out,
    ):
        out.write(text)


def dump(images: Iterable[LockedImage]) -> str:
    """Format a lock file."""
    ordered = sorted(images, key=lambda locked: (locked.name, locked.architecture))
    return "\n".join([f"{HEADER}\nschema = {SCHEMA}\n", *map(_table, ordered)])


def _table(locked: LockedImage) -> str:
    values = {
        "name": locked.name,
        "architecture": locked.architecture,
        "sha256": locked.sha256,
        **{field.name: getattr(locked.provenance, field.name) for field in fields(Provenance)},
    }
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join(["[[image]]", *lines]) + "\n"


def _toml(value: str | bool | int | tuple[str, ...]) -> str:
    """Format a TOML value; a JSON string is a TOML string, except for DEL."""
    if isinstance(value, tuple):
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]" if value else "[]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def differences(wanted: Iterable[LockedImage], stored: Iterable[Record]) -> dict[str, str]:
    """Describe how stored images differ from locked ones, by the name of the image."""
    records = {(record.name, record.architecture): record for record in stored}
    found = {}
    for locked in wanted:
        record = records.get((locked.name, locked.architecture))
        if record is None:
            found[locked.name] = "not cached"
        elif not locked.matches(record.artifact, record.sha256):
            mine, theirs = record.artifact or record.sha256, locked.provenance.artifact
            found[locked.name] = f"cached {mine[:16]}, locked {(theirs or locked.sha256)[:16]}"
    return found
