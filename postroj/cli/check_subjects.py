"""Convert the subjects of checks to questions, and check that each is one of its kind."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.probe.course import LEAVING
from postroj.verdict import CheckKind, StepName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.probe.ask.question import Question

NAME = re.compile(r"[^\s/:,*?\[\]-][^\s/:,*?\[\]]*")
"""A user, group, package or host."""


def questions(
    kind: CheckKind, subject: str, step: str, steps: Sequence[StepName]
) -> Iterator[Question]:
    """Yield the questions about a subject from a step on; '' is the usual one.

    :raises UsageError: if it is no subject of this kind, or the step is not taken.
    """
    from postroj.probe.ask import closed, ports
    from postroj.probe.ask.question import Demand, Question

    since = _step(step, steps)
    match kind:
        case CheckKind.NETWORK:
            ports.endpoint(subject)
        case CheckKind.CLOSED:
            closed.place(subject)
        case CheckKind.LOG:
            expression("log", subject)
        case CheckKind.FILE if not subject.startswith("/"):
            message = f"`--check-file` takes an absolute path in the guest, not '{subject}'"
            raise UsageError(message)
        case CheckKind.USER | CheckKind.GROUP | CheckKind.PACKAGE | CheckKind.DNS:
            if not NAME.fullmatch(subject):
                message = f"`{kind}` takes a name, not '{subject}'"
                raise UsageError(message)
        case _:
            pass
    ordinary = Question(kind=kind, subject=subject, since=since)
    if kind is not CheckKind.UNIT or "," not in subject:
        yield ordinary
        return
    unit, *words = subject.split(",")
    if unknown := [word for word in words if word not in list(Demand)]:
        message = f"`--check-unit {subject}`: '{unknown[0]}' is not a word for a unit"
        raise UsageError(message, hint=f"known words: {', '.join(Demand)}")
    for word in (Demand.ENABLED, Demand.IDLE):
        if word in words:
            yield Question(kind=CheckKind.SYSTEM, subject=f"{unit},{word}", demand=word)
    if Demand.RUNNING in words:
        yield Question(kind=kind, subject=unit, since=StepName.INSTALL)
    elif Demand.IDLE not in words:
        yield replace(ordinary, subject=unit)


def expression(key: str, text: str) -> None:
    """Check a regular expression.

    :raises UsageError: if it is invalid.
    """
    try:
        re.compile(text)
    except re.error as error:
        message = f"`{key}`: '{text}' is not a regular expression: {error}"
        raise UsageError(message) from None


def _step(text: str, steps: Sequence[StepName]) -> StepName | None:
    if not text:
        return None
    able = [step for step in steps if step not in LEAVING]
    if text not in able:
        message = f"a check cannot be asked from '{text}' on"
        raise UsageError(message, hint=f"steps of the probe with checks: {', '.join(able)}")
    return StepName(text)
