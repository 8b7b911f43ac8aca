"""The interface to a guest: everything that code above this package may ask of any kind of guest.

`Guest` runs, `OwnGuest` was started by this process. Paths, PIDs, addresses are the guest's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.container import capabilities
from postroj.container.manager import systemctl
from postroj.errors import CommandError
from postroj.model import socket_name
from postroj.process import LIMIT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from postroj.process import Child, Completed, Stdio

UNIX_KINDS = {"0001": "stream", "0005": "seqpacket"}
"""Types of unix sockets that accept connections, as `/proc/PID/net/unix` numbers them."""
SHUTDOWN = "systemd-shutdow"
"""systemd-shutdown(8), which replaces the manager; the kernel keeps 15 bytes of a name. It waits
90 s for processes that ignore SIGTERM, as apt-get sometimes does."""
VOLATILE = frozenset({"/proc", "/sys", "/dev", "/run", "/tmp"})  # noqa: S108
"""Folders whose content does not outlive the guest."""
STOP_TIMEOUT = 10.0
"""Seconds for the kernel to end all processes in a guest's namespaces."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to run in a guest as root."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to `postroj.container.enter.nsenter.ENVIRONMENT`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that must not appear in process lists or logs."""
    chdir: str | None = None
    """Working directory, an absolute path in the guest; None is the root directory."""


class FileKind(StrEnum):
    """Type of a file, inode(7)."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"
    """A device, FIFO or socket."""
    GONE = "gone"
    """Nothing: the file was removed, and with a folder everything in it."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a guest; links are not followed."""

    path: str
    kind: FileKind
    mode: int
    """Permission bits, as chmod(2) takes them."""
    uid: int
    """UID of the owner on the host; with private users this is not the UID in the guest."""
    gid: int
    size: int
    """Size in bytes."""
    digest: str = ""
    """SHA-256 of a regular file's content, in hexadecimal; '' if it was not requested."""
    changed: int = 0
    """When content, mode or owner last changed, in nanoseconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Written(File):
    """What a guest has written at a path, on top of its layers."""

    is_below: bool = False
    """Whether the layers have something at this path."""
    hides_below: bool = False
    """Whether it is a folder that shows nothing of the layers."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of a guest."""

    pid: int
    """PID in the guest."""
    name: str
    """Name of the process, comm(5), at most 15 bytes."""
    group: str
    """Control group in the guest, such as `/system.slice/redis.service`."""
    unit: str
    """The unit of that group; '' for the guest's init and commands that entered the guest."""
    executable: str = ""
    """Path of its program in the guest; '' if that cannot be read."""
    is_deleted: bool = False
    """Whether that program has been removed or replaced since it was started."""
    arguments: tuple[str, ...] = ()
    """Its command line; the process may have changed it."""
    started: float = 0.0
    """When it was started, in seconds of this host's monotonic clock."""


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """A socket that waits for peers, as the kernel's tables list it."""

    protocol: str
    """`tcp`, `udp`, or `stream` and `seqpacket` for unix sockets."""
    address: str
    """`127.0.0.1`, `[::1]`, a path, or `@` and the padded name of an abstract socket, unix(7)."""
    port: int = 0
    inode: int = 0

    @property
    def is_unix(self) -> bool:
        """Whether it is a unix socket."""
        return self.protocol in UNIX_KINDS.values()

    @property
    def text(self) -> str:
        """As messages show it: `127.0.0.1:80`, `udp 0.0.0.0:53`, `/run/x.sock`."""
        where = socket_name(self.address) if self.is_unix else f"{self.address}:{self.port}"
        return f"udp {where}" if self.protocol == "udp" else where


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
    """Interface of a link-local IPv6 address, which a connection to it needs."""
    opener: int = 0
    """Opaque value for `Guest.connect`, which then resolves a path as that process does."""


