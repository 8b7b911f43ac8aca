"""Parse `--steps`: which steps a probe takes, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.verdict import StepName

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = "repo"
"""Value of `--upgrade-from` for the version in the guest's repositories."""
ALL = tuple(name for name in StepName if name is not StepName.DOWNGRADE)
LEAVING = (StepName.REMOVE, StepName.PURGE)
"""Steps after which the package is not installed."""
ENDING = (StepName.REMOVE, StepName.INSTALL_AGAIN, StepName.PURGE)
"""The last steps, in their order."""


def course(text: str, *, upgrades: bool, starts: bool | None = None) -> tuple[StepName, ...]:
    """Parse the value of `--steps`; '' is the default, which depends on `--upgrade-from`.

    `upgrades` says whether there is an older package. `starts` adds or leaves out the step `start`;
    None leaves that to `text`.

    :raises UsageError: if a word is not a step, a step is named twice, or the order is impossible.
    """
    if not text or text == "all":
        short = (StepName.INSTALL, StepName.START, *([StepName.UPGRADE] if upgrades else []))
        steps = ALL if text else short
        return steps if starts is not False else _without_start(steps)
    steps = tuple(_step(word) for word in text.split(","))
    problem = _problem(steps, upgrades=upgrades)
    if starts is False and StepName.START in steps:
        problem = problem or "`--no-start` leaves `start` out"
    if problem:
        message = f"`--steps {text}` is not possible: {problem}"
        raise UsageError(message)
    if starts and StepName.START not in steps:
        return (steps[0], StepName.START, *steps[1:])
    return steps


def demanded(text: str, *, upgrades: bool) -> tuple[StepName, ...]:
    """Return the steps that the user names: those of `--steps`, and that of `--upgrade-from`."""
    named = [] if text in ("", "all") else [_step(word) for word in text.split(",")]
    return (*named, *([StepName.UPGRADE] if upgrades and StepName.UPGRADE not in named else []))


def _without_start(steps: Sequence[StepName]) -> tuple[StepName, ...]:
    return tuple(name for name in steps if name is not StepName.START)


def _step(word: str) -> StepName:
    try:
        return StepName(word.strip())
    except ValueError:
        message = f"'{word}' is not a step"
        raise UsageError(message, hint=f"`all`, or some of {','.join(StepName)}") from None


def _problem(steps: Sequence[StepName], *, upgrades: bool) -> str:
    """Return what is wrong with an order of steps; '' if it is possible."""
    if len(set(steps)) < len(steps):
        return "a step is named twice"
    if steps[0] is not StepName.INSTALL:
        return "the first step is `install`"
    ending = [name for name in ENDING if name in steps]
    if ending and list(steps[-len(ending) :]) != ending:
        return "`remove`, `install-again` and `purge` are the last steps, in this order"
    if StepName.INSTALL_AGAIN in steps and StepName.REMOVE not in steps:
        return "`install-again` comes after `remove`"
    if upgrades and StepName.UPGRADE not in steps:
        return "`--upgrade-from` is for the step `upgrade`"
    before = steps[: steps.index(StepName.UPGRADE)] if StepName.UPGRADE in steps else steps
    return "`downgrade` comes after `upgrade`" if StepName.DOWNGRADE in before else ""
