"""A guest: from a spec to a machine that is ready, commands in it, and its end.

The guest lives as long as a pipe of ours is open (`launch.launch_script`): whatever ends postroj
ends the guest too. One that is kept is told so through that pipe, and lives on by itself.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.container import host, rundir
from postroj.container.boot import launch, nspawn, readiness, seed
from postroj.container.cgroup import devices, scope
from postroj.container.cgroup import group as cgroup
from postroj.container.enter import nsenter
from postroj.container.facts import Facts, write_facts
from postroj.container.failure import ending, unready
from postroj.container.lifeline import hand_over, keep, let_go
from postroj.container.network import pasta
from postroj.container.running import Running
from postroj.errors import CommandError, GuestError, GuestLost, HostError, PostrojError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from postroj.container.boot.nspawn import GuestSpec

log = logging.getLogger(__name__)

LEADER = "X_NSPAWN_LEADER_PID"
STOP_TIMEOUT = 10.0
"""Seconds for the kernel to end what is in a guest's namespace."""


class Guest(Running):
    """A guest of ours, as a context manager: `with Guest(spec) as guest: guest.run(...)`.

    :raises HostError: if this host cannot run guests.
    :raises GuestError: if the guest does not become ready.
    """

    def __init__(self, spec: GuestSpec) -> None:
        super().__init__(Path())
        self.spec = spec
        self.state = ""
        """Of its manager once ready: `running` or `degraded`; '' without init."""
        self.failed_at_boot: tuple[str, ...] = ()
        """Names of the units for which it is `degraded`."""
        self.kept = False
        """Whether it runs on without us."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        require_root()
        self._host = host.look()
        host.require(self._host, self.spec.systemd if self.spec.boot else None)
        with ExitStack() as stack:
            stack.callback(self.forget)
            try:
                self._start(stack)
            except GuestError as error:
                error.console = self.console(process.KEPT)
                raise
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            if self.spec.keep and (error is None or isinstance(error, PostrojError)):
                self._keep()
        finally:
            self._stack.close()

    def _keep(self) -> None:
        """Let it live on, by itself, with its run directory and control groups."""
        assert self._process.stdin
        write_facts(self.run_dir, replace(self._facts, kept=True))
        if not self.has_ended() and hand_over(self._process.stdin):
            self.kept = self._claim.stays = self._group.stays = True

    def begin(self, command: nsenter.Command) -> None:
        """Start a command that goes on by itself; a guest in which it cannot start is not kept.

        :raises CommandError: if it cannot.
        """
        try:
            argv = nsenter.unit_argv(command)
            self.run(argv, secrets=command.secrets, timeout=self.spec.boot_timeout)
        except CommandError:
            self.kill()
            self.has_ended(STOP_TIMEOUT)
            raise

    def _start(self, stack: ExitStack) -> None:
        deadline = time.monotonic() + self.spec.boot_timeout
        spec = self.spec
        self._facts = Facts(image=spec.image, purpose=spec.purpose, given=spec.given)
        self._claim = stack.enter_context(rundir.claim(self._facts))
        self.run_dir = self._claim.path
        resolv_conf = pasta.guest_resolv_conf(self.spec.network)
        seed.write_seed(self.run_dir, self.name, resolv_conf, emulated=self.spec.emulated)
        self._scoped = scope.is_usable()
        try:
            self._bound = tuple(devices.devices_of(bind.source for bind in self.spec.binds))
            roots = {} if self._scoped else cgroup.mounted()
            self._group = cgroup.Group(self.name, self.spec.limits, roots, self._bound)
        except OSError as error:
            raise HostError(launch.CGROUP.failure, evidence=str(error)) from None
        stack.callback(self._group.remove)
        self._listener = stack.enter_context(readiness.Listener(self.run_dir / "notify"))
        self._pasta = pasta.pasta_argv(resolv_conf, self.spec.published, self._shown())
        self._launch(stack)
        told = {"READY", *([launch.NETWORK_UP] if self.spec.network_first else [])}
        self._await_ready(told, deadline)
        if (self.run_dir / launch.UNPACKED).exists():
            text = "no squashfs can be mounted on this host: guest '%s' has its image in memory"
            log.warning(text, self.name)

    def _shown(self) -> tuple[int, ...]:
        """Which ports of the host's loopback it has, too."""
        if not self.spec.proxies:
            return ()
        from postroj.container.network import proxies

        return proxies.ports_of_loopback(self.spec.proxies)

    def reboot(self) -> None:
        """Restart it with all that was written to its files; it has another leader then.

        :raises GuestLost: if it does not become ready again.
        """
        deadline = time.monotonic() + self.spec.boot_timeout
        self._listener.open()
        argv = self._enter_argv(nsenter.Command(argv=nspawn.REBOOT))
        # who asks for the end may not live to hear the answer
        env, patience = nsenter.ENVIRONMENT, self.spec.boot_timeout
        process.run(argv, ok=range(256), timeout=patience, env=env)
        try:
            self._await_ready({"READY", LEADER}, deadline)
        except GuestError as error:
            message = f"after a restart {error.message}"
            raise GuestLost(message, evidence=error.evidence, hint=error.hint) from None

    def _launch(self, stack: ExitStack) -> None:
        """Start the launch script with a lifeline, the locks, and the console log."""
        run_dir, group = self.run_dir, self._group
        (run_dir / "mnt").mkdir()
        script = launch.launch_script(
            self.spec, run_dir, group.joins, self._pasta, self._host.os_release
        )
        for name in ("nsenter", "setpriv"):
            process.tool(name)
        if self.spec.network is NetworkMode.PRIVATE:
            process.tool("pasta")
        scope_argv = scope.argv(self.name, self.spec.limits) if self._scoped else []
        layers = [seed.hold(stack, layer) for layer in self.spec.layers]
        variables = host.environment(self._host, self.spec.systemd)
        env = process.environment(variables | {"NOTIFY_SOCKET": str(run_dir / "notify")})
        with (run_dir / "console").open("wb") as console:
            self._process = process.spawn(
                [*scope_argv, *launch.namespace_argv(script)],
                stdio=(process.PIPE, process.PIPE, console),
                env=env,
                pass_fds=[self._claim.descriptor, *group.descriptors, *layers, *self.spec.holds],
            )
        stack.callback(self._stop)
        assert self._process.stdin
        keep(self._process.stdin)

    def _serve_network(self, inner_pid: int) -> None:
        """Set a network up that is the guest's own, and so not there before its leader."""
        if not self.spec.private_users or self.spec.network is not NetworkMode.PRIVATE:
            return
        namespaces = f"/proc/{self._process.pid}/ns"
        enter = ["nsenter", f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children"]
        words = [str(self.run_dir / "mnt" / "netns"), str(inner_pid)]
        argv = [*enter, "--", "sh", "-euc", pasta.OWN_NETWORK, "sh", *words]
        argv += [*self._pasta, *pasta.ATTENDED]
        try:
            process.run(argv, timeout=self.spec.boot_timeout)
        except CommandError as error:
            stage = launch.NETWORK
            raise GuestError(stage.failure, evidence=error.evidence, hint=stage.hint) from None

    def _stop(self) -> None:
        """Let go of the lifeline; unless it is kept, the kernel ends all in its namespaces."""
        assert self._process.stdin and self._process.stdout
        let_go(self._process.stdin)
        if not self.kept and process.wait(self._process, STOP_TIMEOUT) is None:
            process.kill_group(self._process)
        self._process.stdout.close()
        if self._scoped and not self.kept:
            scope.forget(self.name)

    def _await_ready(self, missing: set[str], deadline: float) -> None:
        """Wait for these notifications; then it can be asked."""
        assert self._process.stdout
        boots = 0
        try:
            while missing:
                notification = self._listener.next(self._process.stdout, deadline)
                if notification is None:
                    raise self._stillborn()
                if inner_pid := notification.fields.get(LEADER):
                    boots += 1
                    if boots > unready.RESTARTS:
                        raise unready.restarting(self.console(process.KEPT))
                    with suppress(OSError):  # it is gone already, as will be told next
                        self._follow(readiness.leader_of(notification.pid, int(inner_pid)))
                        self._serve_network(int(inner_pid))
                    missing.add("READY")  # one of before was of a reload, systemd >= 253
                missing -= notification.fields.keys()
            self._listener.close()
            (self.run_dir / launch.STATUS).unlink(missing_ok=True)  # of a restart that we know of
            self.learn()
        except TimeoutError:
            patience, console = self.spec.boot_timeout, self.console(process.KEPT)
            raise unready.late(self, patience, missing, console) from None
        except OSError:  # the leader is gone already
            ending.hear(self._process, ending.AFTERMATH)
            raise self._stillborn() from None
        if self.spec.boot:
            self.state = self._ask_state()

    def _follow(self, leader: int) -> None:
        """Take note of its PID 1, and have others take note, while it boots."""
        if self._scoped:
            cgroup.confine_scope(self.name, self._bound)  # its layers are mounted by now
            scope.register(self.name, leader, again=bool(self.leader))
        self.follow(leader)

    def _stillborn(self) -> GuestError:
        """Why the guest ended before it was ready."""
        stage, status = None, ending.status(self.run_dir)
        if status is None:  # a step of the script has failed, or nspawn is about to end
            stage = launch.STAGES.get(process.wait(self._process, ending.AFTERMATH) or 0)
            status = ending.status(self.run_dir)
        return unready.ended(stage, status, self.console(process.KEPT))

    def _ask_state(self) -> str:
        state = self.system_state()
        if state in ("maintenance", "stopping"):
            raise unready.astray(self, state, self.console(process.KEPT))
        if state == "degraded":
            if self.spec.emulated and not self.is_active("systemd-journald.service"):
                raise unready.useless(self.console(process.KEPT))
            self.failed_at_boot = tuple(self.failed_units())
            log.info("guest '%s' is degraded: %s", self.name, " ".join(self.failed_at_boot))
        return state

    def is_stopping(self) -> bool:
        """Whether it shuts down.

        :raises GuestError: if it has already.
        """
        if not self.spec.boot:
            return False
        try:
            return self.system_state() == "stopping"
        except CommandError:  # its manager is not there any more
            return self.init() == unready.SHUTDOWN or self.has_ended(STOP_TIMEOUT)

    def _gone(self, output: str = "") -> GuestError:
        return ending.tell(self._process, self.spec, self.run_dir, output)

    @property
    def written(self) -> Path:
        """Its writable layer, on the way that leads into its mount namespace."""
        return Path(f"/proc/{self._process.pid}/root{self.run_dir}/mnt/upper")

    def console(self, limit: int) -> str:
        """The last bytes of its console, as text."""
        return process.file_end(self.run_dir / "console", limit)


def require_root() -> None:
    """Refuse politely what only root can do.

    :raises HostError: if we are not root.
    """
    if os.geteuid() != 0:
        message = "guests need root"
        raise HostError(message, hint="run the same command with `sudo`")
