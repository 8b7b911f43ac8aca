"""Get at the guest in a machine that another process started, reboot it, or shut it down."""

from __future__ import annotations

import time
from contextlib import suppress

from postroj import locking, paths, process
from postroj.container import roster
from postroj.container.manager import POWER_OFF, REBOOT, order
from postroj.container.rundir import read_facts
from postroj.errors import GuestError, PostrojError
from postroj.machine import client, qemu
from postroj.machine.guest import MachineGuest


def enter(name: str) -> MachineGuest:
    """Return a guest by its own name, to run commands in it, with the patience that it needs.

    :raises GuestError: if nothing in it answers.
    """
    run_dir = paths.state_dir() / name
    try:
        guest = MachineGuest(run_dir, client.Line(run_dir / qemu.ANSWERS))
    except (OSError, client.Gone):
        message = f"the guest '{name}' cannot be entered: it is not ready yet, or is ending"
        hint = "`postroj ps` shows the guests that run"
        raise GuestError(message, hint=hint) from None
    if facts := read_facts(run_dir):
        guest.slowness = facts.slowness
    return guest


def shut_down(name: str, patience: float) -> None:
    """Ask a guest to shut down, and wait up to `patience` seconds, longer if it is emulated."""
    with suppress(PostrojError):
        guest = enter(name)
        deadline = time.monotonic() + patience * guest.slowness
        with suppress(PostrojError):
            order(guest.run, guest.has_ended, POWER_OFF, patience)
        guest.has_ended(max(0.0, deadline - time.monotonic()))


def reboot(name: str, patience: float, boot_timeout: float) -> None:
    """Reboot a guest with all its files, and wait until it is ready.

    The guest may take `patience` seconds to shut down; after that it is reset. An emulated guest
    has more of all times.

    :raises GuestError: if it is not ready within `boot_timeout` seconds.
    """
    guest = enter(name)
    with locking.exclusive(guest.run_dir / "restarting"):
        deadline = time.monotonic() + patience * guest.slowness
        if patience:
            with suppress(PostrojError):
                order(guest.run, guest.has_ended, REBOOT, patience)
        if not guest.has_ended(max(0.0, deadline - time.monotonic())):
            guest.reset()
        limit = boot_timeout * guest.slowness
        deadline = time.monotonic() + limit
        try:
            line = client.connect(
                guest.run_dir / qemu.ANSWERS, deadline, lambda: roster.script(name) is None
            )
            client.set_clock(line)
            client.await_ready(line, deadline)
        except client.Gone:
            message = f"the guest '{name}' ended, and did not reboot"
            raise GuestError(message, evidence=_console(guest)) from None
        except TimeoutError:
            message = f"the guest '{name}' was not ready within {limit:g} s after a reboot"
            hint = f"`postroj logs --console {name}` shows what it printed"
            raise GuestError(message, evidence=_console(guest), hint=hint) from None


def _console(guest: MachineGuest) -> str:
    return process.last_lines(guest.console(process.LIMIT))
