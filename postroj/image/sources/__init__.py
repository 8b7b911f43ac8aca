"""The kinds of sources, each a function from an order to a squashfs file and its provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.console import Progress
    from postroj.image.catalog.entry import Entry
    from postroj.image.store.record import Provenance


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a source is asked for."""

    entry: Entry
    architecture: str
    """As `uname -m` has it."""
    directory: Path
    """Where to work: empty, ours alone, and removed afterwards."""
    progress: Progress
    allow_expired: bool = False
    """Accept Release files that are out of date."""
    previous: Provenance | None = None
    """Of the image that will be replaced; an older one than that is refused."""
    pinned: Provenance | None = None
    """Make this one again, or fail."""


class Built(NamedTuple):
    """What a source made."""

    file: Path
    """A squashfs file in the directory of the order."""
    provenance: Provenance
    sha256: str = ""
    """Of the file, if it was hashed while it was written; it may be large."""
