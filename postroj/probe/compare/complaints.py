"""Report errors in the journal of units that passed, without failing them.

Good daemons log errors, too: of 44 in Debian three do so at each start or stop. The journal of a
unit that fails is part of its own answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from postroj.probe.ask import journal
from postroj.probe.ask.unitstate import unit_name
from postroj.process import last_lines
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.container.guest import Guest


def with_errors(
    guest: Guest, answers: Iterable[CheckResult], since: float
) -> Iterator[CheckResult]:
    """Yield the answers, then one with what passing units logged at priority `err` and above.

    `since` is a time of the wall clock, which guest and host share.
    """
    names = []
    for answer in answers:
        if answer.kind is CheckKind.UNIT and answer.outcome is Outcome.PASS:
            names.append(unit_name(answer.subject))
        yield answer
    began = time.monotonic()
    if names and (text := journal.errors(guest, names, since)):
        count = len(text.splitlines())
        yield CheckResult(
            kind=CheckKind.SYSTEM,
            subject=journal.ERRORS,
            outcome=Outcome.PASS,
            reason=f"{count} line{'s'[: count != 1]}, not a failure\n{last_lines(text)}",
            seconds=time.monotonic() - began,
            discovered=True,
        )
