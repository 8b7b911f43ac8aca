"""A guest that is entered through the namespaces of its leader, no matter who started it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from postroj import process
from postroj.container import limits
from postroj.container.enter import nsenter, terminal
from postroj.container.guest import VOLATILE, Command, Guest
from postroj.errors import CommandError, GuestError
from postroj.streams import STDERR, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from postroj.container.guest import File, Process, Socket
    from postroj.container.leader import Leader


T = TypeVar("T")


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
            done = process.run(
                self._enter_argv(command),
                ok=ok,
                timeout=timeout,
                stdin=stdin,
                env=nsenter.environment(command),
                limit=limit,
            )
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

    def spawn(
        self, argv: Sequence[str], stdio: process.Stdio
    ) -> AbstractContextManager[process.Child]:
        """See `Guest.spawn`."""
        command = Command(argv=tuple(argv))
        return process.spawn(self._enter_argv(command), stdio=stdio, env=nsenter.ENVIRONMENT)

    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """See `Guest.attach`."""
        leader = self.leader
        is_interactive = with_terminal and terminal.is_interactive()
        status = self._attach_terminal(command) if is_interactive else self._attach_pipes(command)
        if _ended_by_guest(leader, status):
            raise self._ended_error()
        return status

    def _attach_pipes(self, command: Command) -> int:
        argv, env = self._enter_argv(command), nsenter.environment(command)
        with process.spawn(argv, stdio=process.STDIO, env=env) as child:
            return process.relay(
                child,
                stdin=process.Feed(descriptor=STDIN),
                stdout=lambda chunk: write_all(STDOUT, chunk),
                stderr=lambda chunk: write_all(STDERR, chunk),
            )

    def _attach_terminal(self, command: Command) -> int:
        env = nsenter.environment(command, os.environ.get("TERM", "dumb"))
        argv = self._enter_argv(command, terminal=True)
        with ExitStack() as stack:
            master, slave = terminal.open_pty(self.leader)
            stack.callback(os.close, master)
            try:
                spawned = process.spawn(argv, stdio=(slave, slave, slave), env=env)
                child = stack.enter_context(spawned)
            finally:
                os.close(slave)
            return terminal.converse(child, master)

    def _enter_argv(self, command: Command, *, terminal: bool = False) -> list[str]:
        self.require()  # after its end the PID may belong to another process
        return nsenter.enter_argv(command, self.leader, terminal=terminal)

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
        from postroj.container.observe import connect

        return self._read(
            lambda: connect.connect(self.leader, address, kind, timeout, opener=opener)
        )

    def sockets(self) -> list[Socket]:
        """See `Guest.sockets`."""
        from postroj.container.observe import sockets

        return sockets.sockets(self.leader)

    def processes(self) -> list[Process]:
        """See `Guest.processes`."""
        from postroj.container.observe import processes

        return processes.processes(self.leader)

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
    return status != 0 and (leader.is_doomed or leader.has_ended(0.2 if killed else 0))
