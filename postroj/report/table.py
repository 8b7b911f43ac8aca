"""Format aligned columns of text, whose cells may be coloured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
GAP = "  "


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return rows as lines, with each column as wide as its widest cell."""
    lines = [header, *rows] if header else list(rows)
    if not lines:
        return ""
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        GAP.join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _width(cell: str) -> int:
    return len(COLOUR.sub("", cell))
