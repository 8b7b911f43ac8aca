"""Hold on to a process, so that its PID cannot lead to another one once it has ended."""

from __future__ import annotations

import os
import signal
import weakref
from contextlib import suppress
from pathlib import Path

from postroj.streams import await_input


class Held:
    """A process by two descriptors, of itself and of its directory in `/proc`.

    The kernel gives its PID to another process once it has ended. Both descriptors then refer to
    nothing, so what is read, opened, entered or killed through them is this process or none.
    """

    def __init__(self, pid: int) -> None:
        """Hold the process that has this PID now, which need not be the one that was meant.

        The descriptors are closed once this object is no longer referenced.

        :raises ProcessLookupError: if there is none; a child that was not reaped is one.
        """
        self.pid = pid
        self.pidfd = self._own(os.pidfd_open(pid))
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self.folder = self._own(os.open(f"/proc/{pid}", flags))
        except FileNotFoundError:
            raise ProcessLookupError(pid) from None
        with suppress(PermissionError):
            signal.pidfd_send_signal(self.pidfd, 0)  # so the PID was not given away in between

    def _own(self, descriptor: int) -> int:
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def path(self, inner: Path) -> Path:
        """Return an absolute path of its mount namespace as one for the programs that we start."""
        return Path(f"/proc/{os.getpid()}/fd/{self.folder}/root{inner}")

    def require(self) -> None:
        """Require that it runs.

        :raises ProcessLookupError: if it has ended.
        """
        if self.has_ended():
            raise ProcessLookupError(self.pid)

    def has_ended(self, patience: float = 0) -> bool:
        """Whether it has ended, or ends within `patience` seconds."""
        return bool(await_input([self.pidfd], patience))

    def open(self, name: str, flags: int) -> int:
        """Open a file in its directory of `/proc`; the caller closes the descriptor.

        :raises ProcessLookupError: if it has ended.
        :raises OSError: if the file cannot be opened.
        """
        try:
            descriptor = os.open(name, flags | os.O_CLOEXEC, dir_fd=self.folder)
        except FileNotFoundError:
            self.require()
            raise
        try:
            self.require()
        except ProcessLookupError:
            os.close(descriptor)
            raise
        return descriptor

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file in its directory of `/proc`.

        :raises OSError: if it has ended.
        """
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            content = file.read()
        self.require()  # the kernel has little to say of a zombie
        return content

    def read(self, name: str) -> str:
        """Return the text of a file in its directory of `/proc`.

        :raises OSError: if it has ended.
        """
        return self.read_bytes(name).decode(errors="replace")

    @property
    def comm(self) -> str:
        """Name of its program, comm(5); '' if it has ended."""
        with suppress(OSError):
            return self.read("comm").rstrip("\n")
        return ""

    @property
    def numbers(self) -> list[int]:
        """Its PIDs, from this namespace inwards, proc_pid_status(5).

        :raises OSError: if it has ended.
        """
        for line in self.read("status").splitlines():
            name, _, value = line.partition(":")
            if name == "NSpid":
                return [int(number) for number in value.split()]
        return []

    @property
    def children(self) -> list[int]:
        """PIDs of its children, if it has no threads, proc_tid_children(5).

        :raises OSError: if it has ended.
        """
        return [int(word) for word in self.read(f"task/{self.pid}/children").split()]

    def send(self, number: signal.Signals | int) -> None:
        """Send it a signal, unless it has ended, or belongs to another user of a guest."""
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """Kill it; with a PID 1 goes all that is in its namespace."""
        self.send(signal.SIGKILL)
