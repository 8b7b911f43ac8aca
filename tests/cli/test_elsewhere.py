"""postroj where there is no Linux: what works, and the one sentence of all else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.cli import elsewhere
from postroj.errors import HostError
from postroj.report import github
from postroj.verdict import Outcome
from tests.support import debs, rpms
from tests.support.cli import postroj
from tests.unit.report.nights import night, put
from tests.unit.report.samples import SAMPLE

if TYPE_CHECKING:
    from subprocess import CompletedProcess

ROOT = Path(__file__).parents[2]
SITE = ROOT / "tests" / "support" / "elsewhere"


@pytest.fixture(params=["darwin", "windows"])
def system(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def run(system: str, *argv: object) -> CompletedProcess[str]:
    """Run postroj in a Python from which the calls of Linux were taken."""
    env = os.environ | {"ELSEWHERE": system, "PYTHONPATH": str(SITE)}
    done = postroj(*argv, env=env)
    assert "Traceback" not in done.stderr
    return done


def evaluate(system: str, script: str) -> str:
    """Return what a script prints in such a Python."""
    env = os.environ | {"ELSEWHERE": system, "PYTHONPATH": str(SITE)}
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_commands_about_the_catalog_work_elsewhere(system: str, tmp_path: Path) -> None:
    images = json.loads(run(system, "list-images", "debian-*", "--json").stdout)
    assert "debian-trixie" in [image["name"] for image in images]
    assert "debian-trixie" in run(system, "list-images", "--arch", "amd64").stdout
    jobs = json.loads(run(system, "matrix", "-i", "debian-*", "--arch", "amd64").stdout)
    assert {"name": "debian-trixie", "images": ["debian-trixie"]} in jobs
    for package, name in (
        (debs.build(tmp_path, "x"), "debian"),
        (rpms.build(tmp_path, "x"), "fed"),
    ):
        done = run(system, "matrix", "-p", package, "--arch", "amd64", "--shards", 1)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["images"][0].startswith(name)


def test_help_and_schema_work_elsewhere(system: str) -> None:
    assert run(system, "--help").stdout == postroj("--help").stdout
    assert json.loads(run(system, "pkgprobe", "--project-schema").stdout)["title"]
    script = (
        "import postroj.windows; postroj.windows.fill_in()\n"
        "from click.testing import CliRunner\n"
        "from postroj.cli import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    done = CliRunner().invoke(cli, [name, '--help'], prog_name='postroj')\n"
        "    assert done.exit_code == 0, (name, done.exception)\n"
        "    assert f'Usage: postroj {name} ' in done.stdout, done.stdout\n"
    )
    evaluate(system, script)


def test_histories_are_made_elsewhere(system: str, tmp_path: Path) -> None:
    for day, outcome in ((1, Outcome.PASS), (2, Outcome.FAIL)):
        put(tmp_path, day, night(day, outcome))
    page = tmp_path / "page.html"
    done = run(system, "report", tmp_path, "--html", page, "--fail-on", "broken")
    assert (done.returncode, done.stderr) == (1, f"wrote '{page}'\n")
    assert "redis on debian-trixie: fails since 2026-01-02" in done.stdout
    assert page.read_text("utf-8").endswith("</html>\n")
    assert len([*tmp_path.iterdir()]) == 3


def test_reports_are_rendered_elsewhere(system: str) -> None:
    script = (
        "import postroj.windows; postroj.windows.fill_in()\n"
        "from postroj.report import github, html, json, junit, tap\n"
        "from tests.unit.report.samples import SAMPLE\n"
        "for kind in (html, json, junit, tap): assert kind.render(SAMPLE)\n"
        "print(github.summary(SAMPLE))"
    )
    assert evaluate(system, script) == github.summary(SAMPLE) + "\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["test", "x.deb"], 4),
        (["pkgprobe", "-p", "x.deb"], 4),
        (["pull", "debian-trixie"], 4),
        (["run", "debian-trixie", "true"], 125),
        (["shell"], 125),
        (["ps"], 4),
        (["selftest"], 4),
        (["doctor", "--fix"], 4),
        (["catalog", "check"], 4),
    ],
)
def test_commands_that_need_linux_say_so_in_one_sentence(
    system: str, words: list[str], status: int
) -> None:
    done = run(system, *words)
    assert (done.returncode, done.stdout) == (status, "")
    name = {"darwin": "macOS", "windows": "other"}[system]
    error, _, hint = done.stderr.splitlines()
    assert error == f"error: guests are containers of Linux, and this is {name}"
    assert hint.startswith("hint: run it ")


def test_usage_errors_come_first_elsewhere(system: str) -> None:
    assert run(system, "pkgprob").stderr.endswith("did you mean `postroj pkgprobe`?\n")
    assert run(system, "ps", "--bogus").returncode == 2


@pytest.mark.parametrize(
    ("platform", "words"),
    [("darwin", "macOS limactl"), ("win32", "Windows wsl"), ("freebsd14", "freebsd14 Linux")],
)
def test_hint_names_the_way_to_linux(
    platform: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    command: Any = type("Command", (), {"callback": None})()
    with pytest.raises(HostError) as caught:
        elsewhere.guarded("run", command).callback()  # type: ignore[misc]
    name, way = words.split()
    assert caught.value.message.endswith(f"this is {name}")
    assert way in caught.value.hint
    assert elsewhere.guarded("matrix", command) is command
