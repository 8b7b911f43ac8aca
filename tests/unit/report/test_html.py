"""The page: whole, without anything from elsewhere, and nothing of a package is markup in it."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from postroj.report.html import POLICY, render
from postroj.verdict import Outcome, Report
from tests.unit.report.samples import HOSTILE, NOTHING, ODD, SAMPLE, check, probe

VOID = {"meta"}


class Page(HTMLParser):
    """Collect tags, attributes, and texts with their enclosing elements, as a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text for around, text in self.texts if around == tag]


@pytest.mark.parametrize("report", [SAMPLE, ODD, NOTHING])
def test_page_loads_nothing_and_has_no_scripts(report: Report) -> None:
    page = Page(render(report))
    used = {tag for tag, _ in page.tags}
    assert not used & {"script", "link", "img", "iframe", "object", "a", "form", "base", "svg"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert attributes <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "data-image"),
    }
    (style,) = page.of("style")
    assert "url(" not in style
    assert "@import" not in style
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in page.tags


def test_markup_of_a_package_is_escaped() -> None:
    page = Page(render(ODD))
    assert any("</style><script>alert(1)</script>" in text for text in page.of("code"))
    assert any("<img src=//evil onerror=x>" in text for text in page.of("pre"))
    assert all(char.isprintable() or char == "\n" for char in render(ODD))
    assert HOSTILE not in render(ODD)


def test_matrix_has_a_row_per_check_and_a_column_per_image() -> None:
    page = Page(render(SAMPLE))
    images = [text.strip() for text in page.of("th")]
    assert images[1:4] == ["debian-trixie", "debian-sid", "fedora-43"]
    cells = [attrs["data-image"] for tag, attrs in page.tags if tag == "td"]
    rows = ["install", "redis-server.service", "redis-server@.service", "tcp://127.0.0.1:6380"]
    assert cells == ["debian-trixie", "debian-sid", "fedora-43"] * (len(rows) + 1)
    assert images[4:6] == ["probe", "install"]
    assert "images: 1 error, 1 fail, 1 pass; steps and checks: 1 error, 1 fail, 4 pass, 1 skip" in (
        page.of("p")
    )
    assert len([1 for tag, attrs in page.tags if attrs.get("class") == "none"]) == 8
    for text in ("listens: 127.0.0.1:6379", "brings 2 units", "log line"):
        assert text in page.of("pre")
    assert "hint: `postroj doctor` shows what is lacking" in page.of("p")


def test_matrix_has_every_answer_in_its_cell() -> None:
    report = Report(probes=(probe("one", *(check(o, subject="same") for o in Outcome)),))
    folds = [attrs["class"] for tag, attrs in Page(render(report)).tags if tag == "details"]
    assert folds == ["pass", *Outcome, "image"]


def test_failures_are_visible_while_folded() -> None:
    text = render(SAMPLE)
    start = text.index("connection refused")
    assert text.rindex("<summary>", 0, start) > text.rindex("</summary>", 0, start)


def test_report_without_probes() -> None:
    page = Page(render(NOTHING))
    assert page.of("h1") == ["nothing was tested"]
    assert not [tag for tag, _ in page.tags if tag == "table"]


def test_notes_are_visible_while_folded() -> None:
    noted = replace(probe("debian-sid", check(Outcome.PASS)), notes=("it can go",))
    assert '<p class="note">debian-sid: it can go</p>' in render(Report(probes=(noted,)))


def test_evidence_is_folded_below_its_failure() -> None:
    page = Page(render(SAMPLE))
    assert "No jobs running." in page.of("pre")
    assert "nothing" in page.of("pre")
    assert page.of("code").count("postroj pkgprobe --image debian-trixie") == 1
    assert "postroj pkgprobe --image debian-sid" not in page.of("code")
    folds = [attrs["class"] for tag, attrs in page.tags if tag == "details"]
    assert folds[folds.index("fail") + 1 :][:2] == ["said", "said"]
