"""`--report`: where the reports go, and that a file is whole or as it was."""

from __future__ import annotations

import io
import json
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from postroj.cli.reports import go_to_stdout, outlets
from postroj.errors import PostrojError, UsageError
from tests.unit.report.samples import NOTHING, ODD, SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = {"json": "{", "junit": "<?xml ", "tap": "TAP version 13\n", "html": "<!DOCTYPE html>\n"}


@pytest.mark.parametrize("report", [SAMPLE, ODD, NOTHING])
def test_report_of_every_kind(tmp_path: Path, report: object) -> None:
    stream = io.StringIO()
    outlets([f"{kind}={tmp_path / kind}" for kind in BEGIN], stream).write(report)  # type: ignore[arg-type]
    for kind, begin in BEGIN.items():
        text = (tmp_path / kind).read_text("utf-8")
        assert text.startswith(begin)
        assert text.endswith("\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(BEGIN)
    assert stream.getvalue() == ""


def test_suffix_of_a_report_says_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"a.json": "json", "a.xml": "junit", "a.tap": "tap", "a.html": "html"}
    outlets(list(names), io.StringIO()).write(SAMPLE)
    for name, kind in names.items():
        assert (tmp_path / name).read_text("utf-8").startswith(BEGIN[kind])
    for text in ("a.txt", "a", "b=a.html", "html="):
        with pytest.raises(UsageError, match="is not a report"):
            outlets([text], io.StringIO())


def test_report_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    outlets(["tap=-"], io.StringIO()).write(SAMPLE)
    assert capsys.readouterr().out.startswith(BEGIN["tap"])
    assert go_to_stdout(["json=x", "tap=-"])
    assert not go_to_stdout(["json=x", "github"])
    with pytest.raises(UsageError, match="two reports would be written to 'stdout'"):
        outlets(["tap=-", "json=-"], io.StringIO())


def test_report_replaces_the_target_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    outlets([f"json={tmp_path / 'link'}"], io.StringIO()).write(SAMPLE)
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "old").read_text())["outcome"] == "error"


def test_report_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    outlets([f"tap={pipe}"], io.StringIO()).write(SAMPLE)
    reader.join(10)
    assert read[0].startswith("TAP version 13\n")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_unwritable_report_does_not_prevent_others(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    places = outlets([f"json={folder / 'x'}", f"tap={tmp_path / 'y'}"], io.StringIO())
    folder.rmdir()
    with pytest.raises(PostrojError, match="gone/x' cannot be written"):
        places.write(SAMPLE)
    assert (tmp_path / "y").exists()


def test_github_report_has_annotations_and_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    stream = io.StringIO()
    places = outlets(["github"], stream)
    with places.guarded():
        stream.write("::error::said by a package\n")
    places.write(SAMPLE)
    pause, said, resume, *errors = stream.getvalue().splitlines()
    token = pause.removeprefix("::stop-commands::")
    assert len(token) >= 32
    assert (said, resume) == ("::error::said by a package", f"::{token}::")
    assert [line[:14] for line in errors] == ["::error title="] * 2
    assert summary.read_text().startswith("before\n## ")


def test_github_commands_resume_after_an_error() -> None:
    stream = io.StringIO()
    error = UsageError("no")
    with pytest.raises(UsageError, match="no"), outlets(["github"], stream).guarded():
        raise error
    pause, resume = stream.getvalue().splitlines()
    assert resume == f"::{pause.removeprefix('::stop-commands::')}::"


def test_no_summary_without_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    stream = io.StringIO()
    outlets(["github"], stream).write(SAMPLE)
    assert len(stream.getvalue().splitlines()) == 2


def test_without_github_no_commands_are_printed() -> None:
    stream = io.StringIO()
    with outlets([], stream).guarded():
        pass
    assert stream.getvalue() == ""
