"""The report as an HTML page: a matrix of checks and images, with folded evidence in its cells.

The page has no scripts and loads nothing; its content security policy forbids both.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from postroj.report.cases import NOT_BEGUN, suites
from postroj.report.markup import Element, add
from postroj.report.visible import visible
from postroj.verdict import WORST_FIRST, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroj.report.cases import Case, Suite
    from postroj.verdict import Discovery, Report

MEANING = {
    Outcome.ERROR: "host, image or network is to blame, the package was not judged",
    Outcome.FAIL: "the package is to blame",
    Outcome.PASS: "works as expected",
    Outcome.SKIP: "not checked, for a reason",
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
ROOM = 32 << 10
"""Maximum bytes of each piece of evidence, as the page has those of all images."""
STYLE = Path(__file__).with_name("page.css")


def render(report: Report) -> str:
    """Return the report as an HTML document, to be written as UTF-8."""
    found = suites(report)
    root = Element("html", lang="en")
    _add_head(root, f"{report.outcome}: {_packages(found)}")
    body = add(root, "body")
    _add_verdict(body, report, found)
    if found:
        _add_matrix(body, found)
        _add_images(body, found)
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}"


def _add_head(root: Element, title: str) -> None:
    head = add(root, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", **{"http-equiv": "Content-Security-Policy", "content": POLICY})
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="referrer", content="no-referrer")
    add(head, "title", f"postroj: {title}")
    add(head, "style", STYLE.read_text("utf-8"))


def _packages(found: Sequence[Suite]) -> str:
    return ", ".join(dict.fromkeys(suite.package for suite in found)) or "nothing was tested"


def _add_verdict(body: Element, report: Report, found: Sequence[Suite]) -> None:
    header = add(body, "header")
    title = add(header, "h1")
    add(title, "span", report.outcome, class_=f"badge {report.outcome}").tail = _packages(found)
    probes = _counted(suite.outcome for suite in found)
    noun = "probes" if len({probe.image for probe in report.probes}) < len(found) else "images"
    answers = _counted(case.outcome for suite in found for case in suite.cases)
    if found:
        add(header, "p", f"{noun}: {probes}; steps and checks: {answers}")
    for suite in found:
        for note in suite.notes:
            add(header, "p", f"{suite.name}: {note}", class_="note")
    legend = add(header, "p", class_="legend")
    for outcome in WORST_FIRST:
        word = add(add(legend, "span"), "span", outcome, class_=f"badge {outcome}")
        word.tail = f" {MEANING[outcome]}"


def _counted(outcomes: Iterable[Outcome]) -> str:
    met = Counter(outcomes)
    return ", ".join(f"{met[outcome]} {outcome}" for outcome in WORST_FIRST if met[outcome])


def _add_matrix(body: Element, found: Sequence[Suite]) -> None:
    table = add(add(body, "div", class_="scroll"), "table")
    heads = add(add(table, "thead"), "tr")
    add(heads, "th", "step and checks", scope="col")
    for suite in found:
        line = add(add(heads, "th", suite.name, scope="col"), "p")
        add(line, "span", suite.outcome, class_=f"badge {suite.outcome}")
        add(line, "span", f"{suite.seconds:.1f} s", class_="time")
    steps = dict.fromkeys(case.step for suite in found for case in suite.cases)
    for step in sorted(steps, key=lambda step: step != NOT_BEGUN):
        _add_step(add(table, "tbody"), step, found)


def _add_step(group: Element, step: str, found: Sequence[Suite]) -> None:
    of_step = [[case for case in suite.cases if case.step == step] for suite in found]
    rows = dict.fromkeys(case.what for cases in of_step for case in cases)
    for what in sorted(rows, key=bool):  # the step comes before its checks
        row = add(group, "tr", class_="check" if what else "step")
        _add_row_head(row, step, what)
        for suite, cases in zip(found, of_step, strict=True):
            _add_cell(row, suite.name, [case for case in cases if case.what == what])


def _add_row_head(row: Element, step: str, what: str) -> None:
    kind, _, subject = what.partition(" ")
    head = add(row, "th", "" if what else step, scope="row")
    if what:
        add(head, "span", kind, class_="kind")
        add(head, "code", subject)


def _add_cell(row: Element, image: str, cases: Sequence[Case]) -> None:
    cell = add(row, "td", "" if cases else "-", **{"data-image": image})
    if not cases:
        cell.set("class", "none")
    for case in cases:
        _add_case(cell, case)


def _add_case(cell: Element, case: Case) -> None:
    is_shown = case.outcome.is_bad or bool(case.needs)
    fold = add(cell, "details", class_=case.outcome)
    summary = add(fold, "summary")
    add(summary, "span", case.outcome, class_="badge")
    add(summary, "span", f"{case.seconds:.1f} s", class_="time")
    add(summary if is_shown else fold, "span", case.sentence, class_="sentence")
    if case.evidence:
        add(fold, "pre", "\n".join(case.evidence))
    if case.hint:
        add(fold, "p", f"hint: {case.hint}", class_="hint")
    for name, text in case.excerpts(ROOM):
        said = add(fold, "details", class_="said")
        add(add(said, "summary"), "span", name, class_="time")
        add(said, "pre", text or "nothing")
    if case.reproduce:
        add(add(fold, "p", "reproduce: ", class_="hint"), "code", case.reproduce)


def _add_images(body: Element, found: Sequence[Suite]) -> None:
    discovered_on = [(suite, suite.discovered) for suite in found if suite.discovered]
    if not discovered_on:
        return
    add(body, "h2", "Contents of the package")
    for suite, discovered in discovered_on:
        fold = add(body, "details", class_="image")
        summary = add(fold, "summary")
        add(summary, "span", suite.name, class_="name")
        names = add(fold, "dl")
        for word, values in _contents(discovered):
            if values:
                add(names, "dt", word)
                add(add(names, "dd"), "code", ", ".join(map(visible, values)))
        counts = [f"{word}: {len(values)}" for word, values in _contents(discovered) if values]
        add(summary, "span", ", ".join(counts) or "nothing", class_="time")


def _contents(found: Discovery) -> Iterable[tuple[str, Sequence[str]]]:
    yield "units", found.units
    yield "SysV scripts", found.scripts
    yield "sockets", [f"{s.protocol} {s.address} {s.unit or s.process}" for s in found.sockets]
    yield "programs", found.programs
    yield "configuration", found.configuration
    yield "users", found.users
    yield "groups", found.groups
