"""From a name to a stored image: catalog, source, store."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import console
from postroj.errors import UsageError
from postroj.image import catalog, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.image.catalog import Entry, Source
    from postroj.model import Image, SourceKind

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """How an image is wanted."""

    force: bool = False
    """Make it anew, also when it is cached."""
    kind: SourceKind | None = None
    """From this source, and no other."""
    allow_expired: bool = False
    """Accept Release files that are out of date."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """An image that is cached now."""

    record: store.Record
    fresh: bool
    """Whether it was made just now."""
    seconds: float


def architecture() -> str:
    """Return the architecture of this host, as `uname -m` has it."""
    return os.uname().machine


def pull(entry: Entry, request: Request | None = None) -> Pulled:
    """Make an image, unless it is cached.

    :raises UsageError: if the catalog has no source for it that was asked for.
    :raises HostError: if this host lacks something.
    :raises ImageError: if it could not be made.
    """
    request = request or Request()
    source = _source(entry, request)
    started = time.monotonic()
    store.prepare()
    record = _cached(entry, request)
    fresh = False
    if record is None:
        with store.building(entry.name, architecture()) as directory:
            record = _cached(entry, request)  # somebody else may have made it while we waited
            fresh = record is None
            if record is None:
                record = _make(entry, source, directory, request)
    store.collect()
    return Pulled(record=record, fresh=fresh, seconds=time.monotonic() - started)


def _cached(entry: Entry, request: Request) -> store.Record | None:
    return None if request.force else store.find(entry.name, architecture())


def _make(entry: Entry, source: Source, directory: Path, request: Request) -> store.Record:
    from postroj.image.sources import bootstrap

    with console.progress(f"pull {entry.name}") as progress:
        file, provenance = bootstrap.build(
            source, entry.name, directory, allow_expired=request.allow_expired, progress=progress
        )
        return store.add(entry.name, architecture(), entry.manager, file, provenance)


def _source(entry: Entry, request: Request) -> Source:
    """Choose the source of an image."""
    if architecture() not in entry.architectures:
        message = f"there is no image '{entry.name}' for the architecture '{architecture()}'"
        raise UsageError(message, hint=f"there is one for {', '.join(entry.architectures)}")
    for source in entry.sources:
        if request.kind in (None, source.kind):
            return source
    kinds = ", ".join(source.kind for source in entry.sources)
    message = f"the image '{entry.name}' has no source '{request.kind}'"
    raise UsageError(message, hint=f"it has {kinds}")


@contextmanager
def obtain(name: str) -> Iterator[Image]:
    """Have an image of that name or alias, pulled if it is not cached; kept while we use it.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host lacks something.
    :raises ImageError: if it could not be made.
    """
    entry = catalog.find(name)
    record = store.find(entry.name, architecture())
    if record is None:
        log.info("the image '%s' is not cached yet, it is pulled now", entry.name)
        record = pull(entry).record
    with store.hold(record.as_image()) as image:
        yield image
