"""Launch a guest: start its launch script and the helpers, and wait for its notifications.

The guest lives as long as postroj has a pipe to the script open (`boot/launch.sh`), so whatever
ends postroj ends the guest, too. To keep a guest, postroj says so through that pipe.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.container import disk, host, rundir
from postroj.container.boot import launch, readiness, seed
from postroj.container.cgroup import devices, hierarchies, scope
from postroj.container.cgroup.gate import move
from postroj.container.cgroup.group import Group, confine_scope, scope_folder
from postroj.container.entered import EnteredGuest
from postroj.container.failure import ending, unready
from postroj.container.guest import STOP_TIMEOUT
from postroj.container.held import Held
from postroj.container.leader import Leader
from postroj.container.lifeline import add, hand_over, let_go
from postroj.container.network import pasta, resolvconf
from postroj.container.rundir import Facts, write_facts
from postroj.errors import GuestError, HostError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from postroj.container.cgroup.devices import Device
    from postroj.container.spec import GuestSpec
    from postroj.locking import Claim

log = logging.getLogger(__name__)

LEADER = "X_NSPAWN_LEADER_PID"
READY = "READY"
UNLIMITED = "this host does not limit what a guest takes of: %s; `postroj doctor` shows more"
OPEN_DEVICES = "root in a guest can open all devices of this host: %s"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """The launch script of a guest, and everything on the host that was set up for it.

    The stack of `launch_guest` undoes it. All fields are known from the start; the leader, which
    comes later, is a return value.
    """

    spec: GuestSpec
    facts: Facts
    claim: Claim
    """The run directory and its lock."""
    disk: Claim | None
    """What takes the place of the tmpfs that the guest writes to."""
    group: Group
    is_scope: bool
    """Whether the host's systemd creates the control group."""
    bound: Sequence[Device]
    """Devices that are bound into the guest."""
    listener: readiness.Listener
    pasta: Sequence[str]
    script: process.Child
    held: Held
    """The same process, whose PID may be given away once it has ended."""

    @property
    def name(self) -> str:
        """Name of the guest."""
        return self.claim.path.name

    @property
    def run_dir(self) -> Path:
        """Run directory of the guest."""
        return self.claim.path

    @property
    def written(self) -> Path:
        """Path of the guest's writable layer, inside the mount namespace of the launch script."""
        return self.held.path(self.run_dir / "mnt" / "upper")

    @property
    def lowers(self) -> list[Path]:
        """Paths of the folders below that layer, the topmost first, as `written`."""
        above = self.written.parent
        layers = [above / f"lower{number}" for number in range(len(self.spec.layers))]
        return [above.parent / "seed", *reversed(layers)]

    def console(self) -> str:
        """Return the last lines of the guest's console."""
        return process.file_end(self.run_dir / "console")

    def await_ready(self, missing: set[str], deadline: float, before: Leader | None) -> Leader:
        """Wait for the `missing` notifications, and return the leader.

        `before` is the leader before a reboot, `deadline` a time of the monotonic clock. After a
        reboot the deadline is that of the shutdown, and the boot has its own.

        :raises GuestError: if the notifications do not come in time.
        """
        assert self.script.stdout
        leader: Leader | None = None
        boots = 0
        try:
            while missing:
                notification = self.listener.next(self.script.stdout, deadline)
                if notification is None:
                    raise self._explain_end()
                if inner_pid := notification.fields.get(LEADER):
                    boots += 1
                    if boots > unready.REBOOTS:
                        raise unready.rebooting(self.console())
                    with suppress(OSError):  # it has ended; the next notification reports that
                        pid = readiness.leader_of(notification.pid, int(inner_pid))
                        leader = Leader(pid, self.name)
                        if before:
                            deadline = time.monotonic() + self.spec.boot_timeout
                        self._confine(leader, again=bool(before) or boots > 1)
                    missing.add(READY)  # an earlier READY came from a reload, systemd >= 253
                missing -= notification.fields.keys()
            self.listener.close()
            (self.run_dir / launch.STATUS).unlink(missing_ok=True)  # left by a requested reboot
            return self._settled(leader or before)
        except TimeoutError:
            guest = None
            with suppress(OSError):
                guest = EnteredGuest(self.run_dir, self._settled(leader or before))
            raise unready.late(guest, self.spec.boot_timeout, missing, self.console()) from None
        except OSError:  # the leader has ended already
            ending.await_report(self.script, ending.AFTERMATH)
            raise self._explain_end() from None

    def _settled(self, leader: Leader | None) -> Leader:
        """Read the facts about a leader again: it was still being set up when it was announced.

        :raises ProcessLookupError: if there is no leader, or if it has ended.
        """
        if leader is None:
            raise ProcessLookupError
        again = Leader(leader.pid, self.name)
        leader.require()  # so the PID was not reused
        return again

    def _confine(self, leader: Leader, *, again: bool) -> None:
        """Confine the devices of a guest in a scope, and register the guest with machined."""
        if self.is_scope and user.is_root():
            # by now its layers are mounted
            _warn_of_devices(confine_scope(self.name, self.bound))
            scope.register(self.name, leader, again=again)

    def _explain_end(self) -> GuestError:
        """Explain why the guest ended before it was ready."""
        stage, status = None, ending.status(self.run_dir)
        if status is None:  # a stage of the script has failed, or nspawn is about to end
            stage = launch.STAGES.get(process.wait(self.script, ending.AFTERMATH) or 0)
            status = ending.status(self.run_dir)
        return unready.ended(stage, status, self.console())

    def keep(self) -> bool:
        """Let the guest live on by itself, with its run directory and control groups.

        `unshare` leaves our control groups, since the end of a session may kill them.
        """
        assert self.script.stdin
        try:
            move(self.script.pid, self.group.joins)
        except OSError as error:
            log.warning("guest '%s' may end with this session: %s", self.name, error)
        write_facts(self.run_dir, replace(self.facts, kept=True))
        if hand_over(self.script.stdin):
            self.claim.stays = self.group.stays = True
            if self.disk:
                self.disk.stays = True
        return self.claim.stays

    def stop(self) -> None:
        """Close the lifeline; unless the guest is kept, the kernel then ends all its processes."""
        assert self.script.stdin and self.script.stdout
        let_go(self.script.stdin)
        if not self.claim.stays and process.wait(self.script, STOP_TIMEOUT) is None:
            process.kill_group(self.script)
        self.script.stdout.close()
        if self.is_scope and not self.claim.stays:
            scope.forget(self.name)


