"""The page: whole, without anything from elsewhere, and nothing of a package is markup in it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from postroj.report.html import render
from postroj.report.page import POLICY
from postroj.verdict import (
    Discovery,
    Evidence,
    EvidenceName,
    Host,
    Listener,
    Outcome,
    Package,
    Report,
    StepName,
)
from tests.unit.report.samples import HOSTILE, NOTHING, ODD, SAMPLE, check, probe

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "input"}


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


def assert_is_safe(text: str) -> None:
    """Check that a page runs and loads nothing, and that its policy allows its style only."""
    page = Page(text)
    used = {tag for tag, _ in page.tags}
    assert not used & {"script", "link", "img", "iframe", "object", "form", "base", "svg"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert attributes <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "data-image"),
        *("id", "href", "for", "type", "checked", "autocomplete", "aria-label", "open", "title"),
    }
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9._@-]+", one) for one in ids)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(link.startswith("#") for link in links)
    boxes = {attrs["for"] for tag, attrs in page.tags if tag == "label"}
    assert boxes == {attrs["id"] for tag, attrs in page.tags if tag == "input"}
    (style,) = page.of("style")
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = {"http-equiv": "Content-Security-Policy", "content": POLICY.format(digest)}
    assert ("meta", policy) in page.tags


def assert_is_valid(text: str, folder: Path) -> None:
    """Check a page with tidy, if that is installed."""
    if shutil.which("tidy"):
        file = folder / "page.html"
        file.write_text(text, "utf-8")
        done = subprocess.run(["tidy", "-q", "-e", str(file)], capture_output=True, check=False)
        assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.parametrize("report", [SAMPLE, ODD, NOTHING])
def test_page_is_valid_loads_nothing_and_has_no_scripts(report: Report, tmp_path: Path) -> None:
    assert_is_safe(render(report))
    assert_is_valid(render(report), tmp_path)


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
    assert len([1 for tag, attrs in page.tags if "none" in attrs.get("class", "")]) == 8
    for text in ("listens: 127.0.0.1:6379", "brings 2 units", "log line"):
        assert text in page.of("pre")
    assert "hint: `postroj doctor` shows what is lacking" in page.of("p")


def test_matrix_has_every_answer_in_its_cell() -> None:
    report = Report(probes=(probe("one", *(check(o, subject="same") for o in Outcome)),))
    folds = [attrs["class"] for tag, attrs in Page(render(report)).tags if tag == "details"]
    assert [text.split()[0] for text in folds] == ["pass", "pass", "skip", "image"]
    bad = [attrs["class"] for tag, attrs in Page(render(report)).tags if tag == "div"]
    assert [text.split()[:2] for text in bad] == [["scroll"], ["case", "fail"], ["case", "error"]]


def test_failures_stand_at_the_top_and_unfolded() -> None:
    text = render(SAMPLE)
    start = text.index("connection refused")
    assert text.index('<h2 id="failures">') < start < text.index("<table")
    assert text.count("<details", 0, start) == text.count("</details", 0, start)


def test_a_fault_of_an_earlier_step_is_described_once() -> None:
    fault = check(Outcome.FAIL, reason="gone, main PID 5\nevidence of it")
    first = probe("debian-sid", fault)
    again = replace(
        first.steps[0],
        name=StepName.REBOOT,
        checks=(replace(fault, reason="gone, main PID 9\nmore"),),
    )
    page = Page(render(Report(probes=(replace(first, steps=(*first.steps, again)),))))
    assert "as after install: gone, main PID 9" in page.of("p")
    assert "evidence of it" in page.of("pre")
    assert "more" not in page.of("pre")


def test_a_repeated_fault_keeps_the_texts_of_its_own_step() -> None:
    fault = check(Outcome.FAIL)
    first = probe("debian-sid", fault)
    text = Evidence(name=EvidenceName.JOURNAL, text="rebooted")
    again = replace(first.steps[0], name=StepName.REBOOT, evidence=(text,))
    page = Page(render(Report(probes=(replace(first, steps=(*first.steps, again)),))))
    assert "rebooted" in page.of("pre")
    assert page.of("code").count(first.reproduce) == 1


def test_ids_are_the_same_in_the_report_of_another_version() -> None:
    name = "debian-sid--install--unit-redis-server.service"
    for version in ("7.0", "8.0"):
        package = Package(file=f"redis_{version}_amd64.deb", name="redis", version=version)
        one = probe("debian-sid", check(Outcome.PASS), package=package.file)
        alone = Report(probes=(replace(one, packages=(package,)),))
        assert f'id="{name}"' in render(alone)
        both = Report(probes=(*alone.probes, probe("debian-sid", package="other.deb")))
        assert 'id="debian-sid--redis--install--unit-redis-server.service"' in render(both)


def test_page_says_what_was_tested_when_and_where() -> None:
    package = Package(
        file="redis.deb", name="redis", version="5:7.0", architecture="amd64", sha256="ab" * 32
    )
    one = replace(
        probe("debian-sid"),
        packages=(package,),
        date="2026-01-31T12:00:05Z",
        image_digest="cd" * 32,
    )
    host = Host(kernel="6.12", architecture="x86_64", distribution="Debian 13", is_root=False)
    report = Report(probes=(one,), date="2026-01-31T12:00:00Z", version="0.1", host=host)
    page = Page(render(report))
    assert "postroj 0.1, 2026-01-31T12:00:00Z, Debian 13, kernel 6.12, x86_64, not as root" in (
        page.of("p")
    )
    for text in ("5:7.0", f"sha256:{'ab' * 32}", f"sha256:{'cd' * 32}", "2026-01-31T12:00:05Z"):
        assert text in page.of("code")


def test_padding_of_an_abstract_socket_is_not_shown() -> None:
    heard = Listener(protocol="stream", address="@a@b@@@@", unit="x.service", process="x")
    one = probe("debian-sid")
    step = replace(one.steps[0], discovered=Discovery(sockets=(heard,)))
    page = Page(render(Report(probes=(replace(one, steps=(step,)),))))
    assert "stream @a@b x.service" in page.of("code")


def test_filters_exist_for_what_differs() -> None:
    def boxes(report: Report) -> list[str]:
        inputs = [attrs for tag, attrs in Page(render(report)).tags if tag == "input"]
        return [attrs["id"].removeprefix("filter--") for attrs in inputs]

    outcomes = [f"outcome-{number}" for number in range(4)]
    assert boxes(SAMPLE) == [*outcomes, "image-0", "image-1", "image-2"]
    one = probe("debian-sid", check(Outcome.PASS))
    assert boxes(Report(probes=(one,))) == []
    two = Report(probes=(one, probe("debian-sid", package="other.deb")))
    assert boxes(two) == ["package-0", "package-1"]


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
    assert folds[:2] == ["said", "said"]
