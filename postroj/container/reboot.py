"""Reboot a kept guest; whoever reboots it listens until it is ready, since nobody else does."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj import locking, process
from postroj.container import roster
from postroj.container.boot import readiness
from postroj.container.boot.readiness import NETWORK_UP
from postroj.container.cgroup import scope
from postroj.container.launched import LEADER, READY
from postroj.container.leader import Leader
from postroj.container.manager import REBOOT, systemctl
from postroj.errors import GuestError, PostrojError
from postroj.streams import await_input

if TYPE_CHECKING:
    from postroj.container.boot.readiness import Listener, Notification
    from postroj.container.entered import EnteredGuest
    from postroj.container.held import Held

AT_ONCE = ("systemctl", "reboot", "--force", "--force")
"""Calls reboot(2) by itself and asks no other process, systemctl(1)."""


def reboot(name: str, patience: float, boot_timeout: float) -> None:
    """Reboot a guest with all files that it has written, and wait until it is ready.

    The guest may take `patience` seconds to shut down; after that it is rebooted by force.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it is not ready within `boot_timeout` seconds.
    """
    guest = roster.enter(name)
    script = roster.script(guest.name)
    with (
        locking.exclusive(guest.run_dir / "restarting"),
        readiness.Listener(guest.run_dir / "notify") as listener,
    ):
        if not script:
            raise _ended(guest)
        deadline = time.monotonic() + patience + boot_timeout
        wanted = {READY, *([NETWORK_UP] if _has_own_network(guest, script) else [])}
        heard: dict[str, Notification] = {}
        try:
            if not (_ask(guest, patience) and _hear({LEADER}, heard, listener, script, patience)):
                _force(guest)
                _hear({LEADER}, heard, listener, script, boot_timeout)
            if (began := heard.get(LEADER)) and scope.is_usable():
                leader = readiness.leader_of(began.pid, int(began.fields[LEADER]))
                scope.register(guest.name, Leader(leader, guest.name), again=True)
            is_ready = began and _hear(wanted, heard, listener, script, deadline - time.monotonic())
        except (EOFError, ProcessLookupError):
            raise _ended(guest) from None
        if not is_ready:
            message = f"the guest '{name}' was not ready within {boot_timeout:g} s after a reboot"
            hint = f"`postroj logs --console {name}` shows what it printed"
            raise GuestError(message, evidence=_console(guest), hint=hint)


def _has_own_network(guest: EnteredGuest, script: Held) -> bool:
    """Whether each boot of a guest has a new network namespace, which the launch script serves."""
    netns = script.path(guest.run_dir / "mnt" / "netns")
    return guest.leader.has_own_users and netns.exists()


def _hear(
    wanted: set[str],
    heard: dict[str, Notification],
    listener: Listener,
    script: Held,
    seconds: float,
) -> bool:
    """Add notifications to those `heard` until all `wanted` fields are; return whether they came.

    :raises EOFError: if the launch script ends.
    """
    deadline = time.monotonic() + seconds
    sources = [listener.socket.fileno(), script.pidfd]
    while not wanted <= heard.keys():
        ready = await_input(sources, deadline - time.monotonic())
        if not ready:
            return False
        if sources[0] not in ready:
            raise EOFError
        if notification := listener.receive():
            if LEADER in notification.fields:
                heard.pop(READY, None)  # it came from a reload, systemd >= 253
            heard |= dict.fromkeys(notification.fields, notification)
    return True


def _ask(guest: EnteredGuest, patience: float) -> bool:
    """Ask the guest's manager for a reboot, if there is time; return whether it was asked."""
    if not patience:
        return False
    roster.kill_commands(guest.name)
    try:
        systemctl(guest.run, REBOOT, timeout=patience)
    except GuestError:  # the command ended with the guest
        return True
    except PostrojError:
        return False
    return True


def _force(guest: EnteredGuest) -> None:
    """Have the kernel end the guest at once, after which nspawn boots it again."""
    with suppress(PostrojError):  # the command ends with the guest
        guest.run(AT_ONCE, timeout=5)


def _ended(guest: EnteredGuest) -> GuestError:
    message = f"the guest '{guest.name}' ended, and did not reboot"
    return GuestError(message, evidence=_console(guest))


def _console(guest: EnteredGuest) -> str:
    return process.last_lines(guest.console(process.LIMIT))
