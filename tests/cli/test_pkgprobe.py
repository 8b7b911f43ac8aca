"""`postroj pkgprobe`: what is asked, where reports go, the exit status; probing is a fake."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from postroj import matrix, paths
from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.container import start
from postroj.container.enter import terminal
from postroj.container.limits import Asked
from postroj.errors import DownloadError, Interrupted, UsageError
from postroj.model import NetworkMode
from postroj.probe.ask.checks import Question
from postroj.probe.ask.ports import HttpCriteria
from postroj.probe.ask.question import Demand
from postroj.probe.configuration import Put
from postroj.tasks import Findings
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)
from tests.support import debs
from tests.support.cli import postroj
from tests.support.root import needs_root

if TYPE_CHECKING:
    from pathlib import Path


def report(outcome: Outcome) -> Report:
    """Return a report with an outcome."""
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
    """Replace `matrix.probe_all`, and record its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.outcome = Outcome.PASS
        self.error: BaseException | None = None
        self.interruption: KeyboardInterrupt | None = None
        self.how: list[dict[str, Any]] = []

    def __call__(
        self, names: Any, packages: Any, digests: Any, plan: Any, stage: Any, **how: Any
    ) -> Findings:
        self.calls.append((names, packages, digests, plan))
        self.how.append(how)
        if self.error:
            raise self.error
        found = report(self.outcome)
        (audience,) = stage.open(["debian-trixie"], 1)
        for probe in found.probes:
            audience.begin_probe(probe.image, probe.package)
            for step in probe.steps:
                audience.end_step(step)
                for check in step.checks:
                    audience.end_check(check)
            audience.end_probe(probe)
        return Findings(report=found, seconds=12, interruption=self.interruption)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(matrix, "probe_all", recorder)
    monkeypatch.setattr(start, "become_root", lambda: None)
    return recorder


