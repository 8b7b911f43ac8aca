"""Text of others on our terminal: what a package says must not move the cursor or set a title."""

from __future__ import annotations

import re

# CSI as for colours, OSC as for titles, and what is one letter long: ECMA-48
SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]")


def visible(text: str) -> str:
    """Return a line without escape sequences, and every other control character spelled out."""
    if text.isprintable():
        return text
    bare = SEQUENCE.sub("", text.expandtabs())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in bare
    )


def visible_lines(text: str) -> str:
    """Return a text whose lines are visible."""
    return "\n".join(map(visible, text.splitlines()))
