"""The report as JUnit XML, for Jenkins, GitLab and others.

No standard describes it; the output is valid against `junit-10.xsd` of Jenkins' xUnit plugin. A
suite is a probe. A case is a step or check, with at most one of `failure` (the package is to
blame), `error` (the package was not judged) and `skipped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from postroj.report import facts
from postroj.report.cases import suites
from postroj.report.markup import Element, add
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroj.report.cases import Case, Suite
    from postroj.report.facts import Facts
    from postroj.verdict import Report

ELEMENT = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.SKIP: "skipped"}

ROOM = 8 << 10
"""Maximum bytes of each piece of evidence, as CI servers store these files for long."""


def render(report: Report) -> str:
    """Return the report as an XML document, to be written as UTF-8."""
    found = suites(report)
    root = Element("testsuites", {"name": "postroj", **_numbers(found)})
    for suite in found:
        _add_suite(root, suite, facts.of_report(report))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def _add_suite(root: Element, suite: Suite, of_run: Facts) -> None:
    skipped = str(suite.count(Outcome.SKIP))
    element = add(root, "testsuite", name=suite.name, **_numbers([suite]), skipped=skipped)
    if date := dict(suite.facts).get("date"):
        element.set("timestamp", date)
    properties = add(element, "properties")
    add(properties, "property", name="package", value=suite.package)
    for name, value in (*of_run, *suite.facts):
        if name != "date":
            add(properties, "property", name=name, value=value)
    for note in suite.notes:
        add(properties, "property", name="note", value=note)
    for case in suite.cases:
        _add_case(element, suite, case)


def _add_case(parent: Element, suite: Suite, case: Case) -> None:
    seconds = f"{case.seconds:.3f}"
    element = add(parent, "testcase", classname=suite.name, name=case.name, time=seconds)
    if case.outcome is Outcome.PASS:
        add(element, "system-out", "\n".join(case.lines))
        return
    bad = add(element, ELEMENT[case.outcome], message=case.sentence)
    if case.outcome is not Outcome.SKIP:
        bad.set("type", case.outcome)
        bad.text = "\n".join(case.lines)
    if case.needs:
        add(element, "system-out", f"needs: {case.needs}")
    if case.kept:
        said = [f"== {name} ==\n{text}\n" for name, text in case.excerpts(ROOM)]
        add(element, "system-out", "\n".join(said))


def _numbers(found: Iterable[Suite]) -> dict[str, str]:
    found = tuple(found)
    return {
        "tests": str(sum(len(suite.cases) for suite in found)),
        "failures": str(sum(suite.count(Outcome.FAIL) for suite in found)),
        "errors": str(sum(suite.count(Outcome.ERROR) for suite in found)),
        "time": f"{sum(suite.seconds for suite in found):.3f}",
    }
