"""A guest: from a spec to a machine that is ready, commands in it, and its end.

The guest lives as long as a pipe of ours is open (`nspawn.launch_script`): whatever ends postroj
ends the guest too.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import paths, process
from postroj.container import cgroup, execute, garbage, network, nspawn, readiness, seed, terminal
from postroj.container.lifeline import keep, let_go
from postroj.errors import CommandError, GuestError, HostError, PostrojError
from postroj.locking import Claim
from postroj.model import NetworkMode
from postroj.streams import STDERR, STDIN, STDOUT, write_all

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from postroj.container.execute import Command
    from postroj.container.nspawn import GuestSpec

log = logging.getLogger(__name__)

PREFIX = "postroj"
LEADER = "X_NSPAWN_LEADER_PID"
SOCKET_PATH = 108
"""Bytes of the path of a socket with its NUL, unix(7)."""
STOP_TIMEOUT = 10.0
"""Seconds for the kernel to end what is in a guest's namespace."""


class Guest:
    """A running guest, as a context manager: `with Guest(spec) as guest: guest.run(...)`.

    :raises HostError: if this host cannot run guests.
    :raises GuestError: if the guest does not become ready.
    """

    def __init__(self, spec: GuestSpec) -> None:
        self.spec = spec
        self.state = ""
        """Of its manager once ready: `running` or `degraded`; '' without init."""
        self.leader = 0
        """Its PID 1 as seen from here; 0 while there is none."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        require_root()
        with ExitStack() as stack:
            stack.callback(self._forget)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        deadline = time.monotonic() + self.spec.boot_timeout
        self._claim = stack.enter_context(_claim())
        self.name = self._claim.path.name
        resolv_conf = network.guest_resolv_conf(self.spec.network)
        seed.write_seed(self._claim.path, self.name, resolv_conf)
        try:
            group = cgroup.Group(self.name)
        except OSError as error:
            raise HostError(nspawn.CGROUP.failure, evidence=str(error)) from None
        stack.callback(group.remove)
        self._listener = stack.enter_context(readiness.Listener(self._claim.path / "notify"))
        self._launch(stack, group, network.pasta_argv(resolv_conf))
        private = self.spec.network is NetworkMode.PRIVATE
        self._await_ready({"READY", nspawn.NETWORK_UP} if private else {"READY"}, deadline)

    def reboot(self) -> None:
        """Restart it with all that was written to its files; it has another leader then.

        :raises GuestError: if it does not become ready again.
        """
        deadline = time.monotonic() + self.spec.boot_timeout
        self._listener.open()
        with suppress(GuestError):  # who asks for the end may not live to hear the answer
            self.run(["systemctl", "reboot"], ok=range(256), timeout=self.spec.boot_timeout)
        self._await_ready({"READY", LEADER}, deadline)

    def _launch(self, stack: ExitStack, group: cgroup.Group, pasta: list[str]) -> None:
        """Start the launch script with a lifeline, the locks, and the console log."""
        run_dir = self._claim.path
        (run_dir / "mnt").mkdir()
        script = nspawn.launch_script(self.spec, run_dir, group.joins, pasta)
        for name in ("systemd-nspawn", "nsenter", "setpriv"):
            process.tool(name)
        if self.spec.network is NetworkMode.PRIVATE:
            process.tool("pasta")
        layers = [seed.hold(stack, layer) for layer in self.spec.layers]
        env = process.environment(nspawn.ENVIRONMENT | {"NOTIFY_SOCKET": str(run_dir / "notify")})
        with (run_dir / "console").open("wb") as console:
            self._process = process.spawn(
                nspawn.namespace_argv(script),
                stdio=(process.PIPE, process.PIPE, console),
                env=env,
                pass_fds=[self._claim.descriptor, *group.descriptors, *layers],
            )
        stack.callback(self._stop)
        assert self._process.stdin
        keep(self._process.stdin)

    def _stop(self) -> None:
        """Let go of the lifeline; the kernel ends everything in the guest's namespaces."""
        assert self._process.stdin and self._process.stdout
        let_go(self._process.stdin)
        if process.wait(self._process, STOP_TIMEOUT) is None:
            process.kill_group(self._process)
        self._process.stdout.close()

    def _await_ready(self, missing: set[str], deadline: float) -> None:
        """Wait for these notifications; then it can be asked."""
        assert self._process.stdout
        try:
            while missing:
                notification = self._listener.next(self._process.stdout, deadline)
                if notification is None:
                    raise self._stillborn()
                if inner_pid := notification.fields.get(LEADER):
                    self._follow(readiness.leader_of(notification.pid, int(inner_pid)))
                    missing.add("READY")  # one of before was of a reload, systemd >= 253
                missing -= notification.fields.keys()
            self._listener.close()
            self._learn()
        except TimeoutError:
            raise self._late() from None
        except OSError:  # the leader is gone already
            raise self._stillborn() from None
        if self.spec.boot:
            self.state = self._ask_state()

    def _follow(self, leader: int) -> None:
        """Take note of its PID 1."""
        pidfd = os.pidfd_open(leader)
        self._forget()
        self.leader, self._pidfd = leader, pidfd

    def _forget(self) -> None:
        if self.leader:
            os.close(self._pidfd)

    def _stillborn(self) -> GuestError:
        """Why the guest ended before it was ready."""
        evidence = self.console_tail()
        stage = nspawn.STAGES.get(process.wait(self._process, 0.2) or 0)
        if stage:
            return GuestError(stage.failure, evidence=evidence, hint=stage.hint)
        return GuestError(
            "the guest ended before it was ready",
            evidence=evidence,
            hint="`postroj -v run --no-boot -- /bin/sh` enters the image without its init",
        )

    def _late(self) -> GuestError:
        """What the guest is waiting for."""
        message = f"the guest was not ready within {self.spec.boot_timeout:g} s"
        evidence = self.console_tail()
        hint = "`--boot-timeout` gives it more time"
        with suppress(OSError, PostrojError):  # it has ended, or does not answer
            if not self.leader:
                return GuestError(message, evidence=evidence, hint=hint)
            self._learn()
            jobs = self.run(["systemctl", "list-jobs", "--no-pager"], timeout=5).text
            evidence = f"{jobs}\n{evidence}"
        return GuestError(message, evidence=evidence, hint=hint)

    def _learn(self) -> None:
        """Read what commands in the guest need to know of its leader."""
        self._bounds = execute.bounding_set(self._proc("status"))
        self._groups = cgroup.members(self._proc("cgroup"), self.name)

    def _ask_state(self) -> str:
        done = self.run(["systemctl", "show", "--property=SystemState"], timeout=10)
        state = done.text.removeprefix("SystemState=")
        if state in ("maintenance", "stopping"):
            message = f"the guest booted into the state '{state}'"
            raise GuestError(message, evidence=self.console_tail())
        if state == "degraded":
            log.info("guest '%s' is degraded: %s", self.name, " ".join(self.failed_units()))
        return state

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
    ) -> process.Completed:
        """Run a command in the guest to its end and keep the tail of what it says.

        :raises CommandError: if it ended with a status that is not in `ok`.
        :raises CommandTimeout: if it did not end within `timeout` seconds.
        :raises GuestError: if the guest ended meanwhile.
        """
        command = execute.Command(argv=tuple(argv), env=env or {})
        try:
            done = process.run(
                self._enter_argv(command),
                ok=ok,
                timeout=timeout,
                stdin=stdin,
                env=execute.ENVIRONMENT,
            )
        except CommandError as error:
            if self._took(error.status):
                raise self._gone() from error
            # the command is what the caller knows, not the way we ran it
            error.argv = command.argv
            error.message = error.message.replace("'sh'", f"'{command.argv[0]}'", 1)
            raise
        if self._took(done.status):
            raise self._gone()
        return done

    def attach(self, command: Command) -> int:
        """Run a command with our stdin, stdout and stderr; its exit status.

        With a terminal on our side it gets a pty of the guest, else three pipes, byte by byte.

        :raises GuestError: if the guest ended meanwhile.
        """
        status = self._converse(command) if terminal.is_interactive() else self._relay(command)
        if self._took(status):
            raise self._gone()
        return status

    def _relay(self, command: Command) -> int:
        child = process.spawn(
            self._enter_argv(command), stdio=process.STDIO, env=execute.ENVIRONMENT
        )
        return process.relay(
            child,
            stdin=process.Feed(descriptor=STDIN),
            stdout=lambda chunk: write_all(STDOUT, chunk),
            stderr=lambda chunk: write_all(STDERR, chunk),
        )

    def _converse(self, command: Command) -> int:
        env = execute.ENVIRONMENT | {"TERM": os.environ.get("TERM", "dumb")}
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
        if self.has_ended():  # its number may be somebody else's by now
            raise self._gone()
        return execute.enter_argv(
            command,
            leader=self.leader,
            bounding_set=self._bounds,
            cgroups=self._groups,
            terminal=terminal,
        )

    @property
    def written(self) -> Path:
        """Its writable layer, on the way that leads into its mount namespace."""
        return Path(f"/proc/{self._process.pid}/root{self._claim.path}/mnt/upper")

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.leader}/{name}").read_text()

    def has_ended(self, patience: float = 0) -> bool:
        """Whether the guest is gone, or within `patience` seconds: powered off, crashed, killed."""
        ended, _, _ = select.select([self._pidfd], [], [], patience)
        return bool(ended)

    def _took(self, status: int) -> bool:
        """Whether a command ended as it did since the guest ended.

        The kernel kills what is in a PID namespace before its PID 1 is seen to be dead.
        """
        killed = status == 128 + signal.SIGKILL
        return status != 0 and self.has_ended(0.2 if killed else 0)

    def _gone(self) -> GuestError:
        return GuestError("the guest ended meanwhile", evidence=self.console_tail())

    def console_tail(self) -> str:
        """The last lines of its console."""
        return process.file_tail(self._claim.path / "console")


def require_root() -> None:
    """Refuse politely what only root can do.

    :raises HostError: if we are not root.
    """
    if os.geteuid() != 0:
        message = "guests need root"
        raise HostError(message, hint="run the same command with `sudo`")


def _claim() -> Claim:
    """Make the run directory.

    :raises HostError: if there is no way to.
    """
    state_dir = paths.state_dir()
    longest = state_dir / f"{PREFIX}-12345678" / "notify"
    message = f"the state directory '{state_dir}' cannot be used"
    hint = "`POSTROJ_STATE_DIR` names another one"
    if len(os.fsencode(longest)) >= SOCKET_PATH:
        raise HostError(message, evidence="its path is too long for a socket", hint=hint)
    try:
        garbage.sweep()
        return Claim.make(state_dir, PREFIX)
    except OSError as error:
        raise HostError(message, evidence=str(error), hint=hint) from None
