"""The questions that checks answer, from the user or from discovery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.container.guest import Socket
    from postroj.verdict import CheckKind, StepName


class Demand(StrEnum):
    """What the installation itself must do with a unit, apart from what a check requires."""

    ENABLED = "enabled"
    RUNNING = "running"
    """It must start the unit; asked like any question, but not after the step `start`."""
    IDLE = "idle"
    """It must neither enable nor start the unit."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a unit, URL, path or shell command, or about the guest as a whole."""

    kind: CheckKind
    subject: str
    is_found: bool = False
    """Whether postroj asks by itself, not the user."""
    skip: str = ""
    """Why the subject is listed but not judged; '' if it is judged."""
    fault: str = ""
    """What is wrong with the subject as it lies there; '' if it has to be asked."""
    since: StepName | None = None
    """The first step after which the user wants it asked; None leaves that to the plan."""
    demand: Demand | None = None
    """What the installation must have done with a unit, which is asked once, right after it."""
    images: frozenset[str] | None = None
    """Names of the images on which it is asked; None for all."""
    formats: tuple[str, ...] = ()
    """Formats of packages for which it is asked; any without one."""
    is_dependency: bool = False
    """Whether the unit, or what listens, came with a dependency in the same transaction."""
    listeners: tuple[Socket, ...] = ()
    """The sockets that discovery found at a network subject."""

    def concerns(self, image: str, form: str) -> bool:
        """Whether it is asked on an image that installs packages of a format."""
        is_here = self.images is None or image in self.images
        return is_here and (not self.formats or form in self.formats)

    @property
    def unix(self) -> tuple[Socket, ...]:
        """The unix sockets to connect to; if there are any, `subject` is not a URL."""
        return tuple(socket for socket in self.listeners if socket.entry.is_unix)

    @property
    def holders(self) -> str:
        """Owners and addresses: `x.service listens on 0.0.0.0:80`; '' for the user's questions."""
        phrases = (f"{holder(socket)} listens on {socket.entry.text}" for socket in self.listeners)
        return ", ".join(dict.fromkeys(phrases))


def holder(socket: Socket) -> str:
    """Name the unit of a socket, or else its process, as the subject of a sentence."""
    return socket.unit or f"process '{socket.process}', which is in no unit,"