def run(*argv: str) -> tuple[int, Result]:
    done = CliRunner().invoke(pkgprobe, ["-p", "x.deb", *argv], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done


@pytest.mark.parametrize(
    ("outcome", "status", "verdict"),
    [
        (Outcome.PASS, 0, "PASS  1 service up; "),
        (Outcome.FAIL, 1, "FAIL  the package is to blame; 1 check failed"),
        (Outcome.SKIP, 3, "SKIP  nothing was tested; 1 check skipped"),
        (Outcome.ERROR, 4, "ERROR  the package was not judged; 1 check not judged"),
    ],
)
def test_exit_status_of_every_outcome(
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
    assert done.stderr.splitlines()[-1].startswith("PASS  ")


def test_report_on_stdout_is_json_alone(seen: Recorder) -> None:
    for options in (["--report", "json=-"], ["--report", "json=-", "--json"]):
        _, done = run(*options)
        assert json.loads(done.stdout)["outcome"] == "pass"
        assert done.stderr.splitlines()[-1].startswith("PASS  ")


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_shows_only_what_did_not_pass(
    seen: Recorder, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("postroj")
    for name in ("handlers", "propagate", "level"):  # to be restored
        monkeypatch.setattr(logger, name, getattr(logger, name))
    _, done = run(option)
    assert done.output == ""
    seen.outcome = Outcome.FAIL
    _, done = run(option)
    head, *_, last = done.stdout.splitlines()
    assert head == "x.deb on debian-trixie"
    assert last.startswith("FAIL  ")
    _, done = run("-v")
    assert done.stdout


def test_report_option_writes_files(seen: Recorder, tmp_path: Path) -> None:
    seen.outcome = Outcome.FAIL
    files = [tmp_path / "a=b.json", tmp_path / "second.json"]
    code, done = run(*(word for file in files for word in ("--report", f"json={file}")))
    assert code == 1
    assert [json.loads(file.read_text())["outcome"] for file in files] == ["fail", "fail"]
    assert "{" not in done.stdout


def test_github_commands_never_mix_with_json(
    seen: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    seen.outcome = Outcome.FAIL
    _, alone = run("--report", "github")
    assert alone.stdout.startswith("::stop-commands::")
    assert alone.stdout.splitlines()[-1].startswith("::error title=debian-trixie")
    _, done = run("--report", "github", "--json")
    assert json.loads(done.stdout)["outcome"] == "fail"
    assert done.stderr.splitlines()[-1].startswith("::error title=debian-trixie")
    assert (tmp_path / "summary").read_text().count("## ❌ fail: ") == 2


def test_options_become_a_plan(seen: Recorder) -> None:
    run(
        *("-p", "y.deb", "-i", "debian-sid", "--image", "debian-13", "--network", "none"),
        *("--check-command", "a b", "--check-unit", "u", "--check-file", "/f"),
        *("--check-network", "http://127.0.0.1/", "--check-unit", "v"),
        *("--expect-status", "404", "--expect-body", "no", "--settle", "1", "--check-timeout", "2"),
        *("--timeout", "3", "--boot-timeout", "4", "--sha256", "00", "--sha256", "11"),
        *("--memory", "2G", "--cpus", "0.5", "--pids", "8", "--private-users"),
    )
    ((names, packages, digests, plan),) = seen.calls
    assert names == ("debian-sid", "debian-13")
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
    assert plan.manners.expected == HttpCriteria(status=404, body="no")
    assert (plan.timeout, plan.boot_timeout, plan.network) == (3, 4, NetworkMode.NONE)
    assert plan.limits == Asked(memory=2 << 30, cpus=0.5, processes=8)
    assert plan.private_users


def test_defaults_of_the_plan(seen: Recorder) -> None:
    run()
    ((names, _, digests, plan),) = seen.calls
    assert names == ()
    assert seen.how == [{"jobs": None, "fail_fast": False}]
    assert digests == ()
    assert plan.questions == ()
    assert (plan.manners.settle, plan.manners.timeout) == (3, 30)
    assert plan.manners.expected == HttpCriteria()
    assert plan.network is NetworkMode.PRIVATE


def test_error_leaves_no_report(seen: Recorder, tmp_path: Path) -> None:
    seen.error = DownloadError("404")
    with pytest.raises(DownloadError, match="404"):
        run("--json", "--report", f"json={tmp_path / 'r.json'}")
    assert not (tmp_path / "r.json").exists()


def test_interruption_sets_the_exit_status(seen: Recorder) -> None:
    seen.error = Interrupted(15)
    done = CliRunner().invoke(pkgprobe, ["-p", "x.deb"], standalone_mode=False)
    assert done.stdout == ""
    assert done.exit_code == 1
    assert done.exception
    assert done.exception.__cause__ is seen.error or done.exception is seen.error


def test_a_report_of_what_was_finished_before_an_interruption(
    seen: Recorder, tmp_path: Path
) -> None:
    seen.interruption = Interrupted(15)
    file = tmp_path / "r.json"
    argv = ["-p", "x.deb", "--json", "--report", f"json={file}"]
    done = CliRunner().invoke(pkgprobe, argv, standalone_mode=False)
    assert json.loads(done.stdout) == json.loads(file.read_text())
    assert done.exception
    assert done.exception.__cause__ is seen.interruption or done.exception is seen.interruption


def test_jobs_and_fail_fast_are_passed_on(seen: Recorder) -> None:
    run("--jobs", "3", "--fail-fast", "--image", "debian-*")
    run("-j", "1", "--keep-going")
    assert seen.how == [{"jobs": 3, "fail_fast": True}, {"jobs": 1, "fail_fast": False}]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--check-network", "localhost:80"], "'localhost:80' is not an address to check"),
        (["--check-network", "tcp://x:99999"], "'tcp://x:99999' is not an address to check"),
        (
            ["--check-file", "etc/x"],
            "`--check-file` takes an absolute path",
        ),
        (["--proxy", "ftp://u:secret@p"], "'ftp://***@p' is not the URL of a proxy"),
        (["--proxy", "http://127.0.0.2", "--network=none"], "the proxy 'http://127.0.0.2' listens"),
        (["--steps", "install,update"], "'update' is not a step"),
        (
            ["--steps", "install,downgrade"],
            "`--steps install,downgrade` is not possible",
        ),
        (["--report", "xml=x"], "'xml=x' is not a report"),
        (["--report", "json"], "'json' is not a report"),
        (["--report", "json="], "'json=' is not a report"),
        (["--report", "github=x"], "'github=x' is not a report"),
        (["--report", "json=x", "--report", "tap=./x"], "two reports would be written to '"),
        (
            ["--report", "json=/no/such/folder/x"],
            "'/no/such/folder/x' is a folder, or its folder does not exist",
        ),
        (["--image", "debian-trixy"], "there is no image 'debian-trixy'"),
        (["-i", "debian-sid", "-i", "nothing-*"], "no image matches 'nothing-*'"),
    ],
)
def test_invalid_values_are_refused(argv: list[str], words: str) -> None:
    done = postroj("pkgprobe", "--package", "x.deb", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["-p", "x.deb", "--settle", "-1"],
        ["-p", "x.deb", "--timeout", "soon"],
        ["-p", "x.deb", "--expect-status", "ok"],
        ["-p", "x.deb", "--network", "bogus"],
        ["-p", "x.deb", "word"],
        ["-p", "x.deb", "--jobs", "0"],
    ],
)
def test_usage_errors_point_to_the_help(argv: list[str]) -> None:
    done = postroj("pkgprobe", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: see `postroj pkgprobe --help`" in done.stderr


@pytest.mark.parametrize(
    ("argv", "steps", "older", "from_repository"),
    [
        ([], "install start", (), False),
        (["--steps", "install,reinstall,purge"], "install reinstall purge", (), False),
        (["--upgrade-from", "old.deb"], "install start upgrade", ("old.deb",), False),
        (["--upgrade-from", "repo"], "install start upgrade", (), True),
        (["--steps", "install,upgrade"], "install upgrade", (), False),
        (
            ["--upgrade-from", "a.deb", "--upgrade-from", "b.deb", "--steps", "install,upgrade"],
            "install upgrade",
            ("a.deb", "b.deb"),
            False,
        ),
    ],
)
def test_steps_and_upgrade_from(
    seen: Recorder, argv: list[str], steps: str, older: tuple[str, ...], *, from_repository: bool
) -> None:
    run(*argv)
    ((*_, plan),) = seen.calls
    assert " ".join(plan.steps) == steps
    assert (plan.upgrade_from, plan.from_repository) == (older, from_repository)


def test_start_options(seen: Recorder) -> None:
    run()
    run("--start")
    run("--no-start", "--steps", "all")
    run("--start-unit", "x@1", "--steps", "install")
    steps = [" ".join(plan.steps) for *_, plan in seen.calls]
    assert steps[:2] == ["install start"] * 2
    assert "start" not in steps[2].split()
    assert steps[3] == "install start"
    assert [plan.must_start for *_, plan in seen.calls] == [False, True, False, True]
    *_, plan = seen.calls[3]
    assert plan.start_units == ("x@1",)
    assert plan.questions == (Question(kind=CheckKind.UNIT, subject="x@1", since=StepName.START),)
    with pytest.raises(UsageError, match="`--no-start` and `--start-unit` cannot be combined"):
        run("--no-start", "--start-unit", "x")


def test_after_binds_the_checks_behind_it(seen: Recorder) -> None:
    run(
        *("--steps", "install,start,upgrade,reboot", "--check-file", "/a"),
        *("--after", "upgrade", "--check-unit", "new", "--check-file", "/b"),
        *("--after", "install", "--check-unit", "early"),
    )
    ((*_, plan),) = seen.calls
    assert {question.subject: question.since for question in plan.questions} == {
        "/a": None,
        "/b": StepName.UPGRADE,
        "new": StepName.UPGRADE,
        "early": StepName.INSTALL,
    }
    line = plan.reproduction.command("i")
    assert line.endswith(" --steps install,start,upgrade,reboot")
    assert (
        "--check-file /a --after install --check-unit early"
        " --after upgrade --check-unit new --check-file /b" in line
    )


@pytest.mark.parametrize("step", ["reboot", "purge", "bogus"])
def test_after_takes_a_step_of_the_probe_that_leaves_the_package(seen: Recorder, step: str) -> None:
    with pytest.raises(UsageError, match=f"a check cannot be asked from '{step}' on") as caught:
        run("--steps", "install,start,purge", "--after", step, "--check-file", "/b")
    assert caught.value.hint == "steps of the probe with checks: install, start"


def test_check_unit_takes_words_about_the_installation(seen: Recorder) -> None:
    run("--check-unit", "x,enabled,running", "--check-unit", "y,idle", "--check-unit", "z,enabled")
    ((*_, plan),) = seen.calls
    assert [(q.subject, q.demand, q.since) for q in plan.questions] == [
        ("x,enabled", Demand.ENABLED, None),
        ("x", None, StepName.INSTALL),
        ("y,idle", Demand.IDLE, None),
        ("z,enabled", Demand.ENABLED, None),
        ("z", None, None),
    ]
    with pytest.raises(UsageError, match="'up' is not a word for a unit"):
        run("--check-unit", "x,up")


def test_put_and_env_become_a_plan(
    seen: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b.conf").touch()
    run("--put", "a:b.conf:/etc/x", "--put", f"@start:{tmp_path}/a:b.conf:/y", "--env", "A=b=c")
    ((*_, plan),) = seen.calls
    source = tmp_path / "a:b.conf"
    assert plan.puts == (
        Put(source=source, path="/etc/x"),
        Put(source=source, path="/y", is_late=True),
    )
    assert plan.environment == {"A": "b=c"}
    assert f"--put {source}:/etc/x --put @start:{source}:/y" in plan.reproduction.command("i")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--put", "a.conf"), "`--put` takes FILE:PATH with an absolute path"),
        (("--put", "a.conf:etc/x"), "`--put` takes FILE:PATH with an absolute path"),
        (("--put", "a.conf:/"), "`--put` takes FILE:PATH with an absolute path"),
        (("--put", "/none:/etc/x"), "'/none' is not a file"),
        (("--env", "A"), "`--env` takes NAME=VALUE in one line, not 'A'"),
        (("--env", "1=2"), "`--env` takes NAME=VALUE in one line"),
        (("--env", "A=b\nc"), "`--env` takes NAME=VALUE in one line"),
    ],
)
def test_put_and_env_refuse_other_forms(seen: Recorder, argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        run(*argv)


def test_no_recommends_option(seen: Recorder) -> None:
    run()
    run("--no-recommends")
    assert [plan.recommends for *_, plan in seen.calls] == [True, False]


def test_no_discover_option(seen: Recorder) -> None:
    run()
    run("--no-discover")
    assert [plan.discover for *_, plan in seen.calls] == [True, False]


def test_setup_refresh_and_offline(seen: Recorder) -> None:
    run("--setup", "one; two", "--setup", "three", "--refresh")
    run("--offline")
    run()
    plans = [call[3] for call in seen.calls]
    assert [plan.setup for plan in plans] == [("one; two", "three"), (), ()]
    assert [plan.refresh for plan in plans] == [True, False, False]
    assert [plan.offline for plan in plans] == [False, True, False]


def test_refresh_and_offline_cannot_be_combined(seen: Recorder) -> None:
    with pytest.raises(UsageError, match="downloads, `--offline` forbids it"):
        run("--refresh", "--offline")
    assert not seen.calls


@needs_root
@pytest.mark.parametrize(
    "argv",
    [["-p", "http://mirror.example/x.deb"], ["-p", __file__, "--upgrade-from", "http://x/y.deb"]],
)
def test_offline_refuses_urls(argv: list[str]) -> None:
    done = postroj("pkgprobe", "--image", "debian-trixie", "--offline", *argv)
    assert done.returncode == 2
    assert "error: `--offline` downloads nothing, so 'http://" in done.stderr


@needs_root
def test_offline_does_not_pull() -> None:
    package = debs.build(paths.cache_dir().parent, "x")
    done = postroj("pkgprobe", "--image", "debian-trixie", "--offline", "-p", package)
    assert done.returncode == 4
    assert "the image 'debian-trixie' is not cached, and `--offline` is set" in done.stdout
    assert "hint: `postroj pull debian-trixie` downloads it" in done.stdout


def test_shell_on_failure_refuses_several_jobs(
    seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "is_interactive", lambda: True)
    run("--shell-on-failure")
    run("--shell-on-failure", "--jobs", "1")
    assert [how["jobs"] for how in seen.how] == [1, 1]
    assert all(plan.visit for *_, plan in seen.calls)
    with pytest.raises(UsageError, match="does not work with `--jobs`"):
        run("--shell-on-failure", "--jobs", "2")


def test_plan_has_its_reproduction(seen: Recorder, tmp_path: Path) -> None:
    run("--settle", "1")
    ((*_, plan),) = seen.calls
    assert plan.visit is None
    assert plan.command("debian-sid").endswith("/x.deb --image debian-sid --settle 1")


def test_after_completes_steps_with_checks() -> None:
    (after,) = [one for one in pkgprobe.params if one.name == "after"]
    context = click.Context(pkgprobe)
    names = [item.value for item in after.shell_complete(context, "re")]
    assert names == ["reinstall", "reboot"]
