"""What GitHub is told: commands that a package cannot forge, a summary that it cannot format."""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from postroj.report import github
from postroj.report.cases import suites
from postroj.verdict import Outcome, Report
from tests.unit.report.samples import HOSTILE, NOTHING, ODD, SAMPLE, check, probe

COMMAND = re.compile(r"::(?:error|notice) title=(?P<title>[^:,\r\n]+)::(?P<message>[^\r\n]*)")


def decoded(text: str) -> str:
    """Unescape a property or message as the runner does, percent signs last."""
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def test_commands_annotate_bad_cases() -> None:
    assert github.commands(SAMPLE).splitlines() == [
        "::error title=debian-trixie%3A install%3A network tcp%3A//127.0.0.1%3A6380"
        "::connection refused for 5 s%0Alistens: 127.0.0.1:6379",
        "::error title=fedora-43%3A probe"
        "::no guest%0Alog line%0Ahint: `postroj doctor` shows what is lacking",
    ]


def test_commands_begin_with_one_case_of_each_image() -> None:
    bad = [check(Outcome.FAIL, subject=name) for name in "ab"]
    report = Report(probes=(probe("one", *bad), probe("two", *bad)))
    lines = github.commands(report).splitlines()
    titles = [decoded(line.split("::")[1]).removeprefix("error title=") for line in lines]
    assert titles == [f"{i}: install: unit {c}" for c in "ab" for i in ("one", "two")]


def test_commands_cannot_be_forged() -> None:
    bad = [(suite, case) for suite in suites(ODD) for case in suite.bad]
    notes = [(suite.name, note) for suite in suites(ODD) for note in suite.notes]
    lines = github.commands(ODD).split("\n")
    assert len(notes) == 1
    assert len(lines) == len(bad) + len(notes)
    matches = [COMMAND.fullmatch(line) for line in lines]
    assert all(matches)
    found = {(decoded(m["title"]), decoded(m["message"])) for m in matches if m}
    told = {(f"{s.name}: {c.name}", "\n".join(c.lines)) for s, c in bad}
    assert found == told | set(notes)


def test_commands_are_empty_if_all_passed() -> None:
    assert github.commands(Report(probes=(probe("one", check(Outcome.PASS)),))) == ""


def test_commands_warn_if_nothing_was_tested() -> None:
    assert github.commands(NOTHING) == "::warning title=postroj::nothing was tested"
    assert github.summary(NOTHING) == "## ⏭️ skip: nothing was tested\n"


def test_pause_and_resume_share_a_token() -> None:
    assert (github.pause("abc"), github.resume("abc")) == ("::stop-commands::abc", "::abc::")


def test_summary_has_a_table_and_folded_details() -> None:
    text = html.unescape(github.summary(SAMPLE)).replace("\xa0", " ")
    assert text.startswith("## 💥 error: <code>redis_7.0_amd64.deb</code>\n\n| image |")
    assert "| <code>debian-trixie</code> | ❌ fail | 2 of 4 | 12.8 s | <code>install: n" in text
    assert "| <code>debian-sid</code> | ✅ pass | 2 of 2 | 12.8 s |  |\n" in text
    assert "\n\n<pre>connection refused for 5 s\nlistens: 127.0.0.1:6379</pre>\n\n" in text


def test_summary_escapes_what_a_package_prints() -> None:
    """Text is escaped for Markdown outside `pre`, and for HTML inside."""
    text = github.summary(ODD)
    assert not re.search(r"<(?!/?(code|pre|details|summary|br)>)", text)
    outside = re.sub(r"^<pre>.*?</pre>$", "", text, flags=re.DOTALL | re.MULTILINE)
    title, head, rule, *rows = [line for line in outside.splitlines() if line]
    for line in (title.removeprefix("## ").replace("error: ", ""), *rows):
        bare = re.sub(r"</?[a-z]+>|&#\d+;|&nbsp;", "", line)
        assert not re.search(r"[&<>@#`*_\[\]\\:]", bare)
        assert line.count("|") in (0, len(re.findall(r"\|", head)))
    assert rule.startswith("| ---")


class Rendered(HTMLParser):
    """Parse the summary as Markdown into HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.open: list[str] = []
        self.feed(MarkdownIt("gfm-like").render(text))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs or tag in ("th", "td")
        self.counts[tag] += 1
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("report", [SAMPLE, ODD])
def test_summary_parses_as_a_table_and_folds(report: Report) -> None:
    counts = Rendered(github.summary(report)).counts
    folds = len([case for suite in suites(report) for case in suite.bad])
    assert {tag: counts[tag] for tag in ("h2", "table", "details", "summary", "pre")} == {
        "h2": 1,
        "table": 1,
        "details": folds,
        "summary": folds,
        "pre": folds,
    }
    assert counts["tr"] == len(report.probes) + 1
    frame = {"h2", "table", "thead", "tbody", "tr", "th", "td", "code", "br"}
    assert set(counts) <= frame | {"details", "summary", "pre", "p"}


def test_summary_closes_every_fold() -> None:
    text = github.summary(ODD)
    folds = len([case for suite in suites(ODD) for case in suite.bad])
    for tag in ("details", "pre", "summary"):
        assert text.count(f"<{tag}>") == text.count(f"</{tag}>") == folds


@pytest.mark.parametrize("room", [400, 2_000, 20_000])
def test_summary_fits_the_room(room: int) -> None:
    reason = "\n".join(["refused", *[HOSTILE] * 50])
    report = replace(SAMPLE, probes=(probe("one", *[check(Outcome.FAIL, reason=reason)] * 9),))
    text = github.summary(report, room=room)
    assert len(text.encode()) <= room
    assert "parts of the report were left out" in text
    assert text.count("<details>") == text.count("</details>")
