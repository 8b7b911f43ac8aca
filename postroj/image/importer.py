"""Images that the user brings: a folder, an archive, a squashfs, a disk, a URL, a registry's."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from postroj import console, net
from postroj.errors import UsageError
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Oci, brought
from postroj.image.inspect import look
from postroj.image.sources import Built, Order, oci
from postroj.image.store import store
from postroj.image.store.record import Provenance
from postroj.image.trust import verify
from postroj.image.trust.checksums import Checksum
from postroj.image.unpack import pack
from postroj.image.unpack.decompress import CHUNK
from postroj.image.unpack.detect import Arrival
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroj.console import Progress
    from postroj.image.store.record import Record

NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}")
REGISTRY = "docker://"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be brought."""

    name: str
    source: str
    """A path, an http or https URL, or `docker://REFERENCE`."""
    architecture: str
    sha256: str | None = None
    """Of the file or of what the URL brings, known beforehand."""
    subtree: str = ""
    """Folder of an archive that is the root."""
    force: bool = False
    """Replace an image of that name."""


def bring(wish: Wish) -> Record:
    """Make an image of what the user has.

    :raises UsageError: if the name may not be used, or there is no such file.
    :raises DownloadError: if a URL could not be fetched.
    :raises VerificationError: if it is not what was pinned.
    :raises ImageError: if it cannot be an image.
    """
    judge_name(wish.name)
    if wish.sha256 and not _has_digest(wish.source):
        message = f"`--sha256` pins a file or a URL, not '{wish.source}'"
        raise UsageError(message)
    store.prepare()
    with store.building(wish.name, wish.architecture) as directory:
        if not wish.force and store.find(wish.name, wish.architecture):
            message = f"there is an image '{wish.name}' already"
            raise UsageError(message, hint="`--force` replaces it")
        with console.progress(f"import {wish.name}", "B") as progress:
            built = _build(wish, directory, progress)
            seen = look(built.file)
        record = store.add(wish.name, wish.architecture, seen.manager, *built)
    store.collect()
    return record


def judge_name(name: str) -> None:
    """Refuse a name that is none, or one of the catalog's.

    :raises UsageError: always then.
    """
    if not NAME.fullmatch(name):
        message = f"'{name}' cannot be the name of an image"
        raise UsageError(message, hint="small letters, digits and . + _ - can, 64 at most")
    if name in catalog.names():
        message = f"'{name}' is the name of an image of the catalog"
        hint = f"choose another one, `my-{name}`; or say in a catalog of yours what '{name}' is"
        raise UsageError(message, hint=hint)


def _has_digest(source: str) -> bool:
    """Whether a source is one file, of which there is a digest."""
    return not source.startswith(REGISTRY) and not (Path(source).is_dir() and "://" not in source)


def _build(wish: Wish, directory: Path, progress: Progress) -> Built:
    scheme = urlsplit(wish.source).scheme if "://" in wish.source else ""
    match scheme:
        case "":
            return _from_path(wish, directory, progress)
        case "http" | "https":
            with net.stream(wish.source, progress=progress, anywhere=bool(wish.sha256)) as body:
                return _receive(wish, directory, body, net.redacted(wish.source))
        case "docker":
            return _from_registry(wish, directory, progress)
        case _:
            message = f"images cannot be imported from '{scheme}://'"
            raise UsageError(message, hint="give a path, an http or https URL, or `docker://...`")


def _from_path(wish: Wish, directory: Path, progress: Progress) -> Built:
    path = Path(wish.source).absolute()
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

            return _receive(wish, directory, chunks(), str(path))
    except FileNotFoundError:
        message = f"'{path}' does not exist"
        raise UsageError(message) from None


def _receive(wish: Wish, directory: Path, chunks: Iterable[bytes], url: str) -> Built:
    """Make a squashfs file of bytes, and let nothing pass that was not pinned."""
    digest = hashlib.sha256()
    with Arrival(directory, wish.architecture, wish.subtree) as arrival:
        for chunk in chunks:
            digest.update(chunk)
            arrival.write(chunk)
        if wish.sha256:
            pinned = Checksum("", "sha256", wish.sha256.lower())
            verify.compare(f"'{url}'", pinned, digest.hexdigest())
    file = arrival.settle()
    proved = Verification.TLS if url.startswith("https:") else Verification.NONE
    return Built(
        file,
        Provenance(
            source=SourceKind.IMPORT,
            url=url,
            build="",
            artifact=digest.hexdigest(),
            compression=arrival.compression,
            verification=Verification.DIGEST if wish.sha256 else proved,
        ),
    )


def _from_registry(wish: Wish, directory: Path, progress: Progress) -> Built:
    source = Oci(reference=wish.source)
    order = Order(
        entry=brought(wish.name, wish.architecture, source),
        architecture=wish.architecture,
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
