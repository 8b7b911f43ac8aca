"""The report in the Test Anything Protocol, with a test point for each step and check.

The output is valid in versions 13 and 14 and declares 13, as Perl's harness refuses later ones.
Test points are not nested, as most consumers do not know subtests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from postroj.report import facts
from postroj.report.cases import suites
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.report.cases import Case
    from postroj.verdict import Report


def render(report: Report) -> str:
    """Return the report as TAP, to be written as UTF-8."""
    found = suites(report)
    points = [(suite.name, case) for suite in found for case in suite.cases]
    plan = f"1..{len(points)}" if points else "1..0 # SKIP nothing was tested"
    lines = ["TAP version 13", plan]
    for number, (image, case) in enumerate(points, start=1):
        lines += _point(number, image, case)
    lines += [f"# {suite.name}: {note}" for suite in found for note in suite.notes]
    for suite in found:
        lines += [f"# {suite.name}: {name} {value}" for name, value in suite.facts]
    lines += [f"# {name} {value}" for name, value in facts.of_report(report)]
    return "\n".join(lines)


def _point(number: int, image: str, case: Case) -> Iterator[str]:
    bad = case.outcome.is_bad
    skip = f" # SKIP {_plain(case.sentence)}" if case.outcome is Outcome.SKIP else ""
    yield f"{'not ok' if bad else 'ok'} {number} - {_plain(f'{image}: {case.name}')}{skip}".rstrip()
    yield "  ---"
    yield f"  outcome: {case.outcome}"
    yield f"  seconds: {case.seconds:.3f}"
    yield f"  message: {_quoted(case.sentence)}"
    if case.evidence:
        yield f"  evidence: {_quoted(chr(10).join(case.evidence))}"
    if case.hint:
        yield f"  hint: {_quoted(case.hint)}"
    yield "  ..."


def _plain(text: str) -> str:
    r"""Escape the special characters of a test line.

    TAP escapes `#` as `\#`, but some consumers ignore that and read a directive behind it, with
    which a package could mark its failure as skipped. So `#` becomes `\x23`.
    """
    return text.replace("#", "\\x23").replace("\\", "\\\\")


def _quoted(text: str) -> str:
    """Return a JSON string, which is valid YAML, too.

    Evidence is one string rather than a list or a block: Perl's small YAML reader takes a quoted
    list item with a colon for a key, and some readers end a block at a line of dots.
    """
    return json.dumps(text, ensure_ascii=False)
