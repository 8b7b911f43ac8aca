"""Ask which units the manager had to kill when the guest shut down for its last reboot."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from postroj.probe.ask.checks import timed
from postroj.probe.ask.question import Question
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Answer
    from postroj.verdict import CheckResult

QUESTION = Question(kind=CheckKind.SYSTEM, subject="units end at a shutdown")
TIMED_OUT = re.compile(r"(?P<unit>\S+\.\w+): (?:State ')?(?:stop|final)-[\w-]+'? timed out\b")
"""How systemd reports that it waited in vain for a unit to end, src/core/service.c."""
LINES = 2000
"""Maximum number of the manager's messages to read; the last ones are about the shutdown."""


def ask(guest: Guest, names: Collection[str]) -> CheckResult | None:
    """Return the failure of units that had to be killed; None if there are none among `names`.

    The previous boot is read from the journal, which an image may not keep.
    """
    fields = "--output-fields=MESSAGE"
    argv = ["journalctl", "--boot=-1", f"--lines={LINES}", "--quiet", "--no-pager"]
    done = guest.run([*argv, "--output=json", fields, "_PID=1"], ok=range(256), timeout=30)
    killed = [unit for unit in timed_out(done.text.splitlines()) if unit in names]
    return timed(QUESTION, partial(_answer, guest, killed)) if killed else None


def timed_out(lines: Iterable[str]) -> Iterator[str]:
    """Yield the units, each once, that did not end in time, from entries of the journal in JSON."""
    seen = set()
    for line in lines:
        try:
            message = json.loads(line).get("MESSAGE")
        except ValueError:  # an entry that was cut
            continue
        match = TIMED_OUT.match(message) if isinstance(message, str) else None
        if match and match["unit"] not in seen:
            seen.add(match["unit"])
            yield match["unit"]


def _answer(guest: Guest, killed: Collection[str]) -> Answer:
    argv = ["systemctl", "show", "--property=Id,TimeoutStopUSec", "--", *killed]
    blocks = guest.run(argv, ok=range(256), timeout=30).text.split("\n\n")
    rows = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    limits = {row.get("Id", ""): row.get("TimeoutStopUSec", "") for row in rows}
    told = [
        f"{unit} had to be killed{f' after {limits[unit]}' if limits.get(unit) else ''}"
        for unit in killed
    ]
    return Outcome.FAIL, f"{', '.join(told)} when the guest shut down"
