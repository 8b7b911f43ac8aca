"""Import the user's own images from a folder, archive, squashfs, disk, URL or registry."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from postroj import console, net
from postroj.errors import UsageError, VerificationError
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Oci, imported_entry
from postroj.image.inspect import inspect_squashfs
from postroj.image.sources import Built, Order, oci
from postroj.image.store import fitness, store
from postroj.image.store.record import Provenance
from postroj.image.trust import verify
from postroj.image.trust.checksums import Checksum
from postroj.image.unpack import pack
from postroj.image.unpack.decompress import CHUNK
from postroj.image.unpack.detect import Converter
from postroj.model import SourceKind, Verification
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroj.console import Progress
    from postroj.image.store.record import Record

NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}")
REGISTRY = "docker://"


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to import."""

    name: str
    source: str
    """A path, an http or https URL, or `docker://REFERENCE`."""
    architecture: str
    sha256: str | None = None
    """Expected digest of the file or download."""
    subtree: str = ""
    """Folder of an archive that becomes the root."""
    allow_unverified: bool = False
    """Accept a download over http without a digest."""
    force: bool = False
    """Replace an image of the same name."""


def import_image(request: ImportRequest) -> Record:
    """Build an image from the user's source and store it.

    :raises UsageError: if the name is not allowed, or the file does not exist.
    :raises DownloadError: if a download fails.
    :raises VerificationError: if the digest is not the expected one, or the image is verified more
        weakly than required.
    :raises ImageError: if the source cannot become an image.
    """
    check_name(request.name)
    if request.sha256 and not _has_digest(request.source):
        message = f"`--sha256` pins a file or a URL, not '{request.source}'"
        raise UsageError(message)
    _check_origin(request)
    store.prepare()
    with store.building(request.name, request.architecture) as directory:
        if not request.force and store.find(request.name, request.architecture):
            message = f"there is an image '{request.name}' already"
            raise UsageError(message, hint="`--force` replaces it")
        with console.progress(f"import {request.name}", "B") as progress:
            built = _build(request, directory, progress)
            contents = inspect_squashfs(built.file)
        record = store.add(request.name, request.architecture, contents.manager, *built)
    store.collect()
    return record


def _check_origin(request: ImportRequest) -> None:
    """Refuse a download whose content nothing would prove; a disk is mounted by the host's kernel.

    :raises UsageError: if it comes over http, and neither a digest nor an option accepts that.
    :raises VerificationError: if it would be verified more weakly than required.
    """
    scheme = _scheme(request.source)
    proved = {
        "http": Verification.NONE,
        "https": Verification.TLS,
        "docker": Oci(reference=request.source).verification,
    }
    if scheme not in proved:
        return
    verification = Verification.DIGEST if request.sha256 else proved[scheme]
    shown, required = redacted(request.source), fitness.required()
    if not verification.satisfies(required):
        message = f"'{shown}' is verified by '{verification}', but '{required}' is required"
        raise VerificationError(message, hint="`--sha256` pins a URL, '@sha256:' a registry image")
    if verification is Verification.NONE and not request.allow_unverified:
        message = f"'{shown}' comes over http, where anybody on the way can change it"
        hint = "`--sha256 DIGEST` pins it, `--allow-unverified` accepts whatever comes"
        raise UsageError(message, hint=hint)


def _scheme(source: str) -> str:
    """Return the scheme of a URL; '' for a path."""
    return urlsplit(source).scheme if "://" in source else ""


def check_name(name: str) -> None:
    """Check that a name is allowed for an imported image.

    :raises UsageError: if it is malformed or in the catalog.
    """
    if not NAME.fullmatch(name):
        message = f"'{name}' cannot be the name of an image"
        raise UsageError(message, hint="use up to 64 lower-case letters, digits and . + _ -")
    if name in catalog.names():
        message = f"'{name}' is the name of an image in the catalog"
        hint = f"choose another name, such as `my-{name}`, or redefine '{name}' in your own catalog"
        raise UsageError(message, hint=hint)


def _has_digest(source: str) -> bool:
    """Whether a source is a single file, which has a digest."""
    return not source.startswith(REGISTRY) and not (Path(source).is_dir() and "://" not in source)


def _build(request: ImportRequest, directory: Path, progress: Progress) -> Built:
    match scheme := _scheme(request.source):
        case "":
            return _from_path(request, directory, progress)
        case "http" | "https":
            with net.stream(
                request.source, progress=progress, allow_downgrade=bool(request.sha256)
            ) as body:
                return _receive(request, directory, body, redacted(request.source))
        case "docker":
            return _from_registry(request, directory, progress)
        case _:
            message = f"images cannot be imported from '{scheme}://'"
            raise UsageError(message, hint="give a path, an http or https URL, or `docker://...`")


def _from_path(request: ImportRequest, directory: Path, progress: Progress) -> Built:
    path = Path(request.source).absolute()
    if path.is_dir():
        return _from_folder(path, directory)
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)

            def chunks() -> Iterable[bytes]:
                done = 0
                while chunk := stream.read(CHUNK):
                    yield chunk
                    done += len(chunk)
                    progress.reach(done, size)

            return _receive(request, directory, chunks(), str(path))
    except FileNotFoundError:
        message = f"'{path}' does not exist"
        raise UsageError(message) from None


def _receive(request: ImportRequest, directory: Path, chunks: Iterable[bytes], url: str) -> Built:
    """Convert bytes to a squashfs file, and check their digest if one is expected."""
    digest = hashlib.sha256()
    with Converter(directory, request.architecture, request.subtree) as converter:
        for chunk in chunks:
            digest.update(chunk)
            converter.write(chunk)
        if request.sha256:
            pinned = Checksum("", "sha256", request.sha256.lower())
            verify.check_digest(f"'{url}'", pinned, digest.hexdigest())
    file = converter.finish()
    proved = Verification.TLS if url.startswith("https:") else Verification.NONE
    return Built(
        file,
        Provenance(
            source=SourceKind.IMPORT,
            url=url,
            build="",
            artifact=digest.hexdigest(),
            compression=converter.compression,
            verification=Verification.DIGEST if request.sha256 else proved,
        ),
    )


def _from_registry(request: ImportRequest, directory: Path, progress: Progress) -> Built:
    source = Oci(reference=request.source)
    order = Order(
        entry=imported_entry(request.name, request.architecture, source),
        architecture=request.architecture,
        directory=directory,
        progress=progress,
    )
    built = oci.build(source, order)
    return Built(built.file, replace(built.provenance, source=SourceKind.IMPORT))


def _from_folder(path: Path, directory: Path) -> Built:
    file = directory / "image.squashfs"
    pack.squash_output(pack.tar_argv(str(path)), file)
    return Built(
        file,
        Provenance(
            source=SourceKind.IMPORT,
            url=str(path),
            build="",
            artifact="",
            compression=pack.COMPRESSION,
            verification=Verification.NONE,
        ),
    )
