"""Explain why a guest did not become ready: a sentence, the evidence, and the next command.

The guest ended, rebooted again and again, is late, or came into a state in which it cannot be used.
Its console and its own answers explain the error, but never decide that there is one.
"""

from __future__ import annotations

import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.failure import causes
from postroj.container.guest import SHUTDOWN
from postroj.errors import GuestError, PostrojError
from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from postroj.container.boot.launch import Stage
    from postroj.container.guest import Guest

ENTER = "`postroj -v run --no-boot -- /bin/sh` enters the image without its init"
MORE_TIME = "`--boot-timeout` gives it more time"
REBOOTS = 3
"""Reboots that are allowed before it is ready: some images relabel or resize file systems first."""
MANAGER = "systemd"
"""Name of the process that notifies; systemd gives itself this name."""
PATIENCE = 5.0
"""Seconds for each answer of a late guest."""
NAMED = 3
"""Units that a sentence names at most."""

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[A-Z])|\r")
SPINNER = re.compile(r"\[[ *]{6}\] ")
"""Beginning of a line that systemd prints each second while it waits."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of the guest's manager that has not finished."""

    unit: str
    kind: str
    """`start`, `stop`, ..."""


def tail(console: str) -> str:
    """Return the last lines of a console, without colours and progress lines."""
    lines = ESCAPE.sub("", console).splitlines()
    return last_lines("\n".join(line for line in lines if not SPINNER.match(line)))


def ended(stage: Stage | None, status: int | None, console: str) -> GuestError:
    """Explain why a guest ended before it was ready.

    `stage` is the step of the launch script that failed, if any; else `status` is nspawn's exit
    status, which is that of the guest's init, or None if there is none.
    """
    message, hint = "the guest ended before it was ready", ENTER
    killed = status == 128 + signal.SIGKILL
    cause = causes.KILLED if killed else causes.find(ESCAPE.sub("", console))
    if stage:
        message, hint = stage.failure, stage.hint
    elif status == 0:
        message, cause = "the guest shut down before it was ready", None
    elif status and not cause:
        message += f", with status {status}"
    if cause:
        message, hint = f"{message}: {cause.sentence}", cause.hint
    return GuestError(message, evidence=tail(console), hint=hint)


def rebooting(console: str) -> GuestError:
    """Return the error for a guest that reboots again and again."""
    message = f"the guest rebooted {REBOOTS} times before it was ready"
    return GuestError(message, evidence=tail(console), hint=ENTER)


def late(guest: Guest | None, seconds: float, missing: Collection[str], console: str) -> GuestError:
    """Explain what a guest that is not ready after `seconds` is waiting for.

    `missing` are the notifications that have not come; `guest` is None without a leader.
    """
    why = answers = ""
    hint = MORE_TIME
    if "READY" not in missing:
        why = "its private network is not up"
    elif guest is None:
        why = "systemd-nspawn has not started its init"
    elif guest.init() == SHUTDOWN:
        why = "it is still shutting down"
    elif guest.init() not in ("", MANAGER):
        why = f"its init is '{guest.init()}', and only systemd reports when it is ready"
        hint = ENTER
    else:
        with suppress(OSError, PostrojError):  # it has ended or does not answer
            why, answers = _ask(guest)
        if not why and (cause := causes.find(ESCAPE.sub("", console))):
            why, hint = cause.sentence, cause.hint
    message = ": ".join(filter(None, (f"the guest was not ready within {seconds:g} s", why)))
    evidence = "\n".join(filter(None, (answers, tail(console))))
    return GuestError(message, evidence=evidence, hint=hint)


def _ask(guest: Guest) -> tuple[str, str]:
    """Ask the guest's manager what it waits for; return a clause, and the manager's answers."""
    table = guest.run(["systemctl", "list-jobs", "--no-pager"], timeout=PATIENCE).text
    # jobs that wait for other jobs explain nothing, and are many
    lines = [line for line in table.splitlines() if line.endswith((" STATE", " running"))]
    why = ""
    if jobs := running(table):
        properties = ("--property=Id", "--property=InactiveExitTimestampMonotonic")
        argv = ["systemctl", "show", *properties, "--", *(job.unit for job in jobs)]
        # the host and its guests share this clock
        why = waiting(jobs, begun(guest.run(argv, timeout=PATIENCE).text), time.monotonic())
    if failed := guest.failed_units():
        lines.append(f"failed units: {' '.join(failed)}")
    return why, "\n".join(lines)


def running(table: str) -> list[Job]:
    """Read the running jobs of `systemctl list-jobs`, for which the others wait."""
    rows = [line.split() for line in table.splitlines()]
    return [
        Job(unit=row[1], kind=row[2])
        for row in rows
        if len(row) == 4 and row[0].isdigit() and row[3] == "running"
    ]


def begun(shown: str) -> dict[str, float]:
    """Read when each unit left the inactive state, in seconds of the monotonic clock.

    `shown` is the output of `systemctl show` with `InactiveExitTimestampMonotonic`.
    """
    found = {}
    for block in shown.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        with suppress(KeyError, ValueError):
            found[values["Id"]] = int(values["InactiveExitTimestampMonotonic"]) / 1e6
    return found


def waiting(jobs: Sequence[Job], since: Mapping[str, float], now: float) -> str:
    """Name the blocking jobs in a clause: `it waits for 'a.service' (start, for 7 s)`."""
    named = []
    for job in jobs[:NAMED]:
        began = since.get(job.unit) if job.kind == "start" else None
        lasts = f", for {now - began:.0f} s" if began else ""
        named.append(f"'{job.unit}' ({job.kind}{lasts})")
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return f"it waits for {', '.join(named)}{more}"


def unusable(guest: Guest, state: str, console: str) -> GuestError:
    """Explain how the guest came into an unusable state."""
    if state == "stopping":
        message = "the guest shuts down as soon as it has booted"
        return GuestError(message, evidence=tail(console), hint=ENTER)
    mode, why = "rescue mode", "a unit of the image asks for it"
    with suppress(PostrojError):
        if guest.is_active("emergency.target"):
            mode = "emergency mode"
            if failed := guest.failed_units():  # never the reason for rescue mode
                units = ", ".join(f"'{unit}'" for unit in failed[:NAMED])
                why = f"{units} failed"
    return GuestError(f"the guest booted into {mode}: {why}", evidence=tail(console), hint=ENTER)


def without_services(console: str) -> GuestError:
    """Explain why services do not start in a guest."""
    message, hint = "the guest booted, but its journal does not run", ENTER
    if cause := causes.find(ESCAPE.sub("", console)):
        message, hint = f"{message}: {cause.sentence}", cause.hint
    return GuestError(message, evidence=tail(console), hint=hint)
