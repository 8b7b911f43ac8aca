"""Read the Release file of a suite, and tell whether it has what a bootstrap needs."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from postroj.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIELD = re.compile(r"([A-Za-z-]+): *(.*)")
"""A field of one line; lines of the lists of files begin with a blank."""


def parse(text: str) -> dict[str, str]:
    """Parse the fields of one line, as `Valid-Until`."""
    matches = (FIELD.fullmatch(line.rstrip()) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match}


def check(
    fields: Mapping[str, str],
    name: str,
    architecture: str,
    components: Iterable[str],
    *,
    allow_expired: bool = False,
    now: datetime | None = None,
) -> None:
    """Check the fields of a Release file; `name` is for messages, `architecture` as Debian has it.

    :raises ImageError: if it has expired, or lacks the architecture or a component.
    """
    until = fields.get("Valid-Until", "")
    if until and not allow_expired and _time(until) < (now or datetime.now(UTC)):
        message = f"{name} has expired on {until}"
        raise ImageError(message)
    if architecture not in fields.get("Architectures", "").split():
        message = f"{name} lists no packages for '{architecture}'"
        raise ImageError(message, evidence=fields.get("Architectures", ""))
    # Debian's security suites have `updates/main` here, and `main` in their folder.
    found = {name.rpartition("/")[2] for name in fields.get("Components", "").split()}
    if missing := sorted(set(components) - found):
        message = f"{name} has no component {', '.join(missing)}"
        raise ImageError(message, evidence=fields.get("Components", ""))


def _time(text: str) -> datetime:
    """Parse a date of a Release file; one that cannot be parsed is long past, as for apt."""
    with suppress(ValueError):
        return parsedate_to_datetime(text).astimezone(UTC)
    return datetime.fromtimestamp(0, UTC)
