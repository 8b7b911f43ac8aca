"""`postroj report`: which files are read, what is written where, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from postroj.verdict import Outcome
from tests.support.cli import postroj
from tests.unit.report.nights import night, put

if TYPE_CHECKING:
    from pathlib import Path

PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """Return a folder with reports of three nights, and with other files."""
    (tmp_path / "r" / "deep").mkdir(parents=True)
    put(tmp_path / "r", 1, night(1, PASS))
    put(tmp_path / "r" / "deep", 2, night(2, FAIL, "8.0"))
    put(tmp_path / "r" / "deep", 3, night(3, FAIL, "9.0"))
    (tmp_path / "r" / "package.json").write_text('{"name": "x"}')
    (tmp_path / "r" / "notes.txt").write_text("x")
    return tmp_path / "r"


def test_table_of_a_folder(nights: Path) -> None:
    done = postroj("report", nights)
    assert done.returncode == 0
    assert "redis on debian-trixie: fails since 2026-01-02 03:00 (8.0); passed last " in done.stdout
    assert done.stderr == (
        f"left out: '{nights}/package.json' is not a JSON report of postroj: it has no 'probes' "
        "and not the schema 1\n"
    )
    assert postroj("-q", "report", nights).stderr == ""


def test_pattern_and_files(nights: Path) -> None:
    done = postroj("report", f"{nights}/**/0[12].json", nights / "deep/03.json", "--json", "-")
    (one,) = json.loads(done.stdout)["histories"]
    assert [run["version"] for run in one["runs"]] == ["9.0", "8.0", "7.0-1"]
    assert one["runs"][0]["report"] == f"{nights}/deep/03.json"


def test_page_and_json_are_written_beside_the_table(nights: Path) -> None:
    page, data = nights / "h.html", nights / "h.out"
    done = postroj("report", nights, "--html", page, "--json", data)
    assert done.stdout.startswith("package  image ")
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>\n")
    assert json.loads(data.read_text())["histories"]
    assert f"wrote '{page}'" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing"], "'missing' is not a file or folder, and matches none"),
        (["package.json"], "'package.json' is not a JSON report of postroj: it has no 'probes'"),
        (["empty"], "there is no run in these reports"),
        (["01.json", "--html", "missing/x"], "/missing/x' cannot be written"),
        (["01.json", "--html", "-", "--json", "-"], "cannot both go to stdout"),
        ([], "missing argument 'FILE...'"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(
    nights: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nights / "empty").mkdir()
    monkeypatch.chdir(nights)
    done = postroj("report", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("outcomes", "bad", "broken"),
    [([PASS, FAIL], 1, 1), ([FAIL, FAIL], 1, 0), ([PASS, ERROR], 4, 4), ([FAIL, PASS], 0, 0)],
)
def test_fail_on(tmp_path: Path, outcomes: list[Outcome], bad: int, broken: int) -> None:
    for day, outcome in enumerate(outcomes, 1):
        put(tmp_path, day, night(day, outcome))
    assert postroj("report", tmp_path).returncode == 0
    assert postroj("report", tmp_path, "--fail-on", "bad").returncode == bad
    assert postroj("report", tmp_path, "--fail-on", "broken").returncode == broken
