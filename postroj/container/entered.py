"""A guest that is entered through the namespaces of its leader, no matter who started it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from postroj import process
from postroj.container import limits
from postroj.container.cgroup.gate import Gate, UnjoinedError
from postroj.container.enter import nsenter, terminal
from postroj.container.guest import VOLATILE, Command, Guest
from postroj.errors import CommandError, GuestError
from postroj.streams import STDERR, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from postroj.container.guest import File, Process, Socket
    from postroj.container.leader import Leader


T = TypeVar("T")

PATIENCE = 0.2
"""Seconds for a leader to end after its processes and groups."""


class EnteredGuest(Guest):
    """A guest that shares the host's kernel; `run_dir` has its name and contains its console.

    Modules that read a guest from the host are imported where they are needed, because `postroj
    run` needs none of them.
    """

    def __init__(self, run_dir: Path, leader: Leader) -> None:
        self.name = run_dir.name
        self.run_dir = run_dir
        self.leader = leader
        """Replaced at each reboot."""

    def run(
        self,
        argv: Sequence[str],
        *,
        ok: Collection[int] = (0,),
        timeout: float | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limit: int = process.LIMIT,
    ) -> process.Completed:
        """See `Guest.run`."""
        command = Command(argv=tuple(argv), env=env or {}, secrets=secrets or {})
        leader = self.leader
        try:
            done = self._perform(command, ok=ok, timeout=timeout, stdin=stdin, limit=limit)
        except CommandError as error:
            if _ended_by_guest(leader, error.status):
                raise self._ended_error(error.output) from error
            # show the command of the caller, not the command line around it
            error.argv = command.argv
            error.message = error.message.replace("'sh'", f"'{command.argv[0]}'", 1)
            raise
        if _ended_by_guest(leader, done.status):
            raise self._ended_error(done.output)
        return done

    def _perform(
        self,
        command: Command,
        *,
        ok: Collection[int],
        timeout: float | None,
        stdin: bytes = b"",
        limit: int = process.LIMIT,
    ) -> process.Completed:
        """Run a command to its end, as `run` does, whatever has become of the guest then."""
        env = nsenter.environment(command)
        with self._gate() as gate:
            argv = self._enter_argv(command, gate)
            return process.run(
                argv,
                ok=ok,
                timeout=timeout,
                stdin=stdin,
                env=env,
                limit=limit,
                folder=self.leader.folder,
                admit=gate.admit,
            )

    def spawn(
        self, argv: Sequence[str], stdio: process.Stdio
    ) -> AbstractContextManager[process.Child]:
        """See `Guest.spawn`."""
        self.require()
        return self._spawn(Command(argv=tuple(argv)), stdio)

    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """See `Guest.attach`."""
        leader = self.leader
        is_interactive = with_terminal and terminal.is_interactive()
        status = self._attach_terminal(command) if is_interactive else self._attach_pipes(command)
        if _ended_by_guest(leader, status):
            raise self._ended_error()
        return status

    def _attach_pipes(self, command: Command) -> int:
        with self._spawn(command, process.STDIO) as child:
            return process.relay(
                child,
                stdin=process.Feed(descriptor=STDIN),
                stdout=lambda chunk: write_all(STDOUT, chunk),
                stderr=lambda chunk: write_all(STDERR, chunk),
            )

    def _attach_terminal(self, command: Command) -> int:
        kind = os.environ.get("TERM", "dumb")
        with ExitStack() as stack:
            master, slave = terminal.open_pty(self.leader)
            stack.callback(os.close, master)
            try:
                spawned = self._spawn(command, (slave, slave, slave), terminal=kind)
                child = stack.enter_context(spawned)
            finally:
                os.close(slave)
            return terminal.converse(child, master)

    @contextmanager
    def _spawn(
        self, command: Command, stdio: process.Stdio, *, terminal: str | None = None
    ) -> Iterator[process.Child]:
        """Run a command during a block; `terminal` is the value of `TERM` if it gets one."""
        env = nsenter.environment(command, terminal)
        with self._gate() as gate:
            argv = self._enter_argv(command, gate, terminal=terminal is not None)
            folder = self.leader.folder
            with process.spawn(
                argv, stdio=stdio, env=env, folder=folder, admit=gate.admit
            ) as child:
                yield child

    def _enter_argv(self, command: Command, gate: Gate, *, terminal: bool = False) -> list[str]:
        self.require()
        return nsenter.enter_argv(command, self.leader, gate.path, terminal=terminal)

    @contextmanager
    def _gate(self) -> Iterator[Gate]:
        """Yield the gate of a command.

        :raises GuestError: if the command cannot join the guest's control groups, without which it
            would have neither the guest's limits nor its devices.
        """
        with Gate(self.leader.joins) as gate:
            try:
                yield gate
            except ProcessLookupError:  # its folder cannot be entered
                self.require()
                raise
            except UnjoinedError as error:
                if self.has_ended(PATIENCE):
                    raise self._ended_error() from None
                message = "no command can join the control group of the guest's init"
                raise GuestError(message, evidence=str(error)) from None

    def read_file(self, path: str, limit: int) -> bytes:
        """See `Guest.read_file`."""
        from postroj.container.observe import files

        return self._read(lambda: files.read_file(self.leader, path, limit))

    def exists(self, path: str) -> bool:
        """See `Guest.exists`."""
        from postroj.container.observe import files

        return self._read(lambda: files.exists(self.leader, path))

    def walk(
        self, *, skip: Collection[str] = VOLATILE, deepest: int = 64, digests: bool = False
    ) -> list[File]:
        """See `Guest.walk`."""
        from postroj.container.observe import files

        return self._read(
            lambda: files.walk(self.leader, skip=skip, deepest=deepest, digests=digests)
        )

    def connect(self, address: str, kind: str, timeout: float, *, opener: int = 0) -> socket.socket:
        """See `Guest.connect`."""
        from postroj.container.cgroup import processes
        from postroj.container.observe import connect

        held = None
        with suppress(OSError):  # it has ended
            held = processes.hold(opener, self.name) if opener else None
        return self._read(lambda: connect.connect(self.leader, address, kind, timeout, opener=held))

    def sockets(self) -> list[Socket]:
        """See `Guest.sockets`."""
        from postroj.container.observe import processes, sockets

        return sockets.sockets(self.leader, processes.members(self.leader))

    def processes(self) -> list[Process]:
        """See `Guest.processes`."""
        from postroj.container.observe import processes

        return processes.processes(processes.members(self.leader))

    def oom_kills(self) -> int:
        """See `Guest.oom_kills`."""
        return limits.oom_kills()

    def init(self) -> str:
        """See `Guest.init`."""
        return self.leader.comm

    def has_ended(self, patience: float = 0) -> bool:
        """See `Guest.has_ended`."""
        return self.leader.has_ended(patience)

    def require(self) -> None:
        """See `Guest.require`."""
        if self.has_ended():
            raise self._ended_error()

    def kill(self) -> None:
        """See `Guest.kill`."""
        self.leader.kill()

    def console(self, limit: int) -> str:
        """See `Guest.console`."""
        return process.file_end(self.run_dir / "console", limit)

    def _read(self, call: Callable[[], T]) -> T:
        """Read from the host; if that fails because the guest has ended, raise that error."""
        try:
            return call()
        except OSError:
            self.require()
            raise

    def _ended_error(self, output: str = "") -> GuestError:
        """Return the error for a guest that has ended; `output` is that of the command in it."""
        return GuestError("the guest ended meanwhile", evidence=self._console_tail())

    def _console_tail(self) -> str:
        return process.file_tail(self.run_dir / "console")


def _ended_by_guest(leader: Leader, status: int) -> bool:
    """Whether a command ended with this status because the guest ended."""
    killed = status == 128 + signal.SIGKILL
    return status != 0 and (leader.is_doomed or leader.has_ended(PATIENCE if killed else 0))
