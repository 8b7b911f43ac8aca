"""Explain the end of a machine, before it was ready and after."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.failure import ending, unready
from postroj.errors import GuestError, GuestLost
from postroj.machine import qemu

if TYPE_CHECKING:
    from pathlib import Path

PANIC = re.compile(r"Kernel panic - not syncing: (?P<why>.*)")
OURS = re.compile(r"^postroj: (?!booted|no module|no address)(?P<why>.*?)\r?$", re.MULTILINE)
"""What init.sh says if it cannot go on; a console has lines with `\\r`."""
PATIENCE = 30.0
"""Seconds for qemu to end after the way into its guest.

systemd-shutdown(8) ends sshd with all other processes, before it unmounts file systems.
"""
INTERVAL = 0.05
"""Seconds between two looks at the reason for the end."""
IN_CONTAINER = "`postroj run` without `--vm` boots it, too"
RESET, SHUTDOWN = "guest-reset", "guest-shutdown"


def reason(run_dir: Path) -> str:
    """Return why qemu has ended since its guest was ready, in its words, or `killed`; '' if not."""
    with suppress(OSError):
        return (run_dir / qemu.ENDING).read_text().strip()
    return ""


def boots(run_dir: Path) -> int:
    """Return how often the machine has booted so far."""
    with suppress(OSError, ValueError):
        return int((run_dir / qemu.BOOTS).read_text())
    return 0


def has_reported(script: process.Child) -> bool:
    """Whether the launch script has reported the end of its machine."""
    return bool(ending.await_report(script, 0))


def came_from_outside(script: process.Child) -> bool:
    """Whether a machine that ended did so by no doing of its guest.

    The launch script then ends without a report. It lives on if the guest reboots, or hangs.
    """
    return ending.await_report(script, ending.AFTERMATH) is False


def explain(script: process.Child, run_dir: Path, output: str) -> GuestError:
    """Return the error for a guest that was ready and has ended; `output` is of a command in it."""
    reported = _await_end(script, run_dir)
    console = process.file_tail(run_dir / "console")
    why = reason(run_dir)
    if reported is False:
        lost = process.wait(script, ending.AFTERMATH) == qemu.NETWORK.status
        message = "the guest was ended" + (", since passt, its network, had ended" if lost else "")
        return GuestError(message, evidence=console)
    if panic := PANIC.search(console):
        message = f"the guest's kernel panicked: {panic['why'].strip()}"
    elif reported and why == SHUTDOWN:
        message = "the guest shut down"
    elif not reported and why == RESET:
        message = "the guest rebooted"
    else:
        return GuestError("the guest was ended", evidence=console)
    return GuestLost(message, evidence=console, output=output)


def _await_end(script: process.Child, run_dir: Path) -> bool | None:
    """Wait for the script's report, as `await_report` does; None at once after a reboot."""
    deadline = time.monotonic() + PATIENCE
    while (reported := ending.await_report(script, INTERVAL)) is None:
        if reason(run_dir) == RESET or time.monotonic() > deadline:
            break
    return reported


def explain_lateness(console: str, seconds: float) -> GuestError:
    """Return the error for a machine that still runs and was not ready within `seconds`.

    The command line of the kernel allows it warnings only, so a sound one has printed nothing
    before init.sh begins.
    """
    message, hint = f"the guest was not ready within {seconds:g} s", unready.MORE_TIME
    if qemu.BOOTED not in console:
        doing = "has not started its init" if console.strip() else "has printed nothing"
        message += f": its kernel {doing}"
        hint += f", and {IN_CONTAINER}"
    return GuestError(message, evidence=unready.tail(console), hint=hint)


def explain_start(script: process.Child, run_dir: Path) -> GuestError:
    """Return the error for a machine that ended before its guest was ready."""
    stage = qemu.STAGES.get(process.wait(script, ending.AFTERMATH) or 0)
    console = process.file_end(run_dir / "console")
    message, hint = "the guest ended before it was ready", IN_CONTAINER
    why = reason(run_dir)
    if stage:
        message, hint = stage.failure, stage.hint
    elif panic := PANIC.search(console):
        message += f": its kernel panicked: {panic['why'].strip()}"
    elif said := OURS.search(console):
        message += f": {said['why']}"
    elif why == SHUTDOWN:
        message = "the guest shut down before it was ready"
    elif why == RESET:
        return unready.rebooting(console)
    return GuestError(message, evidence=unready.tail(console), hint=hint)
