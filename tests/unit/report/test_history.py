"""Histories: reports are read with suspicion, and it is told since when what is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import UsageError
from postroj.report import history_html, history_text, reader
from postroj.report.history import Fault, History, histories
from postroj.verdict import Outcome
from tests.unit.report.nights import night, put
from tests.unit.report.samples import HOSTILE
from tests.unit.report.test_html import Page, assert_is_safe, assert_is_valid

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.report.history import Run
    from postroj.verdict import ProbeResult

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP


def read(file: Path) -> tuple[Run, ...]:
    return reader.read(file.read_bytes(), file.name, file.stat().st_mtime)


def history(tmp_path: Path, *probes: ProbeResult) -> History:
    """Return the only history of probes, each in a report of its own."""
    runs = [run for day, probe in enumerate(probes, 1) for run in read(put(tmp_path, day, probe))]
    (found,) = histories(runs)
    return found


def days(*outcomes: Outcome) -> list[ProbeResult]:
    return [night(day, outcome) for day, outcome in enumerate(outcomes, 1)]


def test_reader_keeps_what_tells_runs_apart(tmp_path: Path) -> None:
    (run,) = read(put(tmp_path, 3, night(3, FAIL, "1:7.0-2"), version="0.2.0"))
    assert (run.package, run.version, run.image) == ("redis", "1:7.0-2", "debian-trixie")
    assert (run.date, run.is_dated) == (datetime(2026, 1, 3, 3, tzinfo=UTC), True)
    assert (run.outcome, run.architecture, run.postroj) == (FAIL, "x86_64", "0.2.0")
    assert (run.image_digest, run.kernel) == ("a" * 64, "6.12.9-amd64")
    assert run.faults == (Fault("install: unit redis.service", "failed, status 1"),)
    assert run.file == "03.json"


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("redis-server_7.0.15-1~deb12u1_amd64.deb", "redis-server", "7.0.15-1~deb12u1"),
        ("redis-7.2.4-1.fc43.x86_64.rpm", "redis", "7.2.4-1.fc43"),
        ("lib-x-1.0-1-any.pkg.tar.zst", "lib-x", "1.0-1"),
        ("b_2_all.deb a_1_all.deb", "a b", "a 1, b 2"),
        ("download", "download", ""),
    ],
)
def test_a_report_without_packages_and_date_is_read_by_names_and_time_of_the_file(
    tmp_path: Path, file: str, name: str, version: str
) -> None:
    document = json.loads(put(tmp_path, 3, night(3, PASS)).read_text())
    for key in ("date", "version", "host"):
        del document[key]
    for key in ("packages", "date", "architecture", "image_digest"):
        del document["probes"][0][key]
    document["probes"][0]["package"] = file
    (run,) = reader.read(json.dumps(document).encode(), "x", 86400 * 365)
    assert (run.package, run.version) == (name, version)
    assert (run.when, run.is_dated) == ("1971-01-01 00:00?", False)
    assert (run.architecture, run.image_digest, run.postroj, run.kernel) == ("", "", "", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be parsed"),
        (b"\xff\xfe{}", "cannot be parsed"),
        (b"[" * 100_000, "cannot be parsed"),
        (b"[]", "is not an object"),
        (b'{"schema": 1}', "no 'probes'"),
        (b'{"schema": 2, "probes": []}', "not the schema 1"),
        (b'{"schema": 1, "histories": []}', "no 'probes'"),
        (b'{"schema": 1, "probes": {}}', "'probes' is not a list"),
        (b'{"schema": 1, "probes": [7]}', "a probe is not an object"),
        (b'{"schema": 1, "probes": [{"outcome": "fine"}]}', "'outcome' is not an outcome"),
        (b'{"schema": 1, "probes": [{"outcome": ["pass"]}]}', "'outcome' is not a text"),
        (b'{"schema": 1, "probes": [{"image": {}}]}', "'image' is not a text"),
        (b'{"schema": 1, "host": [1], "probes": [{}]}', "'host' is not an object"),
        (b'{"schema": 1, "probes": [{"outcome": "fail", "steps": [1]}]}', "a step is not an"),
    ],
)
def test_what_is_no_report_is_refused_in_one_sentence(content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=r"'x\.json' is not a JSON report of postroj: ") as caught:
        reader.read(content, "x.json", 0)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_report_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST", 10)
    with pytest.raises(UsageError, match="it is larger than"):
        reader.read(b'{"schema": 1, "probes": []}', "x", 0)


def test_keys_of_later_versions_and_odd_dates_do_no_harm(tmp_path: Path) -> None:
    document = json.loads(put(tmp_path, 3, night(3, PASS)).read_text())
    document["news"] = document["probes"][0]["news"] = {"x": [1]}
    document["probes"][0]["steps"][0]["name"] = "hibernate"
    for date in ("yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        document["probes"][0]["date"] = date
        (run,) = reader.read(json.dumps(document).encode(), "x", 0)
        assert not run.is_dated
    document["probes"][0]["date"] = "2026-01-03T05:00:00.7+02:00"
    (run,) = reader.read(json.dumps(document).encode(), "x", 0)
    assert run.date == datetime(2026, 1, 3, 3, tzinfo=UTC)


def test_newest_run_counts_whatever_the_order_of_the_reports(tmp_path: Path) -> None:
    first, second = (
        read(put(tmp_path, day, night(day, outcome)))[0] for day, outcome in ((1, PASS), (2, FAIL))
    )
    for runs in ([first, second], [second, first], [first, second, first]):
        (found,) = histories(runs)
        assert found.runs == (second, first)


@pytest.mark.parametrize(
    ("outcomes", "since", "last_pass"),
    [
        ([PASS, PASS, FAIL, FAIL], 3, 2),
        ([PASS, FAIL, ERROR, SKIP, FAIL], 2, 1),
        ([PASS, ERROR, FAIL], 3, 1),
        ([PASS, FAIL, FAIL, ERROR], 4, 1),
        ([FAIL, PASS, FAIL], 3, 2),
        ([FAIL, FAIL], 1, None),
        ([FAIL, PASS], None, 2),
        ([PASS, FAIL, SKIP], None, 1),
    ],
)
def test_since_when_a_package_is_broken(
    tmp_path: Path, outcomes: list[Outcome], since: int | None, last_pass: int | None
) -> None:
    found = history(tmp_path, *days(*outcomes))
    assert (found.since and found.since.date.day) == since
    assert (found.last_pass and found.last_pass.date.day) == last_pass
    assert found.is_broken is (since is not None and last_pass is not None)


def test_changes_are_those_between_the_last_pass_and_the_first_failure(tmp_path: Path) -> None:
    runs = [
        *read(put(tmp_path, 1, night(1, PASS, "6.0"), version="0.0.1")),
        *read(put(tmp_path, 2, night(2, PASS, digest="a"))),
        *read(put(tmp_path, 3, night(3, FAIL, "8.0", digest="b"))),
        *read(put(tmp_path, 4, night(4, FAIL, "9.0", digest="c"), version="0.2.0")),
    ]
    (found,) = histories(runs)
    assert found.changes == (("version", "7.0-1", "8.0"), ("image", "a" * 12, "b" * 12))


def test_a_rebuilt_package_of_the_same_version_is_a_change(tmp_path: Path) -> None:
    before, after = night(1, PASS), night(2, FAIL)
    rebuilt = replace(after, packages=(replace(after.packages[0], sha256="f" * 64),))
    ((what, _, digest),) = history(tmp_path, before, rebuilt).changes
    assert (what, digest) == ("package file", "f" * 12)
    assert history(tmp_path, before, after).changes == ()


def test_packages_images_and_architectures_have_histories_of_their_own(tmp_path: Path) -> None:
    probes = [
        night(1, PASS),
        night(1, PASS, image="fedora-43"),
        night(1, PASS, name="nginx"),
        replace(night(1, PASS), architecture="aarch64"),
    ]
    found = histories(read(put(tmp_path, 1, *probes)))
    assert [(one.package, one.image, one.architecture) for one in found] == [
        ("nginx", "debian-trixie", "x86_64"),
        ("redis", "debian-trixie", "aarch64"),
        ("redis", "debian-trixie", "x86_64"),
        ("redis", "fedora-43", "x86_64"),
    ]
    lines = history_text.render(found, lambda outcome, text: text).splitlines()
    assert lines[2].split()[:3] == ["redis", "debian-trixie", "(aarch64)"]
    assert lines[4].split()[:3] == ["redis", "fedora-43", "pass"]


def test_a_report_without_architecture_belongs_to_the_only_one_known(tmp_path: Path) -> None:
    old = replace(night(1, PASS), architecture="")
    assert len(history(tmp_path, old, night(2, FAIL)).runs) == 2


def test_table_says_what_broke(tmp_path: Path) -> None:
    found = histories(
        [
            *read(put(tmp_path, 1, night(1, PASS), night(1, FAIL, name="nginx"))),
            *read(put(tmp_path, 2, night(2, ERROR, "8.0"), night(2, FAIL, name="nginx"))),
        ]
    )
    text = history_text.render(found, lambda outcome, text: f"<{text}>")
    assert text.splitlines() == [
        "package  image          outcome  version  date              runs",
        "nginx    debian-trixie  <fail>   7.0-1    2026-01-02 03:00  2",
        "redis    debian-trixie  <error>  8.0      2026-01-02 03:00  2",
        "",
        "redis on debian-trixie: not judged since 2026-01-02 03:00 (8.0); passed last 2026-01-01 "
        "03:00 (7.0-1); changed: version 7.0-1 → 8.0",
        "  install: unit redis.service: no name server",
        "",
        "nginx on debian-trixie: fails since 2026-01-01 03:00 (7.0-1); passed in none of these "
        "reports",
        "  install: unit nginx.service: failed, status 1",
    ]


def test_json_of_histories(tmp_path: Path) -> None:
    text = history_text.render_json([history(tmp_path, night(1, PASS), night(2, FAIL, "8.0"))])
    assert text.isascii()
    document = json.loads(text)
    assert document["schema"] == 1
    (one,) = document["histories"]
    assert (one["package"], one["image"], one["outcome"]) == ("redis", "debian-trixie", "fail")
    assert one["broken"] is True
    assert one["changes"] == [{"what": "version", "before": "7.0-1", "after": "8.0"}]
    assert one["since"] == one["runs"][0]
    assert one["last_pass"] == one["runs"][1]
    assert one["runs"][1]["date"] == "2026-01-01T03:00:00Z"
    with pytest.raises(UsageError, match="is not a JSON report"):
        reader.read(text.encode(), "x", 0)


def many(tmp_path: Path) -> list[History]:
    nights = [
        put(tmp_path, day, night(day, outcome), night(day, PASS, image="fedora-43"))
        for day, outcome in enumerate((PASS, FAIL, FAIL), 1)
    ]
    return histories(run for file in nights for run in read(file))


def test_page_of_histories(tmp_path: Path) -> None:
    text = history_html.render(many(tmp_path))
    assert_is_safe(text)
    assert_is_valid(text, tmp_path)
    page = Page(text)
    assert "6 runs in 3 reports, 2026-01-01 to 2026-01-03; times are UTC" in page.of("p")
    assert any(text.startswith("fails since 2026-01-02 03:00") for text in page.of("p"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert {"broken", "overview", "redis--debian-trixie", "redis--fedora-43"} <= set(ids)
    assert [attrs.get("open") for tag, attrs in page.tags if tag == "details"] == ["open", None]
    dates = [text for text in page.of("th") if text.startswith("2026")]
    assert dates == [f"2026-01-0{day} 03:00" for day in (3, 2, 1)] * 2


def test_hostile_report_stays_data(tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(put(tmp_path, 3, night(3, FAIL)).read_text())
    document["version"] = document["host"]["kernel"] = HOSTILE
    (probe,) = document["probes"]
    probe |= {"image": HOSTILE, "architecture": HOSTILE, "image_digest": HOSTILE, "reason": HOSTILE}
    probe["packages"][0] |= {"name": HOSTILE, "version": HOSTILE, "sha256": HOSTILE}
    probe["steps"][0]["checks"][0]["subject"] = HOSTILE
    found = histories(reader.read(json.dumps(document).encode(), HOSTILE, 0))
    text = history_html.render(found)
    assert_is_safe(text)
    assert_is_valid(text, tmp_path)
    assert any("<script>alert(1)</script>" in text for text in Page(text).of("th"))
    table = history_text.render(found, lambda outcome, text: text)
    assert all(line.isprintable() for line in (*text.splitlines(), *table.splitlines()))
