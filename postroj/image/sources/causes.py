"""Why a bootstrap failed: what mmdebstrap, apt and tar2sqfs say, in sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import DownloadError, ImageError, PostrojError, VerificationError
from postroj.image.store import os_errors
from postroj.urls import redacted_text

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A reason for which mmdebstrap fails, and what its output looks like then."""

    pattern: str
    message: str
    hint: str
    kind: type[PostrojError] = ImageError
    """A DownloadError lets another source be tried, a VerificationError never does."""


DISK_FULL = Cause(
    # tar2sqfs says nothing more exact when it cannot write
    pattern=r"No space left on device|enough free space in|Disk quota exceeded|: I/O error\.$",
    message="",
    hint="",
)
CAUSES = (
    DISK_FULL,
    Cause(
        pattern=r"Release file for \S+ is expired",
        message="the mirror's Release file for '{name}' has expired",
        hint="`postroj pull --force --allow-expired {name}` accepts it, in its guests too",
    ),
    Cause(
        pattern=r"Release file for \S+ is not valid yet",
        message="the mirror's Release file for '{name}' is dated in the future",
        hint="the clock of this host is probably wrong: `date` shows it",
    ),
    Cause(
        pattern=r"BADSIG|NO_PUBKEY|EXPKEYSIG|REVKEYSIG|NODATA|NOSPLIT|is not signed|sqv returned",
        message="the mirror's Release file for '{name}' has no valid signature",
        hint="something between this host and the mirror changes files, or the keyring is too old",
        kind=VerificationError,
    ),
    Cause(
        pattern=r"Hash Sum mismatch|unexpected size",
        message="the mirror's files for '{name}' do not match its Release file",
        hint="mirrors are so while they are updated: try again in some minutes",
    ),
    Cause(
        pattern=r"does not have a Release file",
        message="the mirror has no suite for '{name}'",
        hint="`apt-get indextargets` shows the mirror of this host's apt, which is used",
        kind=DownloadError,
    ),
    Cause(
        pattern=(
            r"Could not connect|Unable to connect|Could not resolve|Temporary failure resolving"
            r"|[Cc]onnection (?:failed|timed out|refused|reset)|Network is unreachable"
            r"|Failed to fetch|Could not wait for server"
        ),
        message="the mirror for '{name}' cannot be reached",
        hint="see whether `apt-get update` works on this host",
        kind=DownloadError,
    ),
)


def classify(output: str) -> Cause | None:
    """Return the reason that the output of mmdebstrap and tar2sqfs shows, if it is a known one."""
    for cause in CAUSES:
        if re.search(cause.pattern, output, re.MULTILINE):
            return cause
    return None


def failure(name: str, output: str) -> PostrojError:
    """Build the error for a bootstrap that failed."""
    output = redacted_text(output)
    cause = classify(output)
    if cause is None:
        message = f"the image '{name}' could not be bootstrapped"
        return ImageError(message, evidence=process.last_lines(output))
    evidence = _evidence(output.splitlines(), cause.pattern)
    if cause is DISK_FULL:
        return os_errors.disk_full(evidence)
    message, hint = (text.format(name=name) for text in (cause.message, cause.hint))
    return cause.kind(message, evidence=evidence, hint=hint)


def _evidence(lines: Sequence[str], pattern: str) -> str:
    """Return the lines that show a reason, the last few, each once."""
    shown = dict.fromkeys(line.strip() for line in lines if re.search(pattern, line))
    errors = [line for line in shown if line.startswith(("E:", "W:"))]
    return "\n".join((errors or list(shown))[-5:])
