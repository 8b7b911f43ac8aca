"""Find the line of a key in a TOML file, which `tomllib` does not report.

The first lines of a file are valid TOML wherever a statement ends. So a key is defined by the first
statement after which the parsed lines contain it.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top, such as `("expect", 1, "until")`."""


def line_of(text: str, path: KeyPath) -> int:
    """Return the first line, from 1, of the statement that defines a key in valid TOML."""
    lines = text.split("\n")
    counts = range(len(lines) + 1)
    last = bisect_left(counts, True, key=lambda count: _has(_whole(lines, count)[1], path))
    return _whole(lines, last - 1)[0] + 1


def _whole(lines: Sequence[str], count: int) -> tuple[int, dict[str, Any]]:
    """Return the longest valid prefix of the first `count` lines: its length and its content."""
    while True:
        try:
            return count, tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            count -= 1


def _has(value: Any, path: KeyPath) -> bool:
    for part in path:
        match value:
            case dict() if part in value:
                value = value[part]
            case list() if isinstance(part, int) and part < len(value):
                value = value[part]
            case _:
                return False
    return True
