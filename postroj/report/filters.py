"""Boxes that hide outcomes, images and packages of a page, by rules of its style alone.

Where a browser or the policy of a site allows no such rules, everything is visible. The rules name
images and packages by numbers, so nothing of a report gets into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.report.markup import add
from postroj.verdict import WORST_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.report.cases import Case, Suite
    from postroj.report.markup import Element
    from postroj.verdict import Outcome


HIDE = "{ display: none }"


class Boxes:
    """A box for each value of each kind; a kind with one value has none."""

    def __init__(self, **kinds: Sequence[str]) -> None:
        self._kinds = {kind: values for kind, values in kinds.items() if len(values) > 1}

    def box(self, kind: str, value: str) -> str:
        """Return the id of a box; '' if the kind has none."""
        found = self._kinds.get(kind, ())
        return f"filter--{kind}-{found.index(value)}" if value in found else ""

    def class_of(self, **values: str) -> str:
        """Return the classes of elements that the boxes of these values hide."""
        return " ".join(f"of-{box}" for kind in values if (box := self.box(kind, values[kind])))

    def add_to(self, parent: Element) -> None:
        """Append the boxes, all of them checked."""
        if not self._kinds:
            return
        bar = add(parent, "nav", class_="filters")
        bar.set("aria-label", "Filters")
        for kind, values in self._kinds.items():
            group = add(bar, "fieldset")
            add(group, "legend", kind)
            for value in values:
                box = self.box(kind, value)
                settings = {"type": "checkbox", "checked": "checked", "autocomplete": "off"}
                label = add(group, "label", for_=box)
                add(label, "input", id=box, **settings).tail = f" {value}"

    def rules(self) -> Iterator[str]:
        """Yield the rules by which a box hides the elements of its class."""
        for kind, values in self._kinds.items():
            for value in values:
                box = self.box(kind, value)
                yield f"body:has(#{box}:not(:checked)) .of-{box} {HIDE}"


class MatrixFilters:
    """The boxes of a matrix of cases and suites."""

    def __init__(self, found: Sequence[Suite]) -> None:
        self._suites = found
        met = {case.outcome for suite in found for case in suite.cases}
        self._outcomes = [outcome for outcome in WORST_FIRST if outcome in met]
        self.boxes = Boxes(
            outcome=self._outcomes,
            image=list(dict.fromkeys(suite.image for suite in found)),
            package=list(dict.fromkeys(suite.package for suite in found)),
        )

    def classes(self, suite: Suite) -> str:
        """Return the classes of elements that are about a suite."""
        named = self.boxes.class_of(image=suite.image, package=suite.package)
        return f"{named} {self._kind(suite)}".strip()

    def classes_of_case(self, case: Case) -> str:
        """Return the classes of an element that is about a case."""
        named = self.boxes.class_of(outcome=case.outcome)
        return f"{case.outcome} {named}".strip()

    def _met(self, suite: Suite) -> list[Outcome]:
        return [outcome for outcome in self._outcomes if suite.count(outcome)]

    def _kind(self, suite: Suite) -> str:
        """Return a class for suites in which the same outcomes occur."""
        return "-".join(["met", *self._met(suite)])

    def rules(self) -> str:
        """Return the rules that hide what is not wanted."""
        return "\n".join([*self.boxes.rules(), *self._rules()]) + "\n"

    def _rules(self) -> Iterator[str]:
        # a suite is visible if one of its cases is
        if len(self._outcomes) > 1:
            for kind, met in {self._kind(s): self._met(s) for s in self._suites}.items():
                checked = ", ".join(f"#{self.boxes.box('outcome', one)}:checked" for one in met)
                if checked:
                    yield f"body:not(:has({checked})) .{kind} {HIDE}"
        # a row is visible if one of its cells is, and a step if one of its rows is
        yield f"body:has(.filters input:not(:checked)) .matrix tbody tr {HIDE}"
        cells = {
            (self.boxes.class_of(image=s.image, package=s.package), outcome): (
                self.boxes.box("outcome", outcome),
                self.boxes.box("image", s.image),
                self.boxes.box("package", s.package),
            )
            for s in self._suites
            for outcome in self._met(s)
        }
        for (named, outcome), boxes in cells.items():
            wanted = "body" + "".join(f":has(#{box}:checked)" for box in boxes if box)
            cell = ".".join(["td", *named.split()]) + f" > .{outcome}"
            rows = f".matrix :is(tr:has(> {cell}), tbody:has({cell}) > tr.step)"
            yield f"{wanted} {rows} {{ display: var(--row) }}"
