"""`postroj test`: which files it takes, in which sets; probing is a fake."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from postroj import matrix
from postroj.cli import reproduce
from postroj.cli.commands import test as module
from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.container import start
from postroj.errors import UsageError
from postroj.tasks import Findings
from postroj.verdict import ProbeResult, Report
from tests.support import debs
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.probe.plan import Plan

TABLES = """\
image = "debian-trixie"

[[package]]
file = "dist/a.deb"

[[package]]
file = ["dist/b*.deb", "https://mirror.example/c.deb"]
"""


class Recorder:
    """Replace `matrix.probe_each`, and record its arguments."""

    images: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    plan: Plan
    how: dict[str, Any]

    def __call__(self, images: Any, sets: Any, plan: Plan, stage: Any, **how: Any) -> Findings:
        self.images, self.sets, self.plan, self.how = images, sets, plan, how
        probe = ProbeResult(image="debian-sid", package="x.deb")
        return Findings(report=Report(probes=(probe,)), seconds=1)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(matrix, "probe_each", recorder)
    monkeypatch.setattr(start, "become_root", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    for name in ("a.deb", "b1.deb", "b2.deb"):
        (tmp_path / "dist" / name).touch()
    return recorder


def run(*argv: str, command: Any = module.test) -> int:
    done = CliRunner().invoke(command, argv, standalone_mode=False)
    if done.exception:
        raise done.exception
    status: int = done.return_value
    return status


def test_files_are_one_set_that_is_taken_apart(seen: Recorder) -> None:
    assert run("dist/a.deb", "dist", "-i", "debian-sid", "--jobs", "2", "--fail-fast") == 3
    assert seen.sets == (("dist/a.deb", "dist"),)
    assert seen.images == ("debian-sid",)
    assert seen.how == {"apart": True, "jobs": 2, "fail_fast": True}


def test_together_takes_nothing_apart(seen: Recorder) -> None:
    run("dist/*", "--together")
    assert seen.how["apart"] is False


def test_options_may_follow_files_and_checks_keep_their_steps(seen: Recorder) -> None:
    run("a.deb", "--check-file", "/x", "b.deb", "--after", "install", "--check-unit", "y")
    assert seen.sets == (("a.deb", "b.deb"),)
    assert [(one.subject, one.since) for one in seen.plan.questions] == [
        ("y", "install"),
        ("/x", None),
    ]


def test_packages_of_the_project_file_are_taken_apart(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "postroj.toml").write_text('package = ["dist/b*.deb", "dist/a.deb"]\nsettle = 1\n')
    run()
    assert seen.sets == (tuple(f"{tmp_path}/dist/{name}.deb" for name in ("b1", "b2", "a")),)
    assert seen.how["apart"] is True
    assert seen.plan.manners.settle == 1
    run("dist/a.deb")
    assert seen.sets == (("dist/a.deb",),)


def test_tables_of_the_project_file_are_sets_that_stay_together(
    seen: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "postroj.toml").write_text(TABLES)
    run()
    assert seen.sets == (
        (f"{tmp_path}/dist/a.deb",),
        (f"{tmp_path}/dist/b1.deb", f"{tmp_path}/dist/b2.deb", "https://mirror.example/c.deb"),
    )
    assert seen.how["apart"] is False
    assert seen.images == ("debian-trixie",)
    run("dist")
    assert seen.how["apart"] is True


def test_pkgprobe_refuses_tables_unless_packages_are_given(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "postroj.toml").write_text(TABLES)
    with pytest.raises(UsageError, match="its tables are probed each for itself") as caught:
        run(command=pkgprobe)
    assert caught.value.message.startswith("postroj.toml:3: ")
    assert caught.value.hint == "`postroj test` does that"


def test_no_file_and_no_project_file_is_a_usage_error(seen: Recorder) -> None:
    with pytest.raises(UsageError, match="no package is given") as caught:
        run()
    assert caught.value.hint.startswith("use FILE, or write")


def test_reproduction_is_a_command_line_of_pkgprobe() -> None:
    ctx = module.test.make_context("test", ["/x", "--together", "--settle", "1", "-j", "2"])
    found = reproduce.reproduction(ctx, ctx.params).command("debian-sid")
    assert shlex.split(found) == [
        *("postroj", "pkgprobe", "--package", "/x", "--image", "debian-sid", "--settle", "1")
    ]


def test_nothing_to_test_is_said_before_any_guest_with_its_own_status(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "far", architecture="s390x")
    env = os.environ | {
        "POSTROJ_CACHE_DIR": str(tmp_path / "cache"),
        "POSTROJ_STATE_DIR": str(tmp_path / "run"),
    }
    done = postroj("test", deb, "--image", "debian-trixie", "--arch", "x86_64", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "error: nothing that was given can be tested\n"
        f"  | left out, for s390x: {deb.name}\n"
        "\nhint: `--arch s390x` probes on images of that architecture\n"
    )
    done = postroj("test", tmp_path / "none", env=env)
    assert done.returncode == 2
    assert "is not a file or folder, and matches none" in done.stderr
