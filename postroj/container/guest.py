"""The one door to a guest: all that code above this room may ask of a guest, of whatever kind.

`Guest` is any guest that runs, `OwnGuest` one that this process has started (`container.start`).
Nothing here says how a guest is reached: paths, PIDs and addresses in the records below are the
guest's own, and mean nothing on the host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.errors import CommandError
from postroj.process import LIMIT

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from postroj.process import Child, Completed, Stdio

UNIX_KINDS = {"0001": "stream", "0005": "seqpacket"}
"""Types of unix sockets that accept connections, as `/proc/PID/net/unix` numbers them."""
SHUTDOWN = "systemd-shutdow"
"""systemd-shutdown(8), which replaces the manager; the kernel keeps 15 bytes of a name.

It waits 90 s for processes that ignore SIGTERM, as apt-get sometimes does.
"""
VOLATILE = frozenset({"/proc", "/sys", "/dev", "/run", "/tmp"})  # noqa: S108
"""Folders whose content does not outlive the guest."""
STOP_TIMEOUT = 10.0
"""Seconds for the kernel to end what is in a guest's namespaces."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run in a guest, as root."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of a fixed environment, `postroj.container.enter.nsenter.ENVIRONMENT`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that appear in no list of processes and no log."""
    chdir: str | None = None
    """An absolute path in the guest; None is its root directory."""


class FileKind(StrEnum):
    """Type of a file, inode(7)."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"
    """A device, FIFO or socket."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a guest; links are not followed."""

    path: str
    kind: FileKind
    mode: int
    """Permission bits, as chmod(2) takes them."""
    uid: int
    """Owner, as the host numbers users; the guest's own number unless its users are its own."""
    gid: int
    size: int
    """Bytes."""
    digest: str = ""
    """SHA-256 of the content of a regular file, in hexadecimal; '' where it was not asked for."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of a guest."""

    pid: int
    """Its number in the guest."""
    name: str
    """comm(5), at most 15 bytes."""
    group: str
    """Its control group in the guest, as `/system.slice/redis.service`."""
    unit: str
    """The unit of that group; '' for the guest's init and what entered the guest beside it."""


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """A line of one of the kernel's tables: a socket that waits for peers."""

    protocol: str
    """`tcp`, `udp`, `stream` and `seqpacket` (both unix)."""
    address: str
    """`127.0.0.1`, `[::1]`; or a path, or `@` and a name that is in no file system."""
    port: int = 0
    inode: int = 0

    @property
    def is_unix(self) -> bool:
        """Whether it is a unix socket."""
        return self.protocol in UNIX_KINDS.values()

    @property
    def text(self) -> str:
        """As people write it: `127.0.0.1:80`, `udp 0.0.0.0:53`, `/run/x.sock`."""
        if self.is_unix:
            return self.address
        where = f"{self.address}:{self.port}"
        return where if self.protocol == "tcp" else f"{self.protocol} {where}"


@dataclass(frozen=True, kw_only=True)
class Socket:
    """A socket that waits for peers, and the process that has it open."""

    entry: Entry
    process: str = ""
    """Name of a process of the guest that has it open, comm(5); '' if none has."""
    unit: str = ""
    """The unit of that process; '' if it is in none, or is the guest's init."""
    is_of_init: bool = False
    """Whether only the guest's init has it open."""
    interface: str = ""
    """Of a link-local IPv6 address the interface, without which nobody can connect to it."""
    opener: int = 0
    """For `Guest.connect`, which looks a path up as that process does; no meaning to others."""