def launch_guest(spec: GuestSpec, stack: ExitStack) -> Launched:
    """Start the launch script of a guest; unwinding the stack ends the guest unless it is kept.

    :raises HostError: if this host cannot run such a guest.
    """
    here = host.read()
    host.require(here, spec.systemd if spec.boot else None)
    facts = Facts(image=spec.image, purpose=spec.purpose, given=spec.given)
    claim = stack.enter_context(rundir.claim(facts))
    name = claim.path.name
    resolv_conf = resolvconf.of_host(spec.network)
    seed.write_seed(claim.path, spec.hostname or name, resolv_conf, emulated=spec.emulated)
    is_scope = scope.is_usable()
    try:
        bound = tuple(devices.devices_of(bind.source for bind in spec.binds))
        group = Group(name, spec.limits, {} if is_scope else hierarchies.homes(), bound)
    except OSError as error:
        raise HostError(launch.CGROUP.failure, evidence=str(error)) from None
    stack.callback(group.remove)
    if unlimited := [*group.unlimited, *(["disk"] if here.on_disk else [])]:
        warn_once(UNLIMITED, ", ".join(unlimited))
    if here.root and not is_scope:
        _warn_of_devices(group.open_devices)
    listener = stack.enter_context(readiness.Listener(claim.path / "notify"))
    served = pasta.pasta_argv(resolv_conf, spec.published, _shown(spec))
    (claim.path / "mnt").mkdir()
    written = stack.enter_context(disk.claim()) if here.on_disk else None
    divided = scope_folder(name) if is_scope else group.divided
    folder = written.path / disk.FILES if written else None
    script_argv = launch.launch_argv(spec, claim.path, group.joins, divided, served, here, folder)
    network_tools = ("pasta", "systemd-notify") if spec.network is NetworkMode.PRIVATE else ()
    for tool in ("nsenter", "setpriv", *network_tools):
        process.tool(tool)
    prefix = scope.argv(name, spec.limits, here.nspawn[0]) if is_scope else []
    layers = [seed.lock_layer(stack, layer) for layer in spec.layers]
    variables = host.environment(here, spec.systemd, own_network=spec.owns_network)
    locks = [one.descriptor for one in (claim, written) if one]
    with (claim.path / "console").open("wb") as console:
        script = process.launch(
            [*prefix, *script_argv],
            stdio=(process.PIPE, process.PIPE, console),
            env=scope.environment() | variables | {"NOTIFY_SOCKET": str(claim.path / "notify")},
            pass_fds=[*locks, *group.descriptors, *layers, *spec.locks],
        )
    launched = Launched(
        spec=spec,
        facts=facts,
        claim=claim,
        disk=written,
        group=group,
        is_scope=is_scope,
        bound=bound,
        listener=listener,
        pasta=served,
        script=script,
        held=Held(script.pid),
    )
    stack.callback(launched.stop)
    assert script.stdin
    add(script.stdin)
    return launched


def _warn_of_devices(why: str) -> None:
    if why:
        warn_once(OPEN_DEVICES, why)


@cache
def warn_once(text: str, what: str) -> None:
    """Warn once of what is the same for all guests of this host."""
    log.warning(text, what)


def ready_when(spec: GuestSpec) -> set[str]:
    """Return the notifications after which a new guest is ready."""
    return {READY, *([readiness.NETWORK_UP] if spec.network is NetworkMode.PRIVATE else [])}


def ready_again_when(spec: GuestSpec) -> set[str]:
    """Return the notifications after which a guest is ready that reboots.

    With users of its own, as always without root of the host, it has a new network, too.
    """
    has_own = spec.private_users or not user.is_root()
    return {LEADER, *(ready_when(spec) if has_own else [READY])}


def _shown(spec: GuestSpec) -> tuple[int, ...]:
    """Return the ports of proxies on the host's loopback, which the guest must reach."""
    if not spec.proxies:
        return ()
    from postroj.container.network import proxies

    return proxies.ports_of_loopback(spec.proxies)
