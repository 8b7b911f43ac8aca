"""Make text from guests safe to print: it must not move the cursor or set a title."""

from __future__ import annotations

import re

# ECMA-48: CSI such as colours, OSC such as titles, and escapes of one letter
SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]")


def visible(text: str) -> str:
    """Return a line without escape sequences and with other control characters escaped."""
    if text.isprintable():
        return text
    bare = SEQUENCE.sub("", text.expandtabs())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in bare
    )


def visible_lines(text: str) -> str:
    """Return a text with each of its lines made visible."""
    return "\n".join(map(visible, text.splitlines()))
