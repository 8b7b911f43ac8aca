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

    from postroj.report.cases import Suite
    from postroj.report.markup import Element


class Filters:
    """The filters for the suites of a report; a kind with one value has no boxes."""

    def __init__(self, found: Sequence[Suite]) -> None:
        self._suites = found
        met = {case.outcome for suite in found for case in suite.cases}
        self.outcomes = [outcome for outcome in WORST_FIRST if outcome in met]
        self.images = list(dict.fromkeys(suite.image for suite in found))
        self.packages = list(dict.fromkeys(suite.package for suite in found))

    def classes(self, suite: Suite) -> str:
        """Return the classes of elements that are about a suite."""
        image, package = self._numbers(suite)
        return f"i{image} p{package} {self._kind(suite)}"

    def _numbers(self, suite: Suite) -> tuple[int, int]:
        return self.images.index(suite.image), self.packages.index(suite.package)

    def _kind(self, suite: Suite) -> str:
        """Return a class for suites in which the same outcomes occur."""
        return "-".join(["of", *(o for o in self.outcomes if suite.count(o))])

    def add_to(self, parent: Element) -> None:
        """Append the boxes, all of them checked."""
        kinds: dict[str, Sequence[str]] = {
            "outcome": self.outcomes,
            "image": self.images,
            "package": self.packages,
        }
        many = {kind: names for kind, names in kinds.items() if len(names) > 1}
        if not many:
            return
        bar = add(parent, "nav", class_="filters")
        bar.set("aria-label", "Filters")
        for kind, names in many.items():
            group = add(bar, "fieldset")
            add(group, "legend", kind)
            for number, name in enumerate(names):
                box = f"{kind}-{name if kind == 'outcome' else number}"
                label = add(group, "label", for_=box)
                settings = {"type": "checkbox", "checked": "checked", "autocomplete": "off"}
                add(label, "input", id=box, **settings).tail = f" {name}"

    def rules(self) -> str:
        """Return the rules that hide what is not wanted."""
        return "\n".join(self._rules()) + "\n"

    def _rules(self) -> Iterator[str]:
        hide = "{ display: none }"
        for outcome in self.outcomes:
            gone = f"body:has(#outcome-{outcome}:not(:checked))"
            yield f"{gone} :is(td > .{outcome}, article.{outcome}) {hide}"
        for letter, kind, names in (("i", "image", self.images), ("p", "package", self.packages)):
            for number in range(len(names)) if len(names) > 1 else ():
                yield f"body:has(#{kind}-{number}:not(:checked)) .{letter}{number} {hide}"
        if len(self.outcomes) > 1:
            for kind, met in {self._kind(s): self._of(s) for s in self._suites if s.cases}.items():
                boxes = ", ".join(f"#outcome-{outcome}:checked" for outcome in met)
                yield f"body:not(:has({boxes})) .{kind} {hide}"
        # a row is visible if one of its cells is, and a step if one of its rows is
        yield f"body:has(.filters :not(:checked):is(input)) .matrix tbody tr {hide}"
        cells = {(*self._numbers(s), word) for s in self._suites for word in self._of(s)}
        for image, package, word in sorted(cells):
            needed = [f"#outcome-{word}"] * (len(self.outcomes) > 1)
            needed += [f"#image-{image}"] * (len(self.images) > 1)
            needed += [f"#package-{package}"] * (len(self.packages) > 1)
            wanted = "body" + "".join(f":has({box}:checked)" for box in needed)
            cell = f"td.i{image}.p{package} > .{word}"
            rows = f".matrix :is(tr:has(> {cell}), tbody:has({cell}) > tr.step)"
            yield f"{wanted} {rows} {{ display: var(--row) }}"

    def _of(self, suite: Suite) -> list[str]:
        return [outcome for outcome in self.outcomes if suite.count(outcome)]
