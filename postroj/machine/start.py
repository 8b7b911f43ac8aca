"""Start a guest with a kernel of its own, wait until it is ready, and end or keep it."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.container import host, rundir
from postroj.container.boot import seed
from postroj.container.cgroup import devices, hierarchies, scope
from postroj.container.cgroup.gate import move
from postroj.container.cgroup.group import Group
from postroj.container.failure import unready
from postroj.container.guest import STOP_TIMEOUT
from postroj.container.launched import warn_once
from postroj.container.lifeline import add, hand_over, let_go
from postroj.container.manager import REBOOT, order
from postroj.container.network import pasta, proxies, resolvconf
from postroj.container.rundir import Facts, write_facts
from postroj.container.spec import Accelerator
from postroj.container.start import SHUTDOWN_TIMEOUT
from postroj.container.started import Started
from postroj.errors import GuestError, GuestLost, HostError, PostrojError
from postroj.machine import acceleration, client, ending, kernel_layer, qemu
from postroj.machine.guest import MachineGuest
from postroj.machine.seed import write_seed_disk
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from postroj.container.guest import Written
    from postroj.container.spec import GuestSpec, Machine
    from postroj.locking import Claim
    from postroj.machine.client import Line

log = logging.getLogger(__name__)

NOBODY = 65534
UNLIMITED = "nothing but qemu limits what a guest takes of: %s; `postroj doctor` shows more"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """The launch script of a machine, and everything on the host that was set up for it.

    The stack of `launch_machine` undoes it.
    """

    spec: GuestSpec
    machine: Machine
    facts: Facts
    claim: Claim
    """The run directory and its lock."""
    group: Group
    is_scope: bool
    """Whether the host's systemd creates the control group."""
    script: process.Child

    @property
    def run_dir(self) -> Path:
        """Run directory of the guest."""
        return self.claim.path

    @property
    def boot_timeout(self) -> float:
        """Seconds for the guest, until it is ready."""
        return self.spec.boot_timeout * self.machine.accelerator.slowness

    def console(self) -> str:
        """Return the last lines of the guest's console."""
        return process.file_end(self.run_dir / "console")

    def has_ended(self) -> bool:
        """Whether the launch script has ended, or has reported the end of its machine."""
        return self.script.poll() is not None or ending.has_reported(self.script)

    def await_ready(self, deadline: float) -> Line:
        """Wait until the guest is ready, and return the line to it.

        :raises GuestError: if it does not become ready before `deadline`, of the monotonic clock.
        """
        most = ending.boots(self.run_dir) + unready.REBOOTS + 1

        def is_over() -> bool:
            return self.has_ended() or ending.boots(self.run_dir) > most

        try:
            line = client.connect(self.run_dir / qemu.ANSWERS, deadline, is_over)
            client.set_clock(line)
            client.await_ready(line, deadline)
            (self.run_dir / qemu.ENDING).unlink(missing_ok=True)  # of the boot before this one
        except client.Gone:
            raise ending.explain_start(self.script, self.run_dir) from None
        except TimeoutError:
            raise ending.explain_lateness(self.console(), self.boot_timeout) from None
        return line

    def keep(self) -> bool:
        """Let the guest live on by itself, with its run directory and control groups."""
        assert self.script.stdin
        try:
            move(self.script.pid, self.group.joins)
        except OSError as error:
            log.warning("guest '%s' may end with this session: %s", self.run_dir.name, error)
        write_facts(self.run_dir, replace(self.facts, kept=True))
        if hand_over(self.script.stdin):
            self.claim.stays = self.group.stays = True
        return self.claim.stays

    def stop(self) -> None:
        """Close the lifeline; unless the guest is kept, the kernel then ends all its processes."""
        assert self.script.stdin and self.script.stdout
        let_go(self.script.stdin)
        if not self.claim.stays and process.wait(self.script, STOP_TIMEOUT) is None:
            process.kill_group(self.script)
        self.script.stdout.close()
        if self.is_scope and not self.claim.stays:
            scope.forget(self.run_dir.name)


