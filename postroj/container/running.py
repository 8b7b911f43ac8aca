"""A guest that runs: commands in it, through its leader, whoever booted it."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.cgroup import group
from postroj.container.enter import nsenter, terminal
from postroj.errors import CommandError, GuestError
from postroj.streams import STDERR, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from postroj.container.enter.nsenter import Command

PF_EXITING = 0x4
"""Flag of a process that the kernel is about to end, its include/linux/sched.h."""
SIGKILL_PENDING = 1 << (signal.SIGKILL - 1)


class Running:
    """A guest that runs; `run_dir` has its name."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.leader = 0
        """Its PID 1 as seen from here; 0 while there is none."""

    @property
    def name(self) -> str:
        """Of the guest, of its machine and of its control groups."""
        return self.run_dir.name

    def follow(self, leader: int) -> None:
        """Take note of its PID 1."""
        pidfd = os.pidfd_open(leader)
        self.forget()
        self.leader, self._pidfd = leader, pidfd

    def forget(self) -> None:
        """Let go of its PID 1, when nothing more is asked of it."""
        if self.leader:
            os.close(self._pidfd)
        self.leader = 0

    def kill(self) -> None:
        """Kill its PID 1, and with that all that runs in it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def learn(self) -> None:
        """Read what commands in the guest need to know of its leader."""
        self._bounds = nsenter.bounding_set(self._proc("status"))
        users = (Path(f"/proc/{pid}/ns/user").stat().st_ino for pid in (self.leader, "self"))
        self.private_users = len({*users}) > 1
        self._groups = group.members(self._proc("cgroup"), self.name)

    def system_state(self) -> str:
        """State of its manager, as `systemctl is-system-running` has it, systemctl(1)."""
        done = self.run(["systemctl", "show", "--property=SystemState"], timeout=10)
        return done.text.removeprefix("SystemState=")

    def is_active(self, unit: str) -> bool:
        """Whether a unit is up now."""
        argv = ["systemctl", "is-active", "--quiet", unit]
        return self.run(argv, ok=range(256), timeout=10).status == 0

    def failed_units(self) -> list[str]:
        """Names of the units that are in the state `failed` now, sorted."""
        argv = ["systemctl", "list-units", "--state=failed", "--all", "--plain", "--no-legend"]
        lines = self.run([*argv, "--no-pager"], timeout=10).text.splitlines()
        return sorted(line.split()[0] for line in lines if line.strip())

    def run(
        self,
        argv: Collection[str],
        *,
        ok: Collection[int] = (0,),
        timeout: float | None = None,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        keep: int = process.KEPT,
    ) -> process.Completed:
        """Run a command in the guest to its end and keep the tail of what it says.

        `keep` are the bytes of its stdout that are kept.

        :raises CommandError: if it ended with a status that is not in `ok`.
        :raises CommandTimeout: if it did not end within `timeout` seconds.
        :raises GuestError: if the guest ended meanwhile; `GuestLost` if that is known to be the
            work of what went on in it.
        """
        command = nsenter.Command(argv=tuple(argv), env=env or {}, secrets=secrets or {})
        try:
            done = process.run(
                self._enter_argv(command),
                ok=ok,
                timeout=timeout,
                stdin=stdin,
                env=nsenter.environment(command),
                keep=keep,
            )
        except CommandError as error:
            if self._took(error.status):
                raise self._gone(error.output) from error
            # the command is what the caller knows, not the way we ran it
            error.argv = command.argv
            error.message = error.message.replace("'sh'", f"'{command.argv[0]}'", 1)
            raise
        if self._took(done.status):
            raise self._gone(done.output)
        return done

    def spawn(self, argv: Sequence[str], stdio: process.Stdio) -> process.Child:
        """Start a command in the guest; the caller ends it.

        :raises GuestError: if the guest has ended.
        """
        command = nsenter.Command(argv=tuple(argv))
        return process.spawn(self._enter_argv(command), stdio=stdio, env=nsenter.ENVIRONMENT)

    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        """Run a command with our stdin, stdout and stderr; its exit status.

        With a terminal on our side it gets a pty of the guest, if it is to have one, else three
        pipes, byte by byte.

        :raises GuestError: if the guest ended meanwhile.
        """
        converses = with_terminal and terminal.is_interactive()
        status = self._converse(command) if converses else self._relay(command)
        if self._took(status):
            raise self._gone()
        return status

    def _relay(self, command: Command) -> int:
        child = process.spawn(
            self._enter_argv(command), stdio=process.STDIO, env=nsenter.environment(command)
        )
        return process.relay(
            child,
            stdin=process.Feed(descriptor=STDIN),
            stdout=lambda chunk: write_all(STDOUT, chunk),
            stderr=lambda chunk: write_all(STDERR, chunk),
        )

    def _converse(self, command: Command) -> int:
        env = nsenter.environment(command, os.environ.get("TERM", "dumb"))
        master, slave = terminal.open_pty(self.leader)
        try:
            argv = self._enter_argv(command, terminal=True)
            try:
                child = process.spawn(argv, stdio=(slave, slave, slave), env=env)
            finally:
                os.close(slave)
            return terminal.converse(child, master)
        finally:
            os.close(master)

    def _enter_argv(self, command: Command, *, terminal: bool = False) -> list[str]:
        self.require()  # its number may be somebody else's by now
        return nsenter.enter_argv(
            command,
            leader=self.leader,
            bounding_set=self._bounds,
            cgroups=self._groups,
            private_users=self.private_users,
            terminal=terminal,
        )

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.leader}/{name}").read_text(errors="replace")

    def init(self) -> str:
        """Name of what runs as its PID 1, proc_pid_comm(5); '' if it has ended."""
        try:
            return self._proc("comm").rstrip("\n")
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def has_ended(self, patience: float = 0) -> bool:
        """Whether the guest is gone, or within `patience` seconds: powered off, crashed, killed."""
        ended, _, _ = select.select([self._pidfd], [], [], patience)
        return bool(ended)

    def require(self) -> None:
        """Refuse to go on with a guest that has ended.

        :raises GuestError: if it has.
        """
        if self.has_ended():
            raise self._gone()

    def _took(self, status: int) -> bool:
        """Whether a command ended as it did since the guest ended.

        The kernel takes namespaces from a PID 1, and kills what is in them, before it is seen to be
        dead.
        """
        killed = status == 128 + signal.SIGKILL
        return status != 0 and (self._is_doomed() or self.has_ended(0.2 if killed else 0))

    def _is_doomed(self) -> bool:
        """Whether its PID 1 was killed or exits, and so will have ended, proc_pid_stat(5)."""
        try:
            fields = self._proc("stat").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return bool(int(fields[6]) & PF_EXITING or int(fields[28]) & SIGKILL_PENDING)

    def _gone(self, output: str = "") -> GuestError:
        """Return what is to be raised now that it has ended; `output` is of what ended with it."""
        return GuestError("the guest ended meanwhile", evidence=self.console_tail())

    def console_tail(self) -> str:
        """The last lines of its console."""
        return process.file_tail(self.run_dir / "console")
