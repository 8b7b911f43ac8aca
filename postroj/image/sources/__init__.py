"""The sources of images; each builds a squashfs file with its provenance from an order."""

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
    """What a source is to build."""

    entry: Entry
    architecture: str
    """As `uname -m` has it."""
    directory: Path
    """Empty working directory, for this order only, removed afterwards."""
    progress: Progress
    allow_expired: bool = False
    """Accept expired Release files."""
    allow_expired_keys: bool = False
    """Accept expired signatures, and those of expired keys."""
    previous: Provenance | None = None
    """Provenance of the image to be replaced; older builds than that are refused."""
    pinned: Provenance | None = None
    """Reproduce this image, or fail."""


class Built(NamedTuple):
    """What a source has built."""

    file: Path
    """A squashfs file in the directory of the order."""
    provenance: Provenance
    sha256: str = ""
    """Digest of the file, if it was computed while writing; the file may be large."""
