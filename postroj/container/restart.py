"""Restart a guest that was kept: nobody listens to it any more, so who restarts it does."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj import locking, process
from postroj.container import roster
from postroj.container.boot import nspawn, readiness
from postroj.container.cgroup import scope
from postroj.container.launched import LEADER
from postroj.errors import GuestError, PostrojError

if TYPE_CHECKING:
    from postroj.container.boot.readiness import Listener, Notification
    from postroj.container.entered import EnteredGuest

AT_ONCE = ("systemctl", "reboot", "--force", "--force")
"""Calls reboot(2) by itself and asks nobody, systemctl(1)."""
READY = "READY"


def restart(name: str, patience: float, boot_timeout: float) -> None:
    """Restart a guest with all that was written to its files, and wait until it is ready.

    It may shut down for `patience` seconds, and is restarted at once then.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it does not become ready within `boot_timeout` seconds.
    """
    guest = roster.enter(name)
    with (
        roster.held(guest.name, roster.script) as (_, script),
        locking.exclusive(guest.run_dir / "restarting"),
        readiness.Listener(guest.run_dir / "notify") as listener,
    ):
        if not script:
            raise _ended(guest)
        deadline = time.monotonic() + patience + boot_timeout
        try:
            told = _await(LEADER, listener, script, patience) if _ask(guest, patience) else None
            if not told:
                _force(guest)
                told = _await(LEADER, listener, script, boot_timeout)
            if told and scope.is_usable():
                leader = readiness.leader_of(told.pid, int(told.fields[LEADER]))
                scope.register(guest.name, leader, again=True)
            if told and READY not in told.fields:
                told = _await(READY, listener, script, deadline - time.monotonic())
        except (EOFError, ProcessLookupError):
            raise _ended(guest) from None
        if not told:
            message = f"the guest '{name}' was not ready within {boot_timeout:g} s after a restart"
            hint = f"`postroj logs --console {name}` shows what it printed"
            raise GuestError(message, evidence=_console(guest), hint=hint)


def _await(field: str, listener: Listener, script: int, seconds: float) -> Notification | None:
    """Wait for a notification that has a field; None if it does not come in time.

    :raises EOFError: if the launch script has ended, of which `script` is the pidfd.
    """
    deadline = time.monotonic() + seconds
    sources = [listener.socket.fileno(), script]
    while ready := select.select(sources, [], [], max(0, deadline - time.monotonic()))[0]:
        if sources[0] not in ready:
            raise EOFError
        told = listener.receive()
        if told and field in told.fields:
            return told
    return None


def _ask(guest: EnteredGuest, patience: float) -> bool:
    """Have it shut down and boot again, if there is time for that; whether its manager heard."""
    if not patience:
        return False
    roster.dismiss(guest.name)
    try:
        guest.run(nspawn.REBOOT, timeout=patience)
    except GuestError:  # who asks for the end may not live to hear the answer
        return True
    except PostrojError:
        return False
    return True


def _force(guest: EnteredGuest) -> None:
    """Have the kernel end it now, and nspawn start it again."""
    with suppress(PostrojError):  # nor does who asks for this
        guest.run(AT_ONCE, timeout=5)


def _ended(guest: EnteredGuest) -> GuestError:
    message = f"the guest '{guest.name}' ended, and did not restart"
    return GuestError(message, evidence=_console(guest))


def _console(guest: EnteredGuest) -> str:
    return process.last_lines(guest.console(process.LIMIT))
