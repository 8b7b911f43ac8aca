"""Tell services that are still busy with their start from those that wait for work.

A daemon in Python may need seconds of a processor before it reads its configuration and gives up.
Until then it looks like one that is up.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState

LONGEST = 20.0
"""Seconds since its start after which a service that is busy has work to do."""
SHARE = 0.5
"""Share of that time for which its main thread has run or has waited for a processor."""
SCRIPT = Path(__file__).with_name("busy.sh").read_text(encoding="utf-8")


def is_any_busy(guest: Guest, states: Sequence[UnitState]) -> bool:
    """Whether one of these services has been busy since it was started, not long ago."""
    now = time.monotonic()
    young = [state for state in states if state.main_pid and now - state.since < LONGEST]
    if not young:
        return False
    argv = ["sh", "-c", SCRIPT, "sh", *(str(state.main_pid) for state in young)]
    lines = guest.run(argv, ok=range(256), timeout=10).text.splitlines()
    return any(
        _seconds(line) > SHARE * (now - state.since)
        for state, line in zip(young, lines, strict=False)
    )


def _seconds(line: str) -> float:
    return sum(int(word) for word in line.split()[:2] if word.isdecimal()) / 1e9
