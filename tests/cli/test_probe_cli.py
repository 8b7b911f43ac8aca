"""`postroj pkgprobe`: what is asked, where reports go, the exit status; probing is a fake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from postroj import matrix
from postroj.cli.probe import pkgprobe
from postroj.container import guest
from postroj.errors import DownloadError, Interrupted
from postroj.model import (
    CheckKind,
    CheckResult,
    NetworkMode,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)
from postroj.probe.checks import Question
from postroj.probe.ports import Expectation
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path


def report(outcome: Outcome) -> Report:
    """A report whose worst is `outcome`."""
    check = CheckResult(
        kind=CheckKind.UNIT, subject="x.service", outcome=outcome, reason="because", seconds=1
    )
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.SKIP if outcome is Outcome.SKIP else Outcome.PASS,
        reason="x 1.0 (all)",
        seconds=2,
        checks=(check,),
    )
    return Report(probes=(ProbeResult(image="debian-trixie", package="x.deb", steps=(step,)),))


class Recorder:
    """Stands in for `matrix.probe_all`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.outcome = Outcome.PASS
        self.error: BaseException | None = None

    def __call__(self, names: Any, packages: Any, digests: Any, plan: Any, audience: Any) -> Report:
        self.calls.append((names, packages, digests, plan))
        if self.error:
            raise self.error
        found = report(self.outcome)
        for probe in found.probes:
            audience.begin_probe(probe.image, probe.package)
            for step in probe.steps:
                audience.end_step(step)
                for check in step.checks:
                    audience.end_check(check)
            audience.end_probe(probe)
        return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(matrix, "probe_all", recorder)
    monkeypatch.setattr(guest, "require_root", lambda: None)
    return recorder


def run(*argv: str) -> tuple[int, Result]:
    done = CliRunner().invoke(pkgprobe, ["-p", "x.deb", *argv], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done


@pytest.mark.parametrize(
    ("outcome", "status", "verdict"),
    [
        (Outcome.PASS, 0, "PASS: all passed, 1 of 1 checks passed"),
        (Outcome.FAIL, 1, "FAIL: the package is to blame, 0 of 1 checks passed"),
        (Outcome.SKIP, 3, "SKIP: nothing was tested, 0 of 1 checks passed"),
        (Outcome.ERROR, 4, "ERROR: the package was not judged, 0 of 1 checks passed"),
    ],
)
def test_the_exit_status_is_the_outcome(
    seen: Recorder, outcome: Outcome, status: int, verdict: str
) -> None:
    seen.outcome = outcome
    code, done = run()
    assert code == status
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "x.deb on debian-trixie"
    assert lines[-1].startswith(verdict)


def test_json_goes_to_stdout_alone(seen: Recorder) -> None:
    _, done = run("--json")
    assert json.loads(done.stdout)["outcome"] == "pass"
    assert done.stderr.splitlines()[-1].startswith("PASS: ")


def test_reports_go_to_files(seen: Recorder, tmp_path: Path) -> None:
    seen.outcome = Outcome.FAIL
    files = [tmp_path / "a=b.json", tmp_path / "second.json"]
    code, done = run(*(word for file in files for word in ("--report", f"json={file}")))
    assert code == 1
    assert [json.loads(file.read_text())["outcome"] for file in files] == ["fail", "fail"]
    assert "{" not in done.stdout


def test_what_is_asked(seen: Recorder) -> None:
    run(
        *("-p", "y.deb", "-i", "debian-sid", "--image", "debian-13", "--network", "none"),
        *("--check-command", "a b", "--check-unit", "u", "--check-file", "/f"),
        *("--check-network", "http://127.0.0.1/", "--check-unit", "v"),
        *("--expect-status", "404", "--expect-body", "no", "--settle", "1", "--check-timeout", "2"),
        *("--timeout", "3", "--boot-timeout", "4", "--sha256", "00", "--sha256", "11"),
    )
    ((names, packages, digests, plan),) = seen.calls
    assert names == ["debian-sid", "debian-trixie"]
    assert packages == ("x.deb", "y.deb")
    assert digests == ("00", "11")
    assert plan.questions == (
        Question(kind=CheckKind.UNIT, subject="u"),
        Question(kind=CheckKind.UNIT, subject="v"),
        Question(kind=CheckKind.NETWORK, subject="http://127.0.0.1/"),
        Question(kind=CheckKind.FILE, subject="/f"),
        Question(kind=CheckKind.COMMAND, subject="a b"),
    )
    assert (plan.manners.settle, plan.manners.timeout) == (1, 2)
    assert plan.manners.expected == Expectation(status=404, body="no")
    assert (plan.timeout, plan.boot_timeout, plan.network) == (3, 4, NetworkMode.NONE)


def test_unless_told_otherwise(seen: Recorder) -> None:
    run()
    ((names, _, digests, plan),) = seen.calls
    assert names == ["debian-trixie"]
    assert digests == ()
    assert plan.questions == ()
    assert (plan.manners.settle, plan.manners.timeout) == (3, 30)
    assert plan.manners.expected == Expectation()
    assert plan.network is NetworkMode.PRIVATE


def test_errors_have_no_report(seen: Recorder, tmp_path: Path) -> None:
    seen.error = DownloadError("404")
    with pytest.raises(DownloadError):
        run("--json", "--report", f"json={tmp_path / 'r.json'}")
    assert not (tmp_path / "r.json").exists()


def test_an_interruption_passes_through(seen: Recorder) -> None:
    seen.error = Interrupted(15)
    done = CliRunner().invoke(pkgprobe, ["-p", "x.deb"], standalone_mode=False)
    assert done.stdout == ""
    assert done.exit_code == 1
    assert done.exception
    assert done.exception.__cause__ is seen.error or done.exception is seen.error


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--check-network", "localhost:80"], "'localhost:80' is no address to check"),
        (["--check-network", "tcp://x:99999"], "'tcp://x:99999' is no address to check"),
        (
            ["--check-file", "etc/x"],
            "`--check-file` takes an absolute path",
        ),
        (["--report", "xml=x"], "'xml=x' is no report"),
        (["--report", "json"], "'json' is no report"),
        (["--report", "json="], "'json=' is no report"),
        (["--report", "json=/no/such/folder/x"], "'/no/such/folder/x' cannot be a file"),
        (["--image", "debian-trixy"], "no image is named 'debian-trixy'"),
    ],
)
def test_what_cannot_be_asked(argv: list[str], words: str) -> None:
    done = postroj("pkgprobe", "--package", "x.deb", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["-p", "x.deb", "--settle", "-1"],
        ["-p", "x.deb", "--timeout", "soon"],
        ["-p", "x.deb", "--expect-status", "ok"],
        ["-p", "x.deb", "--network", "bogus"],
        ["-p", "x.deb", "word"],
    ],
)
def test_wrong_usage(argv: list[str]) -> None:
    done = postroj("pkgprobe", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: `postroj pkgprobe --help`" in done.stderr
