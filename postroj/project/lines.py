"""On which line of a TOML file a key is.

`tomllib` does not tell, but the first lines of a file are a file themselves wherever a statement
ends. So the statement that brings a key is the first after which the key is there.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

KeyPath = tuple[str | int, ...]
"""Names of keys and places in lists, from the top: `("expect", 1, "until")`."""


def line_of(text: str, path: KeyPath) -> int:
    """Return the line, from 1, on which the statement begins that brings a key of valid TOML."""
    lines = text.split("\n")
    counts = range(len(lines) + 1)
    last = bisect_left(counts, True, key=lambda count: _has(_whole(lines, count)[1], path))
    return _whole(lines, last - 1)[0] + 1


def _whole(lines: Sequence[str], count: int) -> tuple[int, dict[str, Any]]:
    """Return how many of so many first lines are valid alone, and what they say."""
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
