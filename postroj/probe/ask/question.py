"""What a check asks, whether somebody wants to know or postroj found it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.container.guest import Socket
    from postroj.verdict import CheckKind


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a check asks: `subject` is a unit, a URL, a path or a shell command."""

    kind: CheckKind
    subject: str
    is_found: bool = False
    """Whether postroj asks on its own."""
    skip: str = ""
    """Why it is named but not asked."""
    note: str = ""
    """What else to say when it is so."""
    unix: tuple[Socket, ...] = ()
    """Unix sockets, where `subject` is a name for them and no URL."""
