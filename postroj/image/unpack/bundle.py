"""Read an image from a tar of layers: `docker save` or an OCI layout.

Members are stored under our own names, not theirs. Formats:
https://github.com/opencontainers/image-spec/blob/main/image-layout.md; docker's `manifest.json` is
a list of images, with the names of their configuration and layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from postroj.errors import ImageError, VerificationError
from postroj.image.unpack import manifest
from postroj.image.unpack.decompress import CHUNK
from postroj.image.unpack.pack import MOST_UNPACKED
from postroj.image.unpack.tarstream import FILE, LINK, SYMLINK, Reader, open_plain, printable
from postroj.image.unpack.tree import split
from postroj.model import SHA256

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.unpack.decompress import Readable
    from postroj.image.unpack.manifest import Descriptor, Json
    from postroj.image.unpack.tarstream import Member

INDEX, IMAGES = "index.json", "manifest.json"
FIRST_MEMBER = re.compile(
    rf"{SHA256.pattern}(?:/.*|\.tar|\.json)?|blobs(?:/.*)?"
    r"|index\.json|oci-layout|manifest\.json|repositories"
)
"""First members of such an archive; a root file system does not begin with them."""

MOST_FILES = 10_000
MOST_HOPS = 8
"""Limit for chains of links, and for indexes inside of indexes."""


def is_container_archive(head: bytes) -> bool:
    """Whether a tar with this beginning holds an image made of layers.

    4 KiB suffice: the first member other than the root decides.
    """
    with suppress(ImageError):
        for member in Reader(io.BytesIO(head)):
            name = posixpath.normpath(member.name.decode(errors="surrogateescape")).lstrip("/")
            if name != ".":
                return bool(FIRST_MEMBER.fullmatch(name))
    return False


class StoredMember(NamedTuple):
    """A member that was written to a file."""

    path: Path
    sha256: str
    size: int


@dataclass
class Archive:
    """The members of an archive, and its links."""

    directory: Path
    files: dict[str, StoredMember] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    count: int = 0
    """Number of files written so far."""

    def store(self, plain: Readable) -> None:
        """Read an uncompressed tar and store its members."""
        reader, size = Reader(plain), 0
        for member in reader:
            size += member.size
            if size > MOST_UNPACKED or len(self.files) + len(self.links) >= MOST_FILES:
                message = "the archive has too many files, or too large ones"
                raise ImageError(message)
            name = b"/".join(split(member.name)).decode(errors="surrogateescape")
            self.files.pop(name, None)
            self.links.pop(name, None)
            if member.kind == FILE:
                self.files[name] = self._write_member(reader, member)
            elif member.kind in (LINK, SYMLINK):
                link = member.link.decode(errors="surrogateescape")
                folder = posixpath.dirname(name) if member.kind == SYMLINK else ""
                self.links[name] = posixpath.normpath(posixpath.join(folder, link))

    def _write_member(self, reader: Reader, member: Member) -> StoredMember:
        """Write a member to a file with our own name."""
        self.count += 1
        path = self.directory / f"member-{self.count}"
        digest, left = hashlib.sha256(), member.size
        with path.open("xb") as file:
            for chunk in reader.data():
                chunk = chunk[:left]
                left -= len(chunk)
                digest.update(chunk)
                file.write(chunk)
        return StoredMember(path, digest.hexdigest(), member.size)

    def find(self, name: str) -> StoredMember:
        """Return a member by its name, following links."""
        for _ in range(MOST_HOPS):
            if name not in self.links:
                break
            name = self.links[name]
        if name not in self.files:
            message = "the archive is incomplete"
            raise ImageError(message, evidence=printable(name.encode(errors="surrogateescape")))
        return self.files[name]

    def layers(self, architecture: str) -> list[Path]:
        """Return the layers of the image for an architecture, the lowest first.

        :raises ImageError: if there is no such image, or more than one.
        :raises VerificationError: if a part does not match its digest.
        """
        if INDEX in self.files:
            return self._layers_of_layout(architecture)
        if IMAGES in self.files:
            return self._layers_of_docker(architecture)
        message = "the archive contains no image"
        raise ImageError(message, evidence=f"it has neither '{INDEX}' nor '{IMAGES}'")

    def _layers_of_layout(self, architecture: str) -> list[Path]:
        document = manifest.parse_json(_read_small(self.files[INDEX]))
        for _ in range(MOST_HOPS):
            if not manifest.is_index(document):
                break
            document = manifest.parse_json(
                _read_small(self._blob(manifest.choose(document, architecture)))
            )
        image = manifest.parse_manifest(document)
        manifest.check_platform(
            manifest.parse_json(_read_small(self._blob(image.config))), architecture
        )
        return [self._blob(layer).path for layer in image.layers]

    def _blob(self, descriptor: Descriptor) -> StoredMember:
        stored = self.find(f"blobs/sha256/{descriptor.digest}")
        if (stored.sha256, stored.size) != (descriptor.digest, descriptor.size):
            raise _mismatch((descriptor.digest, descriptor.size), (stored.sha256, stored.size))
        return stored

    def _layers_of_docker(self, architecture: str) -> list[Path]:
        found: list[tuple[Json, Json]] = []
        others: list[ImageError] = []
        for image in _images(_read_small(self.files[IMAGES])):
            config = manifest.parse_json(_read_small(self._config(str(image.get("Config")))))
            try:
                manifest.check_platform(config, architecture)
                found.append((image, config))
            except ImageError as error:
                others.append(error)
        if len(found) != 1:
            message = "the archive has several images" if found else "the archive has no image"
            raise others[0] if others and not found else ImageError(message)
        image, config = found[0]
        names, digests = image.get("Layers") or [], manifest.diff_ids(config)
        if len(names) != len(digests):
            message = f"the archive has {len(names)} layers but {len(digests)} digests"
            raise ImageError(message)
        return [
            _verified(self.find(posixpath.normpath(str(name))), digest)
            for name, digest in zip(names, digests, strict=True)
        ]

    def _config(self, name: str) -> StoredMember:
        """Return a configuration and check it against the digest in its name."""
        stored = self.find(posixpath.normpath(name))
        digest = posixpath.basename(name).removesuffix(".json")
        if SHA256.fullmatch(digest) and digest != stored.sha256:
            raise _mismatch(digest, stored.sha256)
        return stored


def _images(data: bytes) -> list[Json]:
    """Parse docker's list of images."""
    try:
        images: Any = json.loads(data)
    except (ValueError, RecursionError):
        images = None
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        message = f"the '{IMAGES}' of the archive cannot be read"
        raise ImageError(message)
    return images


def _read_small(stored: StoredMember) -> bytes:
    """Read a small file, up to the limit of a manifest."""
    with stored.path.open("rb") as file:
        return file.read(manifest.MOST_JSON)


def _verified(layer: StoredMember, digest: str) -> Path:
    """Check that a layer, decompressed if necessary, has a digest."""
    if layer.sha256 != digest:
        plain = hashlib.sha256()
        with open_plain(layer.path) as stream:
            while chunk := stream.read(CHUNK):
                plain.update(chunk)
        if plain.hexdigest() != digest:
            raise _mismatch(digest, plain.hexdigest())
    return layer.path


def _mismatch(expected: object, found: object) -> VerificationError:
    return VerificationError(
        "a part of the archive does not match its digest",
        evidence=f"expected {expected}\nfound {found}",
        hint="it is damaged or was changed: download it again",
    )
