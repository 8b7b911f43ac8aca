"""Why a guest did not become ready: one sentence, what it rests on, and the next thing to type.

It ended, it began anew again and again, it is late, or it got somewhere else. What it says itself,
on its console or when it is asked, explains the error and decides nothing.
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
RESTARTS = 3
"""Restarts while it boots that are borne: some relabel their files, or grow, and begin anew."""
MANAGER = "systemd"
"""Name of the process that notifies; systemd gives it to itself, whatever its file is called."""
PATIENCE = 5.0
"""Seconds for each answer of a guest that is late."""
NAMED = 3
"""As many units are named in a sentence."""

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[A-Z])|\r")
SPINNER = re.compile(r"\[[ *]{6}\] ")
"""How a line begins that systemd prints again each second while it waits."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a guest's manager is about to do, and is not done with."""

    unit: str
    kind: str
    """`start`, `stop`, ..."""


def tail(console: str) -> str:
    """Return the last lines of a console, without what moves on a terminal only."""
    lines = ESCAPE.sub("", console).splitlines()
    return last_lines("\n".join(line for line in lines if not SPINNER.match(line)))


def ended(stage: Stage | None, status: int | None, console: str) -> GuestError:
    """Say why a guest ended before it was ready.

    `stage` of the launch script failed, if any did; else `status` is nspawn's, which is that of the
    guest's init, or None if it has none.
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
        message, hint = f"{message}: {cause.clause}", cause.cure
    return GuestError(message, evidence=tail(console), hint=hint)


def restarting(console: str) -> GuestError:
    """Say that a guest begins anew again and again."""
    message = f"the guest restarted {RESTARTS} times before it was ready"
    return GuestError(message, evidence=tail(console), hint=ENTER)


def late(guest: Guest | None, seconds: float, missing: Collection[str], console: str) -> GuestError:
    """Say what a guest waits for that was not ready in so many seconds.

    `missing` are the notifications that have not come; without a leader there is no `guest`.
    """
    why = said = ""
    hint = MORE_TIME
    if "READY" not in missing:
        why = "its private network is not up"
    elif guest is None:
        why = "systemd-nspawn has not started its init"
    elif guest.init() == SHUTDOWN:
        why = "it still shuts down"
    elif guest.init() not in ("", MANAGER):
        why = f"its init is '{guest.init()}', and only systemd tells when it is ready"
        hint = ENTER
    else:
        with suppress(OSError, PostrojError):  # it has ended, or does not answer
            why, said = _ask(guest)
        if not why and (cause := causes.find(ESCAPE.sub("", console))):
            why, hint = cause.clause, cause.cure
    message = ": ".join(filter(None, (f"the guest was not ready within {seconds:g} s", why)))
    evidence = "\n".join(filter(None, (said, tail(console))))
    return GuestError(message, evidence=evidence, hint=hint)


def _ask(guest: Guest) -> tuple[str, str]:
    """Return what the guest's manager waits for, as a clause, and what it says of that."""
    table = guest.run(["systemctl", "list-jobs", "--no-pager"], timeout=PATIENCE).text
    # those that wait for other jobs explain nothing, and are many
    lines = [line for line in table.splitlines() if line.endswith((" STATE", " running"))]
    why = ""
    if jobs := running(table):
        properties = ("--property=Id", "--property=InactiveExitTimestampMonotonic")
        argv = ["systemctl", "show", *properties, "--", *(job.unit for job in jobs)]
        # host and guests have one such clock
        why = waiting(jobs, begun(guest.run(argv, timeout=PATIENCE).text), time.monotonic())
    if failed := guest.failed_units():
        lines.append(f"failed units: {' '.join(failed)}")
    return why, "\n".join(lines)


def running(table: str) -> list[Job]:
    """Read the jobs that `systemctl list-jobs` calls running: the others wait for these."""
    rows = [line.split() for line in table.splitlines()]
    return [
        Job(unit=row[1], kind=row[2])
        for row in rows
        if len(row) == 4 and row[0].isdigit() and row[3] == "running"
    ]


def begun(shown: str) -> dict[str, float]:
    """Read since when each unit is not inactive, in seconds of the monotonic clock.

    `shown` is what `systemctl show` has said of its `InactiveExitTimestampMonotonic`.
    """
    found = {}
    for block in shown.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        with suppress(KeyError, ValueError):
            found[values["Id"]] = int(values["InactiveExitTimestampMonotonic"]) / 1e6
    return found


def waiting(jobs: Sequence[Job], since: Mapping[str, float], now: float) -> str:
    """Name what blocks, as a clause: `it waits for 'a.service' (start, for 7 s)`."""
    named = []
    for job in jobs[:NAMED]:
        began = since.get(job.unit) if job.kind == "start" else None
        lasts = f", for {now - began:.0f} s" if began else ""
        named.append(f"'{job.unit}' ({job.kind}{lasts})")
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return f"it waits for {', '.join(named)}{more}"


def astray(guest: Guest, state: str, console: str) -> GuestError:
    """Say what brought a guest into a state in which it cannot be used, and which that is."""
    if state == "stopping":
        message = "the guest shuts down as soon as it has booted"
        return GuestError(message, evidence=tail(console), hint=ENTER)
    mode, why = "rescue mode", "a unit of the image asks for it"
    with suppress(PostrojError):
        if guest.is_active("emergency.target"):
            mode = "emergency mode"
            if failed := guest.failed_units():  # which leads there, unlike to rescue mode
                units = ", ".join(f"'{unit}'" for unit in failed[:NAMED])
                why = f"{units} failed"
    return GuestError(f"the guest booted into {mode}: {why}", evidence=tail(console), hint=ENTER)


def useless(console: str) -> GuestError:
    """Say why a guest cannot be used in which services do not start."""
    message, hint = "the guest booted, but its journal does not run", ENTER
    if cause := causes.find(ESCAPE.sub("", console)):
        message, hint = f"{message}: {cause.clause}", cause.cure
    return GuestError(message, evidence=tail(console), hint=hint)
