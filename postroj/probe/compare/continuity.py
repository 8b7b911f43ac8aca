"""Check that units survive a step: a unit that ran still runs, an enabled one stays enabled.

Each answer about a unit is completed by a comparison with its state before the step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import ENABLED, is_template, read_state, read_states, unit_name
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState

NOT_ENABLED = ("disabled", "masked", "masked-runtime", "bad")

Units = dict[str, "UnitState"]
"""States of units by each of their names."""


def remember(guest: Guest, names: Iterable[str]) -> Units:
    """Read the states of units before a step."""
    states = read_states(guest, [name for name in names if not is_template(name)])
    return {name: state for state in states for name in (state.name, *state.names)}


def now_masked(guest: Guest, states: Units) -> Units:
    """Return the earlier states of those units that are masked now."""
    now = read_states(guest, sorted(states))
    masked = {
        name for state in now if state.load == "masked" for name in (state.name, *state.names)
    }
    return {name: state for name, state in states.items() if name in masked}


def compare(
    guest: Guest, answers: Iterable[CheckResult], before: Mapping[str, UnitState], step: StepName
) -> Iterator[CheckResult]:
    """Complete answers about units as they come; then fail other units that the step has harmed."""
    compared: set[str] = set()
    for batch in _batches(answers):
        known = {unit_name(a.subject) for a in batch if a.kind is CheckKind.UNIT} & before.keys()
        present = remember(guest, sorted(known))
        for answer in batch:
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
        if now.name in rest and (loss := describe_loss(rest[now.name], now, step)):
            yield CheckResult(
                kind=CheckKind.UNIT,
                subject=now.name,
                outcome=Outcome.FAIL,
                reason=loss,
                seconds=0,
                discovered=True,
            )


def _batches(answers: Iterable[CheckResult]) -> Iterator[list[CheckResult]]:
    """Collect skips until another answer comes: a package may have thousands of idle units."""
    batch = []
    for answer in answers:
        batch.append(answer)
        if answer.outcome is not Outcome.SKIP:
            yield batch
            batch = []
    yield batch


def completed(
    answer: CheckResult, before: UnitState, now: UnitState, step: StepName
) -> CheckResult:
    """Add to an answer how a unit has changed; a loss makes it a failure."""
    sentence, *evidence = answer.reason.splitlines() or [""]
    if loss := describe_loss(before, now, step):
        is_worse = answer.outcome in (Outcome.PASS, Outcome.SKIP)
        reason = "\n".join([f"{loss}; now {sentence}", *evidence])
        return replace(answer, outcome=Outcome.FAIL if is_worse else answer.outcome, reason=reason)
    if answer.outcome is Outcome.PASS and (pid := describe_main_pid(before, now)):
        return replace(answer, reason="\n".join([f"{sentence}; {pid}", *evidence]))
    return answer


def describe_loss(before: UnitState, now: UnitState, step: StepName) -> str:
    """Describe how a step has harmed a unit; '' if it has not, or if the unit no longer exists."""
    if now.load == "not-found":
        return ""
    when = "before the removal" if step is StepName.INSTALL_AGAIN else f"before the {step}"
    it = f"the {step}" if step is StepName.INSTALL_AGAIN else "it"
    if before.active == "active" and before.main_pid and not now.main_pid:
        return f"ran {when}, but not after {it}"
    # a oneshot service that has finished is not a loss
    waits = before.name.endswith((".socket", ".timer", ".path"))
    if waits and before.active == "active" and now.active != "active":
        return f"was active {when}, but is not after {it}"
    if before.file_state in ENABLED and now.file_state in NOT_ENABLED:
        return f"was enabled {when}, but is {now.file_state} after {it}"
    return ""


def describe_main_pid(before: UnitState, now: UnitState) -> str:
    """Tell whether the main process was replaced; '' if there is none before or now."""
    if not before.main_pid or not now.main_pid:
        return ""
    if before.main_pid == now.main_pid and before.started == now.started:
        return "not restarted, same main PID as before"
    return f"restarted, its main PID was {before.main_pid}"
