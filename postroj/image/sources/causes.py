"""Causes that keep an image from being fetched or built, and the error that explains one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import causes
from postroj.errors import DownloadError
from postroj.image.store import os_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from postroj.errors import PostrojError


@dataclass(frozen=True, kw_only=True)
class Cause(causes.Cause):
    """A known cause for which a source fails."""

    kind: type[PostrojError] = DownloadError
    """A DownloadError lets another source be tried, a VerificationError never does."""


DISK_FULL = Cause(
    # tar2sqfs says nothing more exact when it cannot write
    pattern=r"(?i:no space left on device|disk quota exceeded)|enough free space in|: I/O error\.$",
    sentence="no space is left",
)


def failure(
    table: Sequence[Cause],
    output: str,
    names: Mapping[str, object],
    evidence: Callable[[Cause], str],
) -> PostrojError | None:
    """Build the error for the first cause that an output shows; None if it shows none.

    `names` fill in the sentences of the table.
    """
    found = causes.find((DISK_FULL, *table), output)
    if found is None:
        return None
    cause, _ = found
    if cause is DISK_FULL:
        return os_errors.disk_full(evidence(cause))
    sentence, hint = (text.format(**names) for text in (cause.sentence, cause.hint))
    return cause.kind(sentence, evidence=evidence(cause), hint=hint)
