"""Histories as an HTML page: what broke since when, an overview, and the runs of each history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from postroj.report import page
from postroj.report.cases import anchor_of
from postroj.report.filters import Boxes
from postroj.report.history import DIGITS, changes
from postroj.report.history_text import SHOWN, sentence, title
from postroj.report.markup import add
from postroj.verdict import WORST_FIRST, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.report.history import History, Run
    from postroj.report.markup import Element

TRAIL = 10
"""Number of runs in a cell of the overview."""
COLUMNS = ("date", "outcome", "version", "image", "postroj", "host", "changed", "faults", "report")


def render(found: Sequence[History]) -> str:
    """Return the histories as an HTML document, to be written as UTF-8."""
    shown = _Page(found)
    return page.render("history", shown.fill, "\n".join(shown.boxes.rules()) + "\n")


class _Page:
    """The histories of a page, its boxes, and the addresses in it."""

    def __init__(self, found: Sequence[History]) -> None:
        self.found = found
        met = {one.outcome for one in found}
        self.boxes = Boxes(
            outcome=[outcome for outcome in WORST_FIRST if outcome in met],
            image=list(dict.fromkeys(title(one, found) for one in found)),
            package=list(dict.fromkeys(one.package for one in found)),
        )
        taken: Counter[str] = Counter()
        self.anchors = {id(one): anchor_of(taken, one.package, title(one, found)) for one in found}

    def fill(self, body: Element) -> None:
        """Fill the body of the page."""
        self._add_header(body)
        self.boxes.add_to(body)
        self._add_broken(body)
        self._add_overview(body)
        for one in self.found:
            self._add_runs(body, one)

    def _classes(self, one: History, *more: str) -> str:
        named = self.boxes.class_of(
            outcome=one.outcome, image=title(one, self.found), package=one.package
        )
        return " ".join(filter(None, (*more, named)))

    def _name(self, one: History) -> str:
        return f"{one.package} on {title(one, self.found)}"

    def _add_header(self, body: Element) -> None:
        header = add(body, "header")
        head = add(header, "h1")
        runs = [run for one in self.found for run in one.runs]
        page.badge(head, worst(one.outcome for one in self.found)).tail = "history"
        dates = sorted(run.date for run in runs)
        span = " to ".join(f"{date:%Y-%m-%d}" for date in dict.fromkeys((dates[0], dates[-1])))
        reports = len({run.file for run in runs})
        add(header, "p", f"{len(runs)} runs in {reports} reports, {span}; times are UTC")

    def _add_broken(self, body: Element) -> None:
        bad = sorted(
            (one for one in self.found if one.outcome.is_bad),
            key=lambda one: (not one.is_broken, WORST_FIRST.index(one.outcome)),
        )
        if not bad:
            return
        section = add(body, "section", class_="failures")
        page.headline(section, "broken", "What is broken")
        for one in bad:
            anchor = f"broken--{self.anchors[id(one)]}"
            article = add(section, "article", class_=self._classes(one, one.outcome), id=anchor)
            head = add(article, "h3")
            page.badge(head, one.outcome)
            page.link(head, self._name(one), self.anchors[id(one)])
            page.permalink(head, anchor, self._name(one))
            add(article, "p", sentence(one))
            if one.since:
                _add_faults(article, one.since)

    def _add_overview(self, body: Element) -> None:
        section = add(body, "section")
        page.headline(section, "overview", "Overview")
        images = list(dict.fromkeys(title(one, self.found) for one in self.found))
        cells = {(one.package, title(one, self.found)): one for one in self.found}
        table = add(add(section, "div", class_="scroll"), "table")
        heads = add(add(table, "thead"), "tr")
        add(heads, "th", "package", scope="col")
        for image in images:
            add(heads, "th", image, scope="col", class_=self.boxes.class_of(image=image))
        rows = add(table, "tbody")
        for package in dict.fromkeys(one.package for one in self.found):
            row = add(rows, "tr", class_=self.boxes.class_of(package=package))
            add(row, "th", package, scope="row")
            for image in images:
                one = cells.get((package, image))
                cell = add(row, "td", "" if one else "-", **{"data-image": image})
                named = self.boxes.class_of(image=image)
                cell.set("class", named if one else f"none {named}".strip())
                if one:
                    self._add_trail(cell, one)

    def _add_trail(self, cell: Element, one: History) -> None:
        """Append the outcomes of the last runs, the newest first."""
        inner = add(cell, "div", class_=self.boxes.class_of(outcome=one.outcome))
        newest = page.link(inner, one.outcome, self.anchors[id(one)], f"badge {one.outcome}")
        newest.set("title", one.newest.when)
        if len(one.runs) > 1:
            trail = add(inner, "span", class_="trail")
            for run in one.runs[1:TRAIL]:
                mark = add(trail, "span", run.outcome[0], class_=f"badge {run.outcome}")
                mark.set("title", f"{run.outcome}, {run.when}")

    def _add_runs(self, body: Element, one: History) -> None:
        section = add(body, "section", class_=self._classes(one, "history"))
        page.headline(section, self.anchors[id(one)], self._name(one))
        fold = add(section, "details", **({"open": "open"} if one.outcome.is_bad else {}))
        count = len(one.runs)
        summary = add(fold, "summary")
        page.badge(summary, one.outcome)
        add(summary, "span", f"{count} run{'s'[: count != 1]}", class_="time")
        table = add(add(fold, "div", class_="scroll"), "table")
        heads = add(add(table, "thead"), "tr")
        for column in COLUMNS:
            add(heads, "th", column, scope="col")
        rows = add(table, "tbody")
        for run, before in zip(one.runs, [*one.runs[1:], None], strict=True):
            _add_run(add(rows, "tr"), run, before)


def _add_run(row: Element, run: Run, before: Run | None) -> None:
    add(row, "th", run.when, scope="row")
    cells = {column: add(row, "td", **{"data-image": column}) for column in COLUMNS[1:]}
    page.badge(cells["outcome"], run.outcome)
    cells["version"].text = run.version
    image = add(cells["image"], "code", run.image_digest[:DIGITS] or "-")
    if run.image_digest:
        image.set("title", f"sha256:{run.image_digest}")
    cells["postroj"].text = run.postroj
    cells["host"].text = ", ".join(filter(None, (run.distribution, run.kernel)))
    if before:
        cells["changed"].text = ", ".join(map(str, changes(before, run))) or "nothing"
    _add_faults(cells["faults"], run)
    cells["report"].text = run.file
    for cell in cells.values():
        if not cell.text and not len(cell):
            cell.set("class", "none")


def _add_faults(parent: Element, run: Run) -> None:
    if run.faults:
        faults = add(parent, "ul")
        for where, text in run.faults[:SHOWN]:
            item = add(faults, "li")
            add(item, "code", where).tail = f" {text}"
        if len(run.faults) > SHOWN:
            add(faults, "li", f"and {len(run.faults) - SHOWN} more")
