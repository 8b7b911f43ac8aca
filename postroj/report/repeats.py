"""Recognise a fault that later steps meet again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.verdict import CheckKind, CheckResult, Outcome

NUMBER = re.compile(r"(?<![\w.:@/-])(?<!\bstatus )(?<!\bsignal )\d+(?:\.\d+)?(?![\w:@/-])")
"""A number such as a PID or seconds, and no exit status or signal, and no part of a name."""

Fault = tuple["Outcome", "CheckKind", str, str]
"""The identity of a fault; see `fault_of`."""


def fault_of(check: CheckResult) -> Fault:
    """Return the parts that are equal in two answers about the same fault.

    These are the outcome, the question, and the sentence without numbers such as the main PID.
    """
    sentence = check.reason.partition("\n")[0]
    return check.outcome, check.kind, check.subject, NUMBER.sub("0", sentence)
