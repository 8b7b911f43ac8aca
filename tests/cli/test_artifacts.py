"""`--artifacts`: which files come to lie where, and what is refused before anything starts."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.cli import artifacts
from postroj.cli.reports import outlets
from postroj.errors import UsageError
from postroj.verdict import Evidence, EvidenceName, Outcome, ProbeResult, Report
from tests.support.cli import postroj
from tests.support.root import needs_root
from tests.unit.report.samples import ODD, SAMPLE, check, probe

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_artifacts_have_a_folder_per_image_and_step(tmp_path: Path) -> None:
    broken = ProbeResult(
        image="debian-sid",
        package="x.deb",
        reason="no guest",
        evidence=(Evidence(name=EvidenceName.CONSOLE, text="panic\x1b[31m\x00"),),
    )
    artifacts.write(Report(probes=(*SAMPLE.probes, broken)), tmp_path)
    assert files(tmp_path) == [
        "debian-sid-2/probe/console.txt",
        "debian-trixie/install/cores.txt",
        "debian-trixie/install/jobs.txt",
        "debian-trixie/reproduce.sh",
        "report.json",
    ]
    assert (tmp_path / "debian-sid-2/probe/console.txt").read_text() == "panic\\x00\n"
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == "error"


def test_reproduce_script_takes_more_options(tmp_path: Path) -> None:
    failed = replace(probe("sid", check(Outcome.FAIL)), reproduce="printf %s: 'a  b'")
    artifacts.write(Report(probes=(failed,)), tmp_path)
    script = tmp_path / "sid" / "reproduce.sh"
    done = subprocess.run([script, "c d", "e"], check=True, capture_output=True, text=True)
    assert done.stdout == "a  b:c d:e:"


def test_artifacts_replace_only_files_of_an_earlier_run(tmp_path: Path) -> None:
    artifacts.write(SAMPLE, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("of the user")
    jobs = tmp_path / "debian-trixie/install/jobs.txt"
    jobs.unlink()
    jobs.symlink_to(elsewhere)
    (tmp_path / "debian-trixie/install/cores.txt").write_text("old")
    (tmp_path / "debian-trixie/install/mine.txt").write_text("mine")
    artifacts.write(SAMPLE, tmp_path)
    assert (tmp_path / "debian-trixie/install/cores.txt").read_text() == "\n"
    assert jobs.read_text() == "No jobs running.\n"
    assert elsewhere.read_text() == "of the user"
    assert not jobs.is_symlink()
    assert "debian-trixie/install/mine.txt" in files(tmp_path)


def test_artifacts_of_a_hostile_report_stay_below_the_folder(tmp_path: Path) -> None:
    images = (replace(ODD.probes[1], image=f"image-{number}") for number in range(2))
    artifacts.write(Report(probes=tuple(images)), tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    text = (tmp_path / "in/image-0/install/journal.txt").read_text()
    assert all(char.isprintable() or char == "\n" for char in text)


def test_unwritable_artifacts_do_not_prevent_other_reports(tmp_path: Path) -> None:
    places = outlets([f"json={tmp_path / 'x'}"], io.StringIO(), str(tmp_path / "kept"))
    places.prepare()
    (tmp_path / "kept").rmdir()
    (tmp_path / "kept").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        places.write(SAMPLE)
    assert (tmp_path / "x").exists()


@needs_root
def test_unwritable_artifacts_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        done = postroj("pkgprobe", "-p", "none.deb", "--artifacts", tmp_path / name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: '{tmp_path / name}' cannot be written\n")
    done = postroj("pkgprobe", "-p", "none.deb", "--artifacts", "/proc/none")
    assert done.returncode == 2


def test_shell_on_failure_needs_a_terminal() -> None:
    done = postroj("pkgprobe", "-p", "none.deb", "--shell-on-failure")
    sentence = "error: `--shell-on-failure` needs a terminal on stdin and stdout\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
