"""Find units that a step stopped, and that did not stop in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask import journal
from postroj.probe.ask.journal import Event
from postroj.probe.ask.question import Question
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Answer
    from postroj.probe.ask.journal import Entry

QUESTION = Question(kind=CheckKind.SYSTEM, subject="units stop in time", is_found=True)


def ask(guest: Guest, since: float, owns: Callable[[str], bool]) -> Answer:
    """Ask which of the packages' units systemd had to kill since a moment of the wall clock."""
    found = killed(journal.events(guest, since), owns)
    if not found:
        return Outcome.PASS, ""
    sentences = [describe(name, seconds) for name, seconds in found.items()]
    evidence = [journal.last(guest, name) for name in found]
    return Outcome.FAIL, "\n".join(part for part in (*sentences, *evidence) if part)


def failed_by_stop(guest: Guest, since: float, owns: Callable[[str], bool]) -> list[str]:
    """Return the packages' units whose last failure is that they did not stop in time."""
    entries = journal.events(guest, since)
    last = {entry.unit: entry for entry in entries if entry.event is Event.RESULT}
    return [*killed([*last.values(), *(e for e in entries if e.event is Event.STOPPING)], owns)]


def killed(entries: Sequence[Entry], owns: Callable[[str], bool]) -> dict[str, float]:
    """Return the units whose stop ran out of time, with the seconds that it took."""
    begun = {e.invocation: e.time for e in entries if e.event is Event.STOPPING}
    return {
        entry.unit: entry.time - begun[entry.invocation]
        for entry in entries
        if entry.event is Event.RESULT and entry.result == "timeout"
        if entry.invocation in begun and owns(entry.unit)
    }


def describe(name: str, seconds: float) -> str:
    """Describe that a unit did not stop."""
    return f"{name} did not stop for {seconds:.0f} s (TimeoutStopSec=), so systemd killed it"
