"""The report as the Test Anything Protocol: a test point a step or check.

What is written is valid as version 13 and as version 14, and says 13, since the harness of Perl
refuses any later number. Test points are not nested: most consumers know no subtests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from postroj.report.cases import suites
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.report.cases import Case
    from postroj.verdict import Report


def render(report: Report) -> str:
    """Return the report as lines, to be written as UTF-8."""
    found = suites(report)
    points = [(suite.name, case) for suite in found for case in suite.cases]
    plan = f"1..{len(points)}" if points else "1..0 # SKIP nothing was tested"
    lines = ["TAP version 13", plan]
    for number, (image, case) in enumerate(points, start=1):
        lines += _point(number, image, case)
    lines += [f"# {suite.name}: {note}" for suite in found for note in suite.notes]
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
    r"""Escape what has a meaning in a test line.

    The protocol escapes `#` as `\#`, but not all consumers know that: to them, what stands behind
    it would be a directive, and a failure could be called skipped by a package. So it is spelled.
    """
    return text.replace("#", "\\x23").replace("\\", "\\\\")


def _quoted(text: str) -> str:
    """Return a string of JSON: it is one of YAML as well.

    The evidence is one string too: the little YAML that Perl reads takes a quoted string in a list
    for a key if there is a colon in it, and to some a line of dots ends any block.
    """
    return json.dumps(text, ensure_ascii=False)
