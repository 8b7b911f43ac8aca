"""The report as an HTML page: failures, a matrix of checks and images, and what was tested."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from postroj.model import socket_name
from postroj.report import facts, page
from postroj.report.cases import NOT_BEGUN, anchor_of, suites
from postroj.report.filters import MatrixFilters
from postroj.report.markup import add
from postroj.report.visible import visible
from postroj.verdict import WORST_FIRST, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroj.report.cases import Case, Suite
    from postroj.report.markup import Element
    from postroj.verdict import Discovery, Report

MEANING = {
    Outcome.ERROR: "host, image or network is to blame, the package was not judged",
    Outcome.FAIL: "the package is to blame",
    Outcome.PASS: "works as expected",
    Outcome.SKIP: "not checked, for a reason",
}
ROOM = 32 << 10
"""Maximum bytes of each piece of evidence, as the page has those of all images."""
FAILURES = "failures"
TESTED = "tested"


def render(report: Report) -> str:
    """Return the report as an HTML document, to be written as UTF-8."""
    found = suites(report)
    filters = MatrixFilters(found)

    def fill(body: Element) -> None:
        _add_verdict(body, report, found)
        if found:
            filters.boxes.add_to(body)
            _add_failures(body, found, filters)
            _add_matrix(body, found, filters)
            _add_tested(body, found, filters)

    title = f"{report.outcome}: {_packages(found)}"
    return page.render(title, fill, filters.rules() if found else "")


def _packages(found: Sequence[Suite]) -> str:
    return ", ".join(dict.fromkeys(suite.package for suite in found)) or "nothing was tested"


def _add_verdict(body: Element, report: Report, found: Sequence[Suite]) -> None:
    header = add(body, "header")
    title = add(header, "h1")
    page.badge(title, report.outcome).tail = _packages(found)
    probes = _counted(suite.outcome for suite in found)
    noun = "probes" if len({probe.image for probe in report.probes}) < len(found) else "images"
    answers = _counted(case.outcome for suite in found for case in suite.cases)
    if found:
        add(header, "p", f"{noun}: {probes}; steps and checks: {answers}")
    if made := facts.sentence(report):
        add(header, "p", made)
    for suite in found:
        for note in suite.notes:
            add(header, "p", f"{suite.name}: {note}", class_="note")
    legend = add(header, "p", class_="legend")
    for outcome in WORST_FIRST:
        page.badge(add(legend, "span"), outcome).tail = f" {MEANING[outcome]}"


def _counted(outcomes: Iterable[Outcome]) -> str:
    met = Counter(outcomes)
    return ", ".join(f"{met[outcome]} {outcome}" for outcome in WORST_FIRST if met[outcome])


def _add_failures(body: Element, found: Sequence[Suite], filters: MatrixFilters) -> None:
    if not any(suite.bad for suite in found):
        return
    section = add(body, "section", class_=FAILURES)
    page.headline(section, FAILURES, "Failures")
    for suite in found:
        for case in suite.bad:
            _add_failure(section, suite, case, filters)


def _add_failure(section: Element, suite: Suite, case: Case, filters: MatrixFilters) -> None:
    article = add(section, "article", id=_failure(case))
    article.set("class", f"{filters.classes_of_case(case)} {filters.classes(suite)}")
    title = add(article, "h3")
    page.badge(title, case.outcome).tail = f"{suite.name}: "
    add(title, "code", case.name)
    page.permalink(title, _failure(case), f"failure of {case.name} on {suite.name}")
    if case.first:
        add(article, "p", f"as after {case.first}: {case.sentence}", class_="sentence")
    else:
        _add_sentence(article, case)
        _add_lines(article, case)
    for name, text in case.excerpts(ROOM):
        said = add(article, "details", class_="said")
        add(add(said, "summary"), "span", name, class_="time")
        add(said, "pre", text or "nothing")
    if case.reproduce and not case.first:
        add(add(article, "p", "reproduce: ", class_="hint"), "code", case.reproduce)


def _failure(case: Case) -> str:
    return f"failure--{case.anchor}"


def _add_matrix(body: Element, found: Sequence[Suite], filters: MatrixFilters) -> None:
    table = add(add(body, "div", class_="scroll"), "table", class_="matrix")
    heads = add(add(table, "thead"), "tr")
    add(heads, "th", "step and checks", scope="col")
    for suite in found:
        head = add(heads, "th", suite.name, scope="col", id=suite.anchor)
        head.set("class", filters.classes(suite))
        page.permalink(head, suite.anchor, suite.name)
        line = add(head, "p")
        page.badge(line, suite.outcome)
        add(line, "span", f"{suite.seconds:.1f} s", class_="time")
    taken: Counter[str] = Counter()
    steps = dict.fromkeys(case.step for suite in found for case in suite.cases)
    for step in sorted(steps, key=lambda step: step != NOT_BEGUN):
        _add_step(add(table, "tbody"), step, found, filters, taken)


def _add_step(
    group: Element, step: str, found: Sequence[Suite], filters: MatrixFilters, taken: Counter[str]
) -> None:
    of_step = [[case for case in suite.cases if case.step == step] for suite in found]
    rows = dict.fromkeys(case.what for cases in of_step for case in cases)
    for what in sorted(rows, key=bool):  # the step comes before its checks
        row = add(group, "tr", class_="check" if what else "step")
        _add_row_head(row, step, what, anchor_of(taken, "row", step, what))
        for suite, cases in zip(found, of_step, strict=True):
            shown = [case for case in cases if case.what == what]
            cell = add(row, "td", "" if shown else "-", **{"data-image": suite.name})
            cell.set("class", filters.classes(suite) + (" none" if not shown else ""))
            for case in shown:
                _add_case(cell, case, filters.classes_of_case(case))


def _add_row_head(row: Element, step: str, what: str, anchor: str) -> None:
    kind, _, subject = what.partition(" ")
    head = add(row, "th", "" if what else step, scope="row", id=anchor)
    if what:
        add(head, "span", kind, class_="kind")
        add(head, "code", subject)
    page.permalink(head, anchor, what or step)


def _add_case(cell: Element, case: Case, classes: str) -> None:
    """Append a case; one that went wrong refers to the failures, another unfolds."""
    if case.outcome.is_bad:
        fold = add(cell, "div", class_=f"case {classes}", id=case.anchor)
        line = add(fold, "p")
        add(line, "span", case.outcome, class_="badge")
        add(line, "span", f"{case.seconds:.1f} s", class_="time")
        page.link(line, "details", _failure(case), "details")
        _add_sentence(fold, case)
        return
    fold = add(cell, "details", class_=classes, id=case.anchor)
    summary = add(fold, "summary")
    add(summary, "span", case.outcome, class_="badge")
    add(summary, "span", f"{case.seconds:.1f} s", class_="time")
    _add_sentence(summary if case.needs else fold, case)
    _add_lines(fold, case)


def _add_sentence(parent: Element, case: Case) -> None:
    if case.sentence:
        add(parent, "span", case.sentence, class_="sentence")


def _add_lines(parent: Element, case: Case) -> None:
    if case.evidence:
        add(parent, "pre", "\n".join(case.evidence))
    if case.hint:
        add(parent, "p", f"hint: {case.hint}", class_="hint")


def _add_tested(body: Element, found: Sequence[Suite], filters: MatrixFilters) -> None:
    section = add(body, "section")
    page.headline(section, TESTED, "What was tested")
    for suite in found:
        fold = add(section, "details", id=f"{TESTED}--{suite.anchor}")
        fold.set("class", f"image {filters.classes(suite)}")
        summary = add(fold, "summary")
        add(summary, "span", suite.name, class_="name")
        contents = [pair for pair in _contents(suite.discovered) if pair[1]]
        counts = ", ".join(f"{word}: {len(values)}" for word, values in contents)
        known = ", ".join(filter(None, (suite.versions, counts)))
        add(summary, "span", known or "nothing is known", class_="time")
        rows = [(name.replace(".", " "), value) for name, value in suite.facts]
        rows += [(word, ", ".join(map(visible, values))) for word, values in contents]
        names = add(fold, "dl") if rows else fold
        for name, text in rows:
            add(names, "dt", name)
            add(add(names, "dd"), "code", text)


def _contents(found: Discovery | None) -> Iterable[tuple[str, Sequence[str]]]:
    if found is None:
        return
    yield "units", found.units
    yield "SysV scripts", found.scripts
    names = (f"{s.protocol} {socket_name(s.address)} {s.unit or s.process}" for s in found.sockets)
    yield "sockets", list(names)
    yield "programs", found.programs
    yield "configuration", found.configuration
    yield "users", found.users
    yield "groups", found.groups
