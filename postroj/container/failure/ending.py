"""Explain the end of a guest that was ready: by its own doing, or from outside."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.boot import launch
from postroj.errors import GuestError, GuestLost

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.container.spec import GuestSpec

AFTERMATH = 2.0
"""Seconds for nspawn to end after its guest."""


def explain(script: process.Child, spec: GuestSpec, run_dir: Path, output: str) -> GuestError:
    """Return the error for a guest that has ended; `output` is of the command that ended with it.

    The launch script reports a guest that shut down, and boots a guest again that rebooted. Any
    other end came from outside, so it is no fault of the guest's programs.
    """
    reported = await_report(script, AFTERMATH if spec.boot else 0)
    console = process.file_tail(run_dir / "console")
    # a guest without init only waits, and never ends by itself
    if spec.boot and reported and not was_killed(run_dir):
        return GuestLost("the guest shut down", evidence=console, output=output)
    if spec.boot and reported is None and status(run_dir) == launch.REBOOTED:
        return GuestLost("the guest rebooted", evidence=console, output=output)
    lost = reported is False and process.wait(script, AFTERMATH) == launch.NETWORK.status
    why = "the guest was ended" + (", since pasta, its network, had ended" if lost else "")
    return GuestError(why, evidence=console)


def await_report(script: process.Child, patience: float) -> bool | None:
    """Wait for the launch script's report of an end; False if the script has ended itself.

    Return None after `patience` seconds. The report comes after all output of nspawn and its guest.
    """
    assert script.stdout
    poll = select.poll()
    poll.register(script.stdout, select.POLLIN)
    events = [event for _, event in poll.poll(patience * 1000)]
    return any(event & select.POLLIN for event in events) if events else None


def was_killed(run_dir: Path) -> bool:
    """Whether the guest's init was killed, which no process in the guest can do."""
    return (run_dir / launch.KILLED).exists()


def status(run_dir: Path) -> int | None:
    """Return the last exit status of nspawn; None if it has not ended yet."""
    with suppress(OSError, ValueError):
        return int((run_dir / launch.STATUS).read_text())
    return None