class Guest(ABC):
    """A guest that runs.

    Every method raises `GuestError` if the guest has ended, and `GuestLost`, which is one, where
    the guest's own doing ended it.
    """

    name: str
    """Of the guest, its machine and its control groups: `postroj-0a1b2c3d`."""

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        ok: Collection[int] = (0,),
        timeout: float | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limit: int = LIMIT,
    ) -> Completed:
        """Run a command as root to its end, and return its status and the tail of its output.

        `ok` are the statuses that are no error, `timeout` is in seconds, `limit` is in bytes of
        stdout.
        `secrets` are variables that appear in no list of processes and no log.

        :raises CommandError: if it ended with another status.
        :raises CommandTimeout: if it did not end within `timeout` seconds.
        """

    @abstractmethod
    def spawn(self, argv: Sequence[str], stdio: Stdio) -> AbstractContextManager[Child]:
        """Run a command as root beside a `with` block, which ends it.

        The status of the child is that of the command.
        """

    @abstractmethod
    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """Run a command with our stdin, stdout and stderr, and return its status.

        If we have a terminal it gets one of the guest's, unless `with_terminal` is false; else
        three pipes.
        """

    @abstractmethod
    def read_file(self, path: str, limit: int) -> bytes:
        """Return the first `limit` bytes of a regular file; links are followed within the guest.

        :raises OSError: if there is no such file, or it is not a regular one.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether a path leads to something; links are followed within the guest."""

    @abstractmethod
    def walk(
        self, *, skip: Collection[str] = VOLATILE, deepest: int = 64, digests: bool = False
    ) -> list[File]:
        """Return all files below the root directory, a folder before what is in it.

        Folders of `skip` are not entered, nor are those that are more than `deepest` folders deep.
        No link is followed.
        """

    @abstractmethod
    def connect(self, address: str, kind: str, timeout: float, *, opener: int = 0) -> socket.socket:
        """Connect to `HOST:PORT`, `[HOST]:PORT`, a path, or `@NAME` as from within the guest.

        `kind` is `stream`, `dgram` or `seqpacket`, in any case; `timeout` is in seconds and stays
        that of the socket. A path is looked up as the process `Socket.opener` does, if it can be.

        :raises OSError: if nothing accepts there.
        """

    @abstractmethod
    def sockets(self) -> list[Socket]:
        """Return the sockets in the guest's network that wait for peers, unix ones last.

        On the host's network these are the host's, too: what no process of the guest has open has
        an empty `process`. Where processes of several units have one open, each has its own row.
        """

    @abstractmethod
    def processes(self) -> list[Process]:
        """Return the processes of the guest, its init first."""

    @abstractmethod
    def oom_kills(self) -> int:
        """Return how many processes the guest's kernel has killed for want of memory so far.

        Where the kernel is the host's, those of others count, too.
        """

    @abstractmethod
    def init(self) -> str:
        """Return the name of what runs as its PID 1, comm(5); '' if the guest has ended."""

    @abstractmethod
    def has_ended(self, patience: float = 0) -> bool:
        """Whether the guest is gone, or will be within `patience` seconds. Raises nothing."""

    @abstractmethod
    def require(self) -> None:
        """Raise if the guest has ended."""

    @abstractmethod
    def kill(self) -> None:
        """Kill its PID 1, and with that all that runs in it. Raises nothing."""

    @abstractmethod
    def console(self, limit: int) -> str:
        """Return the last `limit` bytes of its console as text, also after its end."""

    def system_state(self) -> str:
        """Return the manager's state as `systemctl is-system-running` names it, systemctl(1)."""
        done = self.run(["systemctl", "show", "--property=SystemState"], timeout=10)
        return done.text.removeprefix("SystemState=")

    def is_active(self, unit: str) -> bool:
        """Whether a unit is active now."""
        argv = ["systemctl", "is-active", "--quiet", unit]
        return self.run(argv, ok=range(256), timeout=10).status == 0

    def failed_units(self) -> list[str]:
        """Return the names of the units that are in the state `failed` now, sorted."""
        argv = ["systemctl", "list-units", "--state=failed", "--all", "--plain", "--no-legend"]
        lines = self.run([*argv, "--no-pager"], timeout=10).text.splitlines()
        return sorted(line.split()[0] for line in lines if line.strip())

    def is_stopping(self) -> bool:
        """Whether a guest with a manager shuts down."""
        try:
            return self.system_state() == "stopping"
        except CommandError:  # the manager is gone already
            return self.init() == SHUTDOWN or self.has_ended(STOP_TIMEOUT)


class OwnGuest(Guest):
    """A guest that this process has started, and that ends with it unless it is kept."""

    state: str
    """Of its manager once ready: `running` or `degraded`; '' without init."""
    failed_at_boot: tuple[str, ...]
    """Names of the units for which it is `degraded`."""
    kept: bool
    """Whether it lives on without us; known once it is left."""
    proxies: Mapping[str, str]
    """Variables for what fetches something in it."""

    @abstractmethod
    def reboot(self) -> None:
        """Boot it again with all that was written to its files, and wait until it is ready.

        :raises GuestLost: if it does not become ready again.
        """

    @abstractmethod
    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        """End the guest, and return a command that writes all that it has written to stdout.

        That is a tar, which can be stacked on the guest's layers; the command works until the guest
        is left. `only` are the folders, absolute paths, to which it is confined; those that the
        guest does not have are passed over.

        :raises GuestError: if the guest does not end.
        """
