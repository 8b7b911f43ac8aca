"""Pull an image of the catalog: build it from one of its sources, and store it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from postroj import console
from postroj.errors import (
    DownloadError,
    HostError,
    ImageError,
    UsageError,
    VerificationError,
)
from postroj.image import architectures
from postroj.image.catalog.entry import Bootstrap, Oci, Simplestreams, Tarball
from postroj.image.sources import Order
from postroj.image.store import fitness, lockfile, store, warm_layers
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroj.errors import PostrojError
    from postroj.image.catalog.entry import Entry, Source
    from postroj.image.inspect import Contents
    from postroj.image.sources import Built
    from postroj.image.store.lockfile import LockedImage
    from postroj.image.store.record import Record

REQUIREMENT = "`--require` or POSTROJ_REQUIRE demand that"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """How to pull an image."""

    force: bool = False
    """Build it even if it is cached."""
    kind: SourceKind | None = None
    """Use only this source."""
    allow_expired: bool = False
    """Accept expired Release files."""
    allow_expired_keys: bool = False
    """Accept expired signatures, and those of expired keys."""
    architecture: str = field(default_factory=architectures.of_this_host)
    """As `uname -m` has it; by default this host's."""
    locked: LockedImage | None = None
    """Entry in the lock file, which `pull` looks up; only this image is acceptable."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A pulled image, which is cached now."""

    record: Record
    fresh: bool
    """Whether it was built just now."""
    seconds: float


def pull(entry: Entry, request: Request | None = None) -> Pulled:
    """Build an image unless it is cached.

    :raises UsageError: if it is not bootable, or has no source that was asked for.
    :raises HostError: if this host lacks something.
    :raises ImageError: if the build fails.
    :raises VerificationError: if it is not the image in the lock file, or is verified more weakly
        than required.
    """
    request = request or Request()
    request = replace(request, locked=lockfile.find(entry.name, request.architecture))
    sources = _sources(entry, request)
    started = time.monotonic()
    store.prepare()
    record = _cached(entry, request)
    fresh = False
    if record is None:
        with store.building(entry.name, request.architecture) as directory:
            record = _cached(entry, request)  # another process may have built it while we waited
            fresh = record is None
            if record is None:
                record = _make(entry, sources, directory, request)
    store.collect()
    warm_layers.collect()
    return Pulled(record=record, fresh=fresh, seconds=time.monotonic() - started)


def _cached(entry: Entry, request: Request) -> Record | None:
    record = None if request.force else store.find(entry.name, request.architecture)
    return record if record and not fitness.unfit(record) else None


def _make(entry: Entry, sources: Sequence[Source], directory: Path, request: Request) -> Record:
    """Build an image from the first source that works on this host.

    A failed verification does not fall back to a weaker source.
    """
    failures: list[tuple[Source, PostrojError]] = []
    for number, source in enumerate(sources, start=1):
        work = directory / str(number)
        work.mkdir()
        try:
            return _make_from(source, entry, work, request)
        except (HostError, DownloadError) as error:
            failures.append((source, error))
            if number < len(sources):
                log.warning("%s: source %s: %s", entry.name, _described(source), error.message)
                instead = sources[number]
                log.warning("%s: trying source %s instead", entry.name, _described(instead))
    (_, first), *others = failures
    said = [f"source {_described(source)}: {error.message}" for source, error in others]
    first.evidence = "\n".join(filter(None, [first.evidence, *said]))
    raise first


def _described(source: Source) -> str:
    return _kind(source.kind, archived=source.archived)


def _kind(kind: SourceKind, *, archived: bool) -> str:
    return f"{kind} (archive)" if archived else kind