class Guest(ABC):
    """A guest that runs.

    Every method raises `GuestError` if the guest has ended, and its subclass `GuestLost` if
    something in the guest ended it.
    """

    has_own_kernel = False
    slowness = 1.0
    """By how much longer than asked for commands may take."""
    clock_offset = 0.0
    """Seconds by which the monotonic clock of this host is ahead of the guest's."""
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

        `ok` are the statuses that are not an error. `timeout` is in seconds, `limit` in bytes of
        stdout. `secrets` are variables that must not appear in process lists or logs.

        :raises CommandError: if the command ends with another status.
        :raises CommandTimeout: if it does not end within `timeout` seconds.
        """

    @abstractmethod
    def spawn(self, argv: Sequence[str], stdio: Stdio) -> AbstractContextManager[Child]:
        """Run a command as root during a `with` block; leaving the block ends it.

        The child has the status of the command. Its streams must be pipes, not files of the host.
        """

    @abstractmethod
    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """Run a command with stdin, stdout and stderr of this process, and return its status.

        If this process has a terminal, the command gets one in the guest, unless `with_terminal` is
        false. Otherwise it gets three pipes.
        """

    @abstractmethod
    def read_file(self, path: str, limit: int) -> bytes:
        """Return the first `limit` bytes of a regular file; links are followed within the guest.

        :raises OSError: if the file does not exist or is not a regular file.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether a path exists; links are followed within the guest."""

    @abstractmethod
    def walk(
        self, *, skip: Collection[str] = VOLATILE, deepest: int = 64, digests: bool = False
    ) -> list[File]:
        """Return all files below the root directory, each folder before its content.

        Folders in `skip` and folders at a depth of more than `deepest` are listed but not entered.
        Links are not followed. `digests` requests digests of regular files.
        """

    @abstractmethod
    def connect(self, address: str, kind: str, timeout: float, *, opener: int = 0) -> socket.socket:
        """Connect to `HOST:PORT`, `[HOST]:PORT`, a path or `@NAME` as if from within the guest.

        `kind` is `stream`, `dgram` or `seqpacket`, in upper or lower case. `timeout` is in seconds
        and stays set on the socket. With `Socket.opener`, a path is resolved as that process does,
        if possible.

        :raises OSError: if nothing accepts connections there.
        """

    @abstractmethod
    def sockets(self) -> list[Socket]:
        """Return the sockets in the guest's network that wait for peers, unix sockets last.

        On the host's network this includes sockets of the host, with an empty `process`. A socket
        that processes of several units have open is listed once for each unit.
        """

    @abstractmethod
    def processes(self) -> list[Process]:
        """Return the processes of the guest, init first."""

    @abstractmethod
    def oom_kills(self) -> int:
        """Return how many processes the guest's kernel has killed so far because memory ran out.

        A kernel that the guest shares with this host counts the host's processes, too.
        """

    @abstractmethod
    def init(self) -> str:
        """Return the name of the process with PID 1, comm(5); '' if the guest has ended."""

    @abstractmethod
    def has_ended(self, patience: float = 0) -> bool:
        """Whether the guest has ended, or ends within `patience` seconds. Raises nothing."""

    @abstractmethod
    def require(self) -> None:
        """Raise if the guest has ended."""

    @abstractmethod
    def kill(self) -> None:
        """Kill PID 1, and with it everything in the guest. Raises nothing."""

    @abstractmethod
    def console(self, limit: int) -> str:
        """Return the last `limit` bytes of the console as text, even after the guest has ended."""

    def system_state(self) -> str:
        """Return the manager's state as `systemctl is-system-running` names it, systemctl(1)."""
        done = systemctl(self.run, ["show", "--property=SystemState"], timeout=10)
        return done.text.removeprefix("SystemState=")

    def is_active(self, unit: str) -> bool:
        """Whether a unit is active now."""
        return systemctl(self.run, ["is-active", unit], ok=range(256), timeout=10).status == 0

    def lacking_capabilities(self) -> frozenset[str]:
        """Return the capabilities that the kernel knows and init lacks, such as `SYS_TIME`."""
        script = "grep CapBnd /proc/1/status; cd /proc; cat sys/kernel/cap_last_cap 1/uid_map"
        done = self.run(["sh", "-c", script], ok=range(256), timeout=10)
        return capabilities.parse_lacking(done.text.split())

    def file_systems(self) -> frozenset[str]:
        """Return the names of the file systems that the kernel knows by now."""
        done = self.run(["cat", "/proc/filesystems"], ok=range(256), timeout=10)
        return frozenset(done.text.split()) - {"nodev"}

    def failed_units(self) -> list[str]:
        """Return the names of the units in state `failed`, sorted."""
        words = ["list-units", "--state=failed", "--all", "--plain", "--no-legend", "--no-pager"]
        lines = systemctl(self.run, words, timeout=10).text.splitlines()
        return sorted(line.split()[0] for line in lines if line.strip())

    def is_stopping(self) -> bool:
        """Whether the manager of a guest is shutting it down."""
        try:
            return self.system_state() == "stopping"
        except CommandError:  # the manager is gone already
            return self.init() == SHUTDOWN or self.has_ended(STOP_TIMEOUT)


class OwnGuest(Guest):
    """A guest that this process has started; it ends with this process unless it is kept."""

    state: str
    """State of the manager once the guest is ready: `running` or `degraded`; '' without init."""
    failed_at_boot: tuple[str, ...]
    """Names of the units that make it `degraded`."""
    kept: bool
    """Whether it lives on after this process; set when the context of the guest ends."""
    proxies: Mapping[str, str]
    """Proxy variables for commands that download something in the guest."""

    @abstractmethod
    def reboot(self, begin: Callable[[], object] | None = None) -> None:
        """Boot the guest again with its files, and wait until it is ready.

        `begin` makes the guest reboot, at once or later; the default is an order to its manager.

        :raises GuestLost: if it does not become ready again.
        """

    @abstractmethod
    def written(self) -> dict[str, Written]:
        """Return what the guest has written since it was started, by path; links are not followed.

        Folders that contain something written are among it. What lies in `VOLATILE` is not.
        """

    @abstractmethod
    def power_off(self, patience: float) -> None:
        """Shut the guest down, as far as it manages within `patience` seconds; then kill it."""

    @abstractmethod
    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        """End the guest, and return a command that prints the files it has written, as a tar.

        The tar can be stacked on the guest's layers. The command works until the context of the
        guest ends. `only` limits the tar to folders, absolute paths; missing ones are left out.

        :raises GuestError: if the guest does not end.
        """
