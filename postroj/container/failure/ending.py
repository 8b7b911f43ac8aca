"""How a guest that was ready has ended: by what went on in it, or by somebody's hand."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.boot import launch
from postroj.errors import GuestError, GuestLost

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.container.boot.nspawn import GuestSpec

AFTERMATH = 2.0
"""Seconds for nspawn to end after its guest."""
KILLED = "terminated by signal KILL"
"""What nspawn says when its guest was killed, which nobody within the guest can do."""


def tell(script: process.Child, spec: GuestSpec, run_dir: Path, output: str) -> GuestError:
    """Say how a guest ended; `output` is of the command that ended with it.

    The launch script outlives a guest that ends by itself, and starts one again that restarts. Both
    are told by it; of what nobody tells, and of what was killed, nobody in the guest is guilty.
    """
    told = hear(script, AFTERMATH if spec.boot else 0)
    console = process.file_tail(run_dir / "console")
    # without init it only waits, and ends by nobody's work
    if spec.boot and told and KILLED not in console:
        return GuestLost("the guest shut down", evidence=console, output=output)
    if spec.boot and told is None and status(run_dir) == launch.REBOOTED:
        return GuestLost("the guest restarted", evidence=console, output=output)
    lost = told is False and process.wait(script, AFTERMATH) == launch.NETWORK.status
    why = "the guest was ended" + (", as pasta had ended, which is its network" if lost else "")
    return GuestError(why, evidence=console)


def hear(script: process.Child, patience: float) -> bool | None:
    """Wait for a word of the launch script; False if it has ended, None after `patience` seconds.

    It comes when all is on the console that nspawn and its guest have said.
    """
    assert script.stdout
    poll = select.poll()
    poll.register(script.stdout, select.POLLIN)
    events = [event for _, event in poll.poll(patience * 1000)]
    return any(event & select.POLLIN for event in events) if events else None


def status(run_dir: Path) -> int | None:
    """Return the last status of nspawn, None while there is none."""
    with suppress(OSError, ValueError):
        return int((run_dir / launch.STATUS).read_text())
    return None
