"""Whether a stored image may be used: by the lock file, and by how its origin was verified."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from postroj.errors import ImageError, UsageError
from postroj.image.store import lockfile
from postroj.model import REQUIRABLE, REQUIRE, SourceKind, Verification

if TYPE_CHECKING:
    from postroj.image.store.record import Record


def required() -> Verification:
    """Return the weakest verification that is acceptable for what is downloaded.

    :raises UsageError: if `POSTROJ_REQUIRE` has an unknown value.
    """
    text = os.environ.get(REQUIRE)
    if not text:
        return Verification.NONE
    if text not in REQUIRABLE:
        message = f"{REQUIRE} is '{text}', not one of {', '.join(REQUIRABLE)}"
        raise UsageError(message)
    return Verification(text)


def unfit(record: Record) -> str:
    """Return why a stored image may not be used, as the end of a sentence; '' if it may.

    What one project has locked is not used by others, which would get an old image unawares.

    :raises UsageError: if lock file or `POSTROJ_REQUIRE` are invalid.
    """
    locked = lockfile.find(record.name, record.architecture)
    if locked is None and record.locked:
        return "was pulled for a lock file that is not in effect"
    if locked and not locked.matches(record.artifact, record.sha256):
        return "is not the one in the lock file"
    # What is imported from a file is the user's own; of what is downloaded, `import` asks.
    if record.source is not SourceKind.IMPORT and not record.verification.satisfies(required()):
        return f"was verified by '{record.verification}', but '{required()}' is required"
    return ""


def check(record: Record) -> None:
    """Check that a stored image may be used.

    :raises ImageError: if it may not.
    :raises UsageError: as in `unfit`.
    """
    if why := unfit(record):
        message = f"the image '{record.name}' {why}"
        raise ImageError(message, hint=f"`postroj pull {record.name}` gets the right one")
