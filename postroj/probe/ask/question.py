"""The questions that checks answer, from the user or from discovery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from postroj.container.guest import Socket
    from postroj.probe.ask.goss import Goss
    from postroj.probe.managers.base import PackageManager
    from postroj.verdict import CheckKind, StepName


class Demand(StrEnum):
    """What the installation itself must do with a unit, apart from what a check requires."""

    ENABLED = "enabled"
    RUNNING = "running"
    """It must start the unit; asked like any question, but not after the step `start`."""
    IDLE = "idle"
    """It must neither enable nor start the unit."""


@dataclass(frozen=True, kw_only=True)
class Required:
    """What the user requires of a subject besides that it is there; '' and None are nothing."""

    status: int | None = None
    """Of an HTTP answer."""
    body: str | None = None
    """Text in the body of an HTTP answer."""
    type: str = ""
    """Of a file, one of `postroj.probe.ask.file.TYPES`."""
    mode: str = ""
    """Permission bits of a file, in octal."""
    owner: str = ""
    """`USER`, `USER:GROUP` or `:GROUP` of a file, `USER` of a process."""
    content: str = ""
    """A regular expression that matches somewhere in a file."""
    version: str = ""
    """Of a package, see `postroj.probe.ask.installed.parse`."""
    units: tuple[str, ...] = ()
    """The units whose journal has the line; without any, those of the packages."""
    address: str = ""
    """The IP address of a name."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What questions about the packages refer to."""

    manager: PackageManager
    units: Callable[[], Collection[str]]
    """Returns the names of the packages' units."""
    began: float
    """When the step began, by the wall clock."""
    goss: Goss | None = None
    """goss and its files; None if there is no question about them."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a subject of its kind, or about the guest as a whole."""

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
    timeout: float | None = None
    """Seconds within which it must pass; None for those of all checks."""
    settle: float | None = None
    """Seconds for which a unit must stay up; None for those of all units."""
    required: Required = Required()
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
