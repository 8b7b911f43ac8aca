"""Check that a package is installed, perhaps in certain versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.probe import operations
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Question
    from postroj.probe.managers.base import PackageManager

NOT_FOUND = 127
"""Status of a command that does not exist."""
CONDITION = re.compile(r"(?P<sign>>=|<=|==|=|!=|>|<)\s*(?P<version>[\w.+~:^-]+)", re.ASCII)
PATTERN = re.compile(r"[\w.+~:^*?\[\]!-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on a version; the sign '' demands that it matches a pattern."""

    sign: str
    version: str


def parse(text: str) -> tuple[Condition, ...]:
    """Parse conditions with commas between them, `>= 1.2, < 2`, or a pattern, `1.2-*`.

    :raises UsageError: if it is neither.
    """
    if PATTERN.fullmatch(text):
        return (Condition(sign="", version=text),)
    found = [CONDITION.fullmatch(part.strip()) for part in text.split(",")]
    if all(found):
        return tuple(Condition(sign=one["sign"], version=one["version"]) for one in found if one)
    message = f"'{text}' is not a version"
    raise UsageError(message, hint="conditions such as '>= 1.2, < 2', or a pattern such as '1.2-*'")


def check(guest: Guest, manager: PackageManager, question: Question) -> tuple[Outcome, str]:
    """Check an installed package; each of its architectures must meet all conditions."""
    conditions = parse(question.required.version) if question.required.version else ()
    found = operations.ask(guest, manager.installed([question.subject]))
    if not found:
        return Outcome.FAIL, "the package is not installed"
    for fact in found:
        try:
            is_met = all(_meets(guest, manager, fact.version, one) for one in conditions)
        except FileNotFoundError as error:
            return Outcome.SKIP, f"version {fact.version}; the guest has no {error} to compare it"
        if not is_met:
            wanted = question.required.version
            return Outcome.FAIL, f"version {fact.version} ({fact.architecture}), not {wanted}"
    return Outcome.PASS, ", ".join(f"{fact.version} ({fact.architecture})" for fact in found)


def _meets(guest: Guest, manager: PackageManager, version: str, condition: Condition) -> bool:
    """Whether a version meets a condition.

    :raises FileNotFoundError: if the guest lacks the program that compares versions.
    """

    def is_lower(one: str, other: str) -> bool:
        query = manager.is_lower(one, other)
        assert query, "every manager sorts versions"
        done = guest.run(query.argv, ok=operations.STATUSES, timeout=operations.PATIENCE)
        if done.status == NOT_FOUND:
            raise FileNotFoundError(query.argv[0])
        return query.read(done.text)

    wanted = condition.version
    match condition.sign:
        case "":
            return fnmatchcase(version, wanted)
        case ">=":
            return not is_lower(version, wanted)
        case "<=":
            return not is_lower(wanted, version)
        case ">":
            return is_lower(wanted, version)
        case "<":
            return is_lower(version, wanted)
        case _:
            is_equal = not is_lower(version, wanted) and not is_lower(wanted, version)
            return is_equal != (condition.sign == "!=")
