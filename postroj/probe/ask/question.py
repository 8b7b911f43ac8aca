"""The questions that checks ask, whether the user or postroj wants to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.container.guest import Socket
    from postroj.verdict import CheckKind


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question: `subject` is a unit, URL, path or shell command, or a sentence on the guest."""

    kind: CheckKind
    subject: str
    is_found: bool = False
    """Whether postroj asks of its own accord."""
    skip: str = ""
    """Why the subject is named but not judged; '' if it is judged."""
    is_dependency: bool = False
    """Whether the unit came with a dependency of the packages."""
    listeners: tuple[Socket, ...] = ()
    """The sockets that discovery found at a network subject."""

    @property
    def unix(self) -> tuple[Socket, ...]:
        """The unix sockets to connect to; `subject` is then a name for them and not a URL."""
        return tuple(socket for socket in self.listeners if socket.entry.is_unix)

    @property
    def holders(self) -> str:
        """Who listens where, as `x.service listens on 0.0.0.0:80`; '' for the user's questions."""
        said = (f"{holder(socket)} listens on {socket.entry.text}" for socket in self.listeners)
        return ", ".join(dict.fromkeys(said))


def holder(socket: Socket) -> str:
    """Name the unit that holds a socket, or else its process, as the subject of a sentence."""
    return socket.unit or f"process '{socket.process}', which is in no unit,"
