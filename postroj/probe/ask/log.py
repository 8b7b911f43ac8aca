"""Check that units have logged a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.probe.ask import journal
from postroj.probe.ask.unitstate import is_template, read_states, unit_name
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Question, Scene

SHOWN = 200
"""Maximum length of a line that was found."""
UNITS = 5
"""Maximum number of units to name."""


def check(guest: Guest, scene: Scene, question: Question) -> tuple[Outcome, str]:
    """Search the journal of units since the step began, or since they were started before it.

    A unit that a step does not restart does not say again that it is ready.
    """
    named = map(unit_name, question.required.units or sorted(scene.units()))
    names = [name for name in named if not is_template(name)]
    if not names:
        return Outcome.FAIL, "the package has no unit whose journal could have it"
    started = (state.started for state in read_states(guest, names) if state.started)
    since = min([scene.began, *map(journal.wall_time, started)])
    text = journal.messages(guest, names, since)
    if found := re.search(question.subject, text, re.MULTILINE):
        first = text.rfind("\n", 0, found.start()) + 1
        return Outcome.PASS, text[first:].partition("\n")[0].strip()[:SHOWN]
    more = f" and {len(names) - UNITS} more" if len(names) > UNITS else ""
    where = f"not in the journal of {', '.join(names[:UNITS])}{more}"
    evidence = (journal.last(guest, name) for name in names[:UNITS])
    return Outcome.FAIL, "\n".join(filter(None, [where, *evidence]))
