"""How a guest that was ready has ended: by what went on in it, or by somebody's hand."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from postroj.errors import GuestError, GuestLost

if TYPE_CHECKING:
    from postroj import process
    from postroj.container.nspawn import GuestSpec

AFTERMATH = 2.0
"""Seconds for nspawn to end after its guest."""
KILLED = "terminated by signal KILL"
"""What nspawn says when its guest was killed, which nobody within the guest can do."""


def tell(script: process.Child, spec: GuestSpec, console: str, output: str) -> GuestError:
    """Say how a guest ended; `output` is of the command that ended with it.

    The launch script outlives a guest that ends by itself, and starts one again that restarts.
    """
    assert script.stdout
    poll = select.poll()
    poll.register(script.stdout, select.POLLIN)
    events = [event for _, event in poll.poll(AFTERMATH * 1000 if spec.boot else 0)]
    told = any(event & select.POLLIN for event in events)  # else it can tell nothing any more
    # without init it only waits, and ends by nobody's work
    if not spec.boot or (events and not told) or KILLED in console:
        return GuestError("the guest was ended", evidence=console)
    how = "shut down" if told else "restarted"
    return GuestLost(f"the guest {how}", evidence=console, output=output)
