"""Parse `--put` and `--env`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.project.keys import LATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.configuration import Put

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def puts_of(texts: Sequence[str]) -> tuple[Put, ...]:
    """Parse the values of `--put`.

    :raises UsageError: if a value has another form, or a file does not exist or is too large.
    """
    return tuple(map(_put, texts))


def _put(text: str) -> Put:
    from postroj.probe.configuration import LIMIT, Put

    is_late = text.startswith(LATE)
    name, colon, path = text.removeprefix(LATE).rpartition(":/")
    if not name or not colon or not path or path.endswith("/") or "\0" in text:
        message = (
            f"`--put` takes FILE:PATH with an absolute path of a file in the guest, not '{text}'"
        )
        raise UsageError(message)
    source = Path(name).absolute()
    if not os.path.isfile(source):  # noqa: PTH113 also False for a name that is too long
        message = f"'{name}' is not a file"
        raise UsageError(message, hint="`--put` takes a file of this host")
    if source.stat().st_size > LIMIT:
        message = f"'{name}' has more than {LIMIT >> 20} MiB"
        raise UsageError(message)
    return Put(source=source, path=f"/{path}", is_late=is_late)


def environment_of(texts: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--env`.

    :raises UsageError: if a value has another form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not NAME.fullmatch(name) or any(char < " " for char in value):
            message = f"`--env` takes NAME=VALUE in one line, not '{text}'"
            raise UsageError(message)
        found[name] = value
    return found
