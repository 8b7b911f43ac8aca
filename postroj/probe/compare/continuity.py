"""Complete the answers about units by what a step has changed about them.

`losses` decides what is lost, from the state right after the step's command. The answers come
later: they wait, and commands that the user asks for may have started a unit again meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import unit_name
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.losses import Change


def complete(
    answers: Iterable[CheckResult],
    change: Change,
    found: Iterable[CheckResult],
    passed: Collection[str] = (),
) -> Iterator[CheckResult]:
    """Complete answers about units as they come; then yield what was `found` besides.

    `passed` are the names of the units that passed their checks before the step.
    """
    rest = [*found]
    before, now = change.before.units, change.now.units
    for answer in answers:
        name = unit_name(answer.subject)
        if answer.kind is not CheckKind.UNIT:
            yield answer
            continue
        lost = next((one for one in rest if _is_about(one, name, before)), None)
        if lost:
            rest.remove(lost)
            yield joined(answer, lost)
        elif answer.outcome is Outcome.PASS and name in before and name in now:
            yield _with_remark(answer, describe_main_pid(before[name], now[name]))
        elif _has_stopped(answer, name, change, passed):
            yield replace(answer, reason=f"ran before the {change.step}; now {answer.reason}")
        else:
            yield answer
    yield from rest


def _has_stopped(answer: CheckResult, name: str, change: Change, passed: Collection[str]) -> bool:
    """Whether a unit that should run ran before, and its answer does not say so.

    A unit is also active if it has exited, whatever became of its daemon: it ran if it passed.
    """
    was = change.before.units.get(name)
    # a socket may be up though its service does not work
    is_up = name.endswith(".socket") and answer.reason.startswith("active")
    is_down = answer.outcome is Outcome.FAIL and not change.leaves and not is_up
    if not is_down or was is None or was.active != "active":
        return False
    return was.sub != "exited" or bool({name, was.name, *was.names} & {*passed})


def _with_remark(answer: CheckResult, remark: str) -> CheckResult:
    sentence, *evidence = answer.reason.splitlines() or [""]
    reason = "\n".join([f"{sentence}; {remark}", *evidence])
    return replace(answer, reason=reason) if remark else answer


def _is_about(found: CheckResult, name: str, before: Mapping[str, UnitState]) -> bool:
    names = before[found.subject].names if found.subject in before else ()
    return found.kind is CheckKind.UNIT and name in (found.subject, *names)


def joined(answer: CheckResult, lost: CheckResult) -> CheckResult:
    """Join an answer about a unit to what a step has taken from it; errors stay errors."""
    sentence, *evidence = answer.reason.splitlines() or [""]
    has_stopped = "right after it" in lost.reason
    links = {Outcome.PASS: "; later it was " if has_stopped else "; now ", Outcome.SKIP: "; "}
    link = links.get(answer.outcome, "; now ")
    is_worse = answer.outcome in (Outcome.PASS, Outcome.SKIP)
    return replace(
        answer,
        outcome=lost.outcome if is_worse else answer.outcome,
        why=lost.why if is_worse and lost.why else answer.why,
        reason="\n".join([f"{lost.reason}{link}{sentence}", *evidence]),
    )


def describe_main_pid(before: UnitState, now: UnitState) -> str:
    """Tell whether the main process was replaced; '' if there is none before or now."""
    if not before.main_pid or not now.main_pid:
        return ""
    if before.main_pid == now.main_pid and before.started == now.started:
        return "not restarted, same main PID as before"
    return f"restarted, its main PID was {before.main_pid}"
