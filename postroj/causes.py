"""Known causes of failures: what a program prints then, what it means, and what to do about it.

Pure. Each part of postroj has tables of its own for the programs that it runs. A cause explains an
error, but never decides that there is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A known cause of a failure."""

    pattern: str
    """A regular expression of what is printed; `^` and `$` match at lines, `.` within one."""
    sentence: str
    """The explanation. Names in braces are filled in by the owner of the table."""
    hint: str = ""


AnyCause = TypeVar("AnyCause", bound=Cause)


def find(causes: Iterable[AnyCause], text: str) -> tuple[AnyCause, list[re.Match[str]]] | None:
    """Return the first cause whose pattern matches, and all of its matches.

    The order of a table counts: a cause stands before its consequences.
    """
    for cause in causes:
        if matches := list(re.finditer(cause.pattern, text, re.MULTILINE)):
            return cause, matches
    return None