def _make_from(source: Source, entry: Entry, directory: Path, request: Request) -> Record:
    from postroj.image import inspect

    unit = "%" if source.kind is SourceKind.BOOTSTRAP else "B"
    with console.progress(f"pull {entry.name}", unit) as progress:
        order = Order(
            entry=entry,
            architecture=request.architecture,
            directory=directory,
            progress=progress,
            allow_expired=request.allow_expired,
            allow_expired_keys=request.allow_expired_keys,
            previous=store.find(entry.name, request.architecture),
            pinned=request.locked.provenance if request.locked else None,
        )
        built = _build(source, order)
        if request.locked:
            request.locked.check(built.provenance, store.seal(built.file).sha256)
        _check_requirement(entry, built.provenance.verification)
        _check_manager(entry, source, inspect.inspect_squashfs(built.file))
        # mmdebstrap installs what makes the image bootable.
        prepared = () if source.kind is SourceKind.BOOTSTRAP else None
        return store.add(
            entry.name,
            request.architecture,
            entry.manager,
            *built,
            prepared=prepared,
            systemd=entry.systemd,
            locked=request.locked is not None,
        )


def _check_manager(entry: Entry, source: Source, contents: Contents) -> None:
    """Raise an error if an image lacks the package manager that the catalog promises."""
    if entry.manager and entry.manager not in contents.managers:
        message = f"the image '{entry.name}' has no {entry.manager}"
        found = ", ".join(contents.managers) or "none"
        evidence = f"its source is {source.kind}; package managers in it: {found}"
        hint = "`--source` takes another source, your own catalog can name another `manager`"
        raise ImageError(message, evidence=evidence, hint=hint)


def _check_requirement(entry: Entry, verification: Verification) -> None:
    """Check an image by what really proved it, whatever its source promised."""
    required = fitness.required()
    if not verification.satisfies(required):
        message = f"'{entry.name}' was verified by '{verification}', but '{required}' is required"
        raise VerificationError(message, hint=REQUIREMENT)


def _build(source: Source, order: Order) -> Built:
    match source:
        case Bootstrap():
            from postroj.image.sources import bootstrap

            return bootstrap.build(source, order)
        case Simplestreams():
            from postroj.image.sources import simplestreams

            return simplestreams.build(source, order)
        case Tarball():
            from postroj.image.sources import tarball

            return tarball.build(source, order)
        case Oci():
            from postroj.image.sources import oci

            return oci.build(source, order)


def _sources(entry: Entry, request: Request) -> list[Source]:
    """Return the acceptable sources of an image, the preferred first.

    :raises UsageError: if there is none.
    """
    if entry.unbootable:
        message = f"the image '{entry.name}' is not available: {entry.unbootable}"
        raise UsageError(message, hint="`postroj list-images --supported` shows those that are")
    sources = entry.sources_for(request.architecture)
    if not sources:
        message = (
            f"the image '{entry.name}' does not exist for the architecture '{request.architecture}'"
        )
        raise UsageError(message, hint=f"it exists for {', '.join(entry.architectures)}")
    today = datetime.now(UTC).date()
    sources = [source for source in sources if entry.is_due(source, today)]
    if request.locked:
        return [_locked_source(entry, request, sources)]
    required = fitness.required()
    if not (strong := [one for one in sources if one.verification.satisfies(required)]):
        kinds = ", ".join(dict.fromkeys(str(source.verification) for source in sources))
        message = f"the image '{entry.name}' has no source that is verified by '{required}'"
        raise UsageError(message, evidence=f"it has {kinds}", hint=REQUIREMENT)
    wanted = [source for source in strong if request.kind in (None, source.kind)]
    if not wanted:
        kinds = ", ".join(dict.fromkeys(source.kind for source in strong))
        message = f"the image '{entry.name}' has no source of the kind '{request.kind}'"
        raise UsageError(message, hint=f"it has {kinds}")
    return wanted


def _locked_source(entry: Entry, request: Request, sources: list[Source]) -> Source:
    """Return the source that the lock file names, which may be the archive of a release."""
    assert request.locked
    locked = request.locked.provenance
    kind = _kind(locked.source, archived=locked.archived)
    for source in sources:
        if _described(source) == kind and request.kind in (None, source.kind):
            return source
    message = f"the lock file names the source '{kind}' for '{entry.name}'"
    kinds = ", ".join(map(_described, sources))
    evidence = f"requested is '{request.kind}'" if request.kind else f"the catalog has {kinds}"
    hint = f"`postroj --ignore-lock pull {entry.name}` ignores the lock file"
    raise UsageError(message, evidence=evidence, hint=hint)