def launch_machine(spec: GuestSpec, machine: Machine, stack: ExitStack) -> Launched:
    """Start the launch script of a machine; unwinding the stack ends it unless it is kept.

    :raises HostError: if this host cannot run such a guest.
    """
    qemu.require(machine.architecture)
    process.tool("ssh")
    if ports := proxies.ports_of_loopback(spec.proxies):
        message = f"a machine cannot reach the proxy on port {ports[0]} of this host's loopback"
        raise HostError(message, hint="let the proxy listen on another address of this host")
    facts = Facts(
        image=spec.image,
        purpose=spec.purpose,
        given=spec.given,
        machine=True,
        slowness=machine.accelerator.slowness,
    )
    claim = stack.enter_context(rundir.claim(facts))
    name = claim.path.name
    passt: list[str] = []
    resolv_conf = resolvconf.of_host(spec.network)
    if spec.network is NetworkMode.PRIVATE:
        process.tool("passt")
        make_network_folder(claim.path)
        passt = qemu.passt_argv(
            claim.path, [*pasta.port_options(spec.published), *pasta.name_options(resolv_conf)]
        )
    write_seed_disk(spec, claim.path, spec.hostname or name, resolv_conf)
    kernel_layer.unpack(machine.kernel, claim.path)
    (claim.path / "mnt").mkdir()
    limits, is_scope = qemu.limits_of(spec, machine.accelerator), scope.is_usable()
    opened = [acceleration.DEVICE] if machine.accelerator is Accelerator.KVM else []
    try:
        homes = {} if is_scope else hierarchies.homes()
        group = Group(name, limits, homes, devices.devices_of(opened))
    except OSError as error:
        raise HostError(qemu.CGROUP.failure, evidence=str(error)) from None
    stack.callback(group.remove)
    if group.unlimited:
        warn_once(UNLIMITED, ", ".join(group.unlimited))
    files = [*qemu.layers(spec, machine), *machine.tools]
    locks = [seed.lock_layer(stack, layer) for layer in files]
    prefix = scope.argv(name, limits, host.read().nspawn[0]) if is_scope else []
    with (claim.path / "console").open("wb") as console:
        script = process.launch(
            [*prefix, *qemu.machine_argv(spec, machine, claim.path, group.joins, passt)],
            stdio=(process.PIPE, process.PIPE, console),
            env=process.environment(scope.environment()),
            pass_fds=[claim.descriptor, *group.descriptors, *locks, *spec.locks],
        )
    launched = Launched(
        spec=spec,
        machine=machine,
        facts=facts,
        claim=claim,
        group=group,
        is_scope=is_scope,
        script=script,
    )
    stack.callback(launched.stop)
    assert script.stdin
    add(script.stdin)
    return launched


def make_network_folder(run_dir: Path) -> None:
    """Make the folder for the socket of passt, which runs as nobody if root starts it.

    In a user namespace it stays who it is, a user.
    """
    folder = (run_dir / qemu.NET).parent
    folder.mkdir()
    if user.is_root():
        os.chown(folder, NOBODY, NOBODY)


@contextmanager
def start_machine(spec: GuestSpec, machine: Machine) -> Iterator[StartedMachine]:
    """Start a guest; leaving the context ends it, unless `spec.keep` is set.

    :raises HostError: if this host cannot run such guests.
    :raises GuestError: if the guest does not become ready.
    """
    with ExitStack() as stack:
        begun = time.monotonic()
        launched = launch_machine(spec, machine, stack)
        try:
            guest = StartedMachine(launched, launched.await_ready(begun + launched.boot_timeout))
            stack.callback(guest.hang_up)
            guest.read_state()
        except GuestError as error:
            error.console = launched.console()
            raise
        try:
            yield guest
        except PostrojError:
            guest.keep()
            raise
        guest.keep()


class StartedMachine(MachineGuest, Started[Launched]):
    """A guest in a machine that this process has started."""

    def __init__(self, launched: Launched, line: Line) -> None:
        super().__init__(launched.run_dir, line)
        Started.__init__(self, launched)
        self.slowness = launched.machine.accelerator.slowness

    def hang_up(self) -> None:
        """Close the line to the machine."""
        self.line.close()

    def reboot(self, begin: Callable[[], object] | None = None) -> None:
        """See `OwnGuest.reboot`."""
        if begin:
            begin()
        else:
            order(self.run, self.has_ended, REBOOT, self._launched.spec.boot_timeout)
        if not self.has_ended(SHUTDOWN_TIMEOUT):
            message = f"the guest did not reboot within {SHUTDOWN_TIMEOUT:g} s"
            raise GuestLost(message, evidence=unready.tail(self._launched.console()))
        self.line.close()
        try:
            self.line = self._launched.await_ready(time.monotonic() + self._launched.boot_timeout)
            self.clock_offset = client.clock_offset(self.line)
            self.read_state()
        except GuestError as error:
            from_outside = ending.came_from_outside(self._launched.script)
            kind = GuestError if from_outside else GuestLost
            message = f"after a reboot {error.message}"
            raise kind(message, evidence=error.evidence, hint=error.hint) from None

    def written(self) -> dict[str, Written]:
        """See `OwnGuest.written`."""
        return self._written()

    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        """Refuse: the files that the guest has written lie on a disk of its own."""
        message = "the files of a guest with a kernel of its own cannot become a layer"
        raise GuestError(message)

    def _ended_error(self, output: str = "") -> GuestError:
        return ending.explain(self._launched.script, self.run_dir, output)
