"""A guest with a kernel of its own, no matter who started it."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from postroj import process
from postroj.container.enter import terminal
from postroj.container.guest import VOLATILE, Command, Guest
from postroj.errors import CommandError, GuestError
from postroj.locking import random_digits
from postroj.machine import client, enter, qemu, records
from postroj.machine.call import FAILED
from postroj.streams import STDERR, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from postroj.container.guest import File, Process, Socket, Written
    from postroj.machine.client import Line

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds for the connection to end after the machine."""


class MachineGuest(Guest):
    """A guest in a machine; `run_dir` has its name and contains its console.

    `line` leads to the server in the machine, and ends with it.
    """

    has_own_kernel = True

    def __init__(self, run_dir: Path, line: Line) -> None:
        self.name = run_dir.name
        self.run_dir = run_dir
        self.line = line
        """Replaced at each reboot."""
        self.clock_offset = client.clock_offset(line)

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
        self.require()
        token = random_digits()
        call = qemu.call_argv(self.run_dir, enter.request(command, token))
        try:
            done = process.run(
                call,
                ok=ok,
                timeout=timeout and timeout * self.slowness,
                stdin=stdin,
                env=process.environment(command.secrets),
                limit=limit,
            )
        except CommandError as error:
            self._end_command(token)
            if error.status == FAILED and self.has_ended(PATIENCE):
                raise self._ended_error(error.output) from error
            # show the command of the caller, not the command line around it
            error.argv = command.argv
            error.message = error.message.replace(f"'{call[0]}'", f"'{command.argv[0]}'", 1)
            raise
        except BaseException:
            self._end_command(token)
            raise
        if done.status == FAILED and self.has_ended(PATIENCE):
            raise self._ended_error(done.output)
        return done

    def spawn(
        self, argv: Sequence[str], stdio: process.Stdio
    ) -> AbstractContextManager[process.Child]:
        """See `Guest.spawn`."""
        self.require()
        return self._spawn(Command(argv=tuple(argv)), stdio)

    @contextmanager
    def _spawn(
        self, command: Command, stdio: process.Stdio, kind: str | None = None
    ) -> Iterator[process.Child]:
        token = random_digits()
        if kind is None:
            argv = qemu.call_argv(self.run_dir, enter.request(command, token))
        else:
            argv = qemu.ssh_argv(
                self.run_dir, enter.script(command, token, kind), [*command.secrets]
            )
        env = process.environment(command.secrets)
        with process.spawn(argv, stdio=stdio, env=env, with_terminal=kind is not None) as child:
            try:
                yield child
            finally:
                if child.poll() is None:
                    self._end_command(token)

    def _end_command(self, token: str) -> None:
        with suppress(client.Gone, OSError):
            self.line.ask("end_command", type(None), token=token)

    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """See `Guest.attach`."""
        self.require()
        if with_terminal and terminal.is_interactive():
            kind = os.environ.get("TERM", "dumb")
            with self._spawn(command, (STDIN, STDOUT, STDERR), kind) as child:
                status = process.exit_status(child.wait())
        else:
            with self._spawn(command, process.STDIO) as child:
                status = process.relay(
                    child,
                    stdin=process.Feed(descriptor=STDIN),
                    stdout=lambda chunk: write_all(STDOUT, chunk),
                    stderr=lambda chunk: write_all(STDERR, chunk),
                )
        if status == FAILED and self.has_ended(PATIENCE):
            raise self._ended_error()
        return status

    def read_file(self, path: str, limit: int) -> bytes:
        """See `Guest.read_file`."""
        return records.content(self._ask("read_file", str, path=path, limit=limit), limit)

    def exists(self, path: str) -> bool:
        """See `Guest.exists`."""
        return self._ask("exists", bool, path=path)

    def walk(
        self, *, skip: Collection[str] = VOLATILE, deepest: int = 64, digests: bool = False
    ) -> list[File]:
        """See `Guest.walk`."""
        found = self._ask("walk", list, skip=list(skip), deepest=deepest, digests=digests)
        return records.files(found)

    def connect(self, address: str, kind: str, timeout: float, *, opener: int = 0) -> socket.socket:
        """See `Guest.connect`."""
        try:
            return client.reach(self.run_dir / qemu.ANSWERS, address, kind, timeout, opener)
        except client.Gone:
            raise self._ended_error() from None

    def sockets(self) -> list[Socket]:
        """See `Guest.sockets`."""
        return records.sockets(self._ask("sockets", list))

    def processes(self) -> list[Process]:
        """See `Guest.processes`."""
        return records.processes(self._ask("processes", list), self.clock_offset)

    def oom_kills(self) -> int:
        """See `Guest.oom_kills`."""
        return self._ask("oom_kills", int)

    def init(self) -> str:
        """See `Guest.init`."""
        with suppress(client.Gone):
            return self.line.ask("init", str)
        return ""

    def has_ended(self, patience: float = 0) -> bool:
        """See `Guest.has_ended`."""
        return self.line.has_ended(patience)

    def require(self) -> None:
        """See `Guest.require`."""
        if self.has_ended():
            raise self._ended_error()

    def kill(self) -> None:
        """See `Guest.kill`."""
        self._order_kernel("o")

    def reset(self) -> None:
        """Have the kernel reboot at once, without any process."""
        self._order_kernel("b")
        self.has_ended(PATIENCE)

    def _order_kernel(self, key: str) -> None:
        with suppress(client.Gone, OSError):
            self.line.ask("order_kernel", type(None), key=key)

    def console(self, limit: int) -> str:
        """See `Guest.console`."""
        return process.file_end(self.run_dir / "console", limit)

    def _ask(self, call: str, kind: type[T], **arguments: Any) -> T:
        try:
            return self.line.ask(call, kind, **arguments)
        except client.Gone:
            raise self._ended_error() from None

    def _written(self) -> dict[str, Written]:
        return records.written(self._ask("written", list))

    def _ended_error(self, output: str = "") -> GuestError:
        """Return the error for a guest that has ended; `output` is that of the command in it."""
        tail = process.file_tail(self.run_dir / "console")
        return GuestError("the guest ended meanwhile", evidence=tail)
