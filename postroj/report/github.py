"""The report for GitHub Actions: annotations on stdout, and a job summary in Markdown."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from postroj.report import facts
from postroj.report import summary as summarised
from postroj.report.cases import suites
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.report.cases import Case, Suite
    from postroj.verdict import Report

LIMIT = 1024 * 1024
"""Maximum size of a step's summary in bytes; GitHub drops a larger one."""
SIGN = {
    Outcome.PASS: "✅ pass",
    Outcome.FAIL: "❌ fail",
    Outcome.ERROR: "💥 error",
    Outcome.SKIP: "⏭️ skip",
}
HEAD = "| image | outcome | passed | time | problems |\n| --- | --- | ---: | ---: | --- |"


def pause(token: str) -> str:
    """Return the line that stops workflow commands until `resume` with the same token.

    In between, the output of a package cannot mask words of the log or forge annotations.
    """
    return f"::stop-commands::{token}"


def resume(token: str) -> str:
    """Return the line that enables workflow commands again."""
    return f"::{token}::"


def commands(report: Report) -> str:
    """Return workflow commands, one on each line; '' if there are none.

    The first problem of every image comes first, as GitHub shows only ten annotations of a step.
    """
    found = [
        (number, _annotation(f"{suite.name}: {case.name}", case))
        for suite in suites(report)
        for number, case in enumerate(suite.bad)
    ]
    lines = [line for _, line in sorted(found, key=lambda pair: pair[0])]
    lines += [
        f"::notice title={_property(suite.name)}::{_data(note)}"
        for suite in suites(report)
        for note in suite.notes
    ]
    lines += [
        f"::notice title={_property(f'{suite.name}: {case.name}')}::{_data(case.sentence)}"
        for suite in suites(report)
        for case in suite.needing
    ]
    if report.outcome is Outcome.SKIP:
        lines.append(f"::warning title=postroj::{_data(summarised.describe(report))}")
    return "\n".join(lines)


def _annotation(title: str, case: Case) -> str:
    return f"::error title={_property(title)}::{_data(chr(10).join(case.lines))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(report: Report, *, room: int = LIMIT) -> str:
    """Return Markdown of at most `room` bytes, with a remark if parts were left out."""
    found = suites(report)
    packages = ", ".join(_code(name) for name in dict.fromkeys(suite.package for suite in found))
    parts = [f"## {SIGN[report.outcome]}: {packages or 'nothing was tested'}\n"]
    if found:
        parts.append("\n".join([HEAD, *map(_row, found)]) + "\n")
    parts += [f"{_code(s.name)} {_text(note)}\n" for s in found for note in s.notes]
    parts += [
        f"{_code(suite.name)} {_code(case.name)} {_text(case.sentence)}\n"
        for suite in found
        for case in suite.needing
    ]
    parts += [_details(suite.name, case) for suite in found for case in suite.bad]
    tested = dict.fromkeys(facts.versions(probe.packages) for probe in report.probes)
    if known := ", ".join(filter(None, (*tested, facts.sentence(report)))):
        parts.append(f"{_text(known)}\n")
    return _fitting(parts, room)


def _row(suite: Suite) -> str:
    passed = f"{suite.count(Outcome.PASS)} of {len(suite.cases)}"
    wrong = "".join(f"{_code(c.name)} {_text(c.sentence)}<br>" for c in suite.bad[:3])
    more = f"and {len(suite.bad) - 3} more" if len(suite.bad) > 3 else ""
    time = f"{suite.seconds:.1f}&nbsp;s"
    cells = (_code(suite.name), SIGN[suite.outcome], passed, time, wrong + more)
    return f"| {' | '.join(cell.removesuffix('<br>') for cell in cells)} |"


def _details(image: str, case: Case) -> str:
    """Return a case as a folded block; the empty line keeps Markdown out of `pre`."""
    title = f"{SIGN[case.outcome]} {_code(image)} {_code(case.name)}"
    evidence = escape("\n".join(case.lines))
    return f"<details><summary>{title}</summary>\n\n<pre>{evidence}</pre>\n\n</details>\n"


def _text(text: str) -> str:
    """Escape everything special to Markdown, HTML or GitHub: links, names, numbers."""
    return re.sub(r"[^\w ]|_", lambda match: f"&#{ord(match[0])};", text)


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _fitting(parts: list[str], room: int) -> str:
    """Join the parts that fit."""
    return "\n".join(_fit(parts, room - 200))


def _fit(parts: list[str], room: int) -> Iterator[str]:
    for number, part in enumerate(parts):
        room -= len(part.encode()) + 1
        if room < 0:
            yield f"{len(parts) - number} parts of the report were left out to keep it short.\n"
            return
        yield part
