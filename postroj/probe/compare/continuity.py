"""What a step must not change: what ran keeps running, what was enabled stays so.

The answer to a question about a unit is completed with what the unit was before the step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import ENABLED, is_template, read_state, read_states, unit_name
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState
    from postroj.verdict import StepName

NOT_ENABLED = ("disabled", "masked", "masked-runtime", "bad")

Units = dict[str, "UnitState"]
"""Units by each of their names."""


def remember(guest: Guest, names: Iterable[str]) -> Units:
    """Look at units before a step."""
    states = read_states(guest, [name for name in names if not is_template(name)])
    return {name: state for state in states for name in (state.name, *state.names)}


def compare(
    guest: Guest, answers: Iterable[CheckResult], before: Mapping[str, UnitState], step: StepName
) -> Iterator[CheckResult]:
    """Complete answers about units as they come; then blame units that nobody asked about."""
    compared: set[str] = set()
    for bunch in _bunches(answers):
        known = {unit_name(a.subject) for a in bunch if a.kind is CheckKind.UNIT} & before.keys()
        present = remember(guest, sorted(known))
        for answer in bunch:
            name = unit_name(answer.subject)
            if answer.kind is not CheckKind.UNIT or name not in known:
                yield answer
                continue
            compared |= {name, *before[name].names}
            yield completed(
                answer, before[name], present.get(name) or read_state(guest, name), step
            )
    rest = {state.name: state for name, state in before.items() if name not in compared}
    for now in read_states(guest, sorted(rest)):
        if now.name in rest and (trouble := change(rest[now.name], now, step)):
            yield CheckResult(
                kind=CheckKind.UNIT,
                subject=now.name,
                outcome=Outcome.FAIL,
                reason=trouble,
                seconds=0,
                discovered=True,
            )


def _bunches(answers: Iterable[CheckResult]) -> Iterator[list[CheckResult]]:
    """Keep skips until another answer comes: a package may have thousands of idle units."""
    bunch = []
    for answer in answers:
        bunch.append(answer)
        if answer.outcome is not Outcome.SKIP:
            yield bunch
            bunch = []
    yield bunch


def completed(
    answer: CheckResult, before: UnitState, now: UnitState, step: StepName
) -> CheckResult:
    """Say what has become of a unit, too; a change for the worse fails."""
    sentence, *evidence = answer.reason.splitlines() or [""]
    if trouble := change(before, now, step):
        worse = answer.outcome in (Outcome.PASS, Outcome.SKIP)
        reason = "\n".join([f"{trouble}; now {sentence}", *evidence])
        return replace(answer, outcome=Outcome.FAIL if worse else answer.outcome, reason=reason)
    if answer.outcome is Outcome.PASS and (told := main_pid(before, now)):
        return replace(answer, reason="\n".join([f"{sentence}; {told}", *evidence]))
    return answer


def change(before: UnitState, now: UnitState, step: StepName) -> str:
    """Say what a step has taken from a unit; '' if nothing, or if its package has given it up."""
    if now.load == "not-found":
        return ""
    if before.active == "active" and before.main_pid and not now.main_pid:
        return f"ran before the {step}, and does not after it"
    # a oneshot that has done its work is no loss
    waits = before.name.endswith((".socket", ".timer", ".path"))
    if waits and before.active == "active" and now.active != "active":
        return f"was active before the {step}, and is not after it"
    if before.file_state in ENABLED and now.file_state in NOT_ENABLED:
        return f"was enabled before the {step}, and is {now.file_state} after it"
    return ""


def main_pid(before: UnitState, now: UnitState) -> str:
    """Say whether the main process is another one now; '' if there was none."""
    if not before.main_pid or not now.main_pid:
        return ""
    if before.main_pid == now.main_pid and before.started == now.started:
        return "not restarted, same main PID as before"
    return f"restarted, its main PID was {before.main_pid}"
