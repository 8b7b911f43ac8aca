"""Turn failures that a container explains into skips, which say what a machine has instead.

The facts are those of `probe.ask.needs`. A failure that they do not explain stays one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.errors import PostrojError
from postroj.probe.ask import activation, needs
from postroj.probe.ask.unitstate import unit_name
from postroj.probe.compare import gone, stops
from postroj.verdict import CheckKind, Outcome, Why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroj.container.guest import Guest
    from postroj.verdict import CheckResult, StepResult

SKIPPED_AFTER_TRYING = re.compile(r"is not met\b|\bfailed\b|\bended with\b|\bnot started\b")
"""How the reason of a skip tells that the manager has tried the unit."""
SCRIPT = re.compile(r"the \S+ script of ")
"""How the sentence about a failed maintainer script begins."""
REMAINS = (gone.PROCESSES.subject, stops.QUESTION.subject)
"""The questions about processes that are left after a removal."""
OF_UNITS = (CheckKind.NETWORK, CheckKind.PROCESS, CheckKind.LOG)
"""Kinds of checks that fail as well if the unit behind them does."""
EXCUSE = "a container cannot show this: needs {}"
UNIT_OF_JOB = re.compile(
    r"(?:Job for |Failed to (?:re)?start |^[^\w\s] )(\S+\.(?:service|socket|mount))\b", re.MULTILINE
)
"""How systemctl(1) names a unit that it could not start, in the output of a maintainer script.

`systemctl status` has a dot or a cross in front of the name.
"""


def excused_check(guest: Guest, check: CheckResult) -> CheckResult:
    """Turn a failed check of a unit into a skip if a container explains the failure.

    A skip of a unit that the manager could not start gets its need, too. What the check of a socket
    has set off is taken back.
    """
    if check.kind is not CheckKind.UNIT or check.needs:
        return check
    sentence = check.reason.partition("\n")[0]
    was_tried = check.outcome is Outcome.SKIP and SKIPPED_AFTER_TRYING.search(sentence)
    if check.outcome is not Outcome.FAIL and not was_tried:
        return check
    need = needs.of_unit(guest, unit_name(check.subject))
    if not need:
        return check
    if check.outcome is Outcome.FAIL and check.subject.endswith(".socket"):
        with suppress(PostrojError):  # a lost guest is noticed by later questions
            activation.take_back(guest, check.subject)
    reason = f"{EXCUSE.format(need)}; {check.reason}"
    return replace(check, outcome=Outcome.SKIP, reason=reason, why=Why.CONTAINER, needs=need)


def excused_step(guest: Guest, step: StepResult) -> StepResult:
    """Turn the failure of a step into a skip if a container explains it; its checks stay.

    The maintainer script could not start a unit, or asked the kernel itself.
    """
    if step.done is not Outcome.FAIL or not SCRIPT.match(step.reason):
        return step
    output = step.reason.partition("\n")[2]
    units = dict.fromkeys(UNIT_OF_JOB.findall(output))
    found = (needs.of_unit(guest, unit) for unit in units)
    need = next(filter(None, found), "") if units else needs.of_output(guest, output)
    if not need:
        return step
    reason = f"{EXCUSE.format(need)}; {step.reason}"
    return replace(step, done=Outcome.SKIP, reason=reason, hint="", needs=need)


def excused_remains(check: CheckResult, known: Mapping[str, str]) -> CheckResult:
    """Skip processes that are left of a unit that could not start and whose need is `known`.

    systemd does not stop a unit that has failed, and its processes may run on. Files that are left
    have another cause.
    """
    is_asked = check.kind in OF_UNITS or check.subject in REMAINS
    lines = check.reason.splitlines()
    accused = [line for line in lines[1:] if line.startswith("'")] or lines[:1]
    found = [[n for unit, n in known.items() if _names(line, unit)] for line in accused]
    is_excused = is_asked and check.outcome is Outcome.FAIL and all(found)
    need = found[0][0] if is_excused and found else ""
    if not need:
        return check
    reason = f"{EXCUSE.format(need)}; {check.reason}"
    return replace(check, outcome=Outcome.SKIP, reason=reason, why=Why.CONTAINER, needs=need)


def _names(text: str, unit: str) -> bool:
    """Whether a text has the name of a unit, and not only as a part of another name."""
    return bool(re.search(rf"(?<![\w:.\\@-]){re.escape(unit)}(?![\w:\\@-])", text))
