"""Recognise a fault that stays, and that each later step meets again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.verdict import CheckKind, CheckResult, Outcome

NUMBER = re.compile(r"\d+(?:\.\d+)?")

Fault = tuple["Outcome", "CheckKind", str, str]
"""What tells one fault from another; see `fault_of`."""


def fault_of(check: CheckResult) -> Fault:
    """Return what two answers about the same fault have in common.

    These are outcome, question, and the sentence apart from its numbers, such as the main PID.
    """
    sentence = check.reason.partition("\n")[0]
    return check.outcome, check.kind, check.subject, NUMBER.sub("0", sentence)
