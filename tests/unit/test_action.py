"""The action and the pipelines: what their publishers' schemas say, and what the scripts do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from postroj.ci_matrix import TEMPLATE, Language, matrix
from tests.support.runner import ROOT, Runner, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

EXAMPLES = ROOT / "docs/howto/examples"
OWN_WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*"))
WORKFLOWS = sorted([*OWN_WORKFLOWS, *EXAMPLES.glob("github-*")])
GITLAB = sorted(EXAMPLES.glob("gitlab-*"))
SCRIPTS = sorted((ROOT / ".github/action").glob("*.sh"))
ACTION = ROOT / "action.yml"

POSTROJ = """\
#!/bin/bash
printf '%s\\n' "$@" >"$RUNNER_TEMP/argv"
printf '%s' "$POSTROJ_CACHE_DIR" >"$RUNNER_TEMP/cache-dir"
exit "$STATUS"
"""
SUDO = """\
#!/bin/bash
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def check(schema: str, *paths: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def scripts(found: Any) -> Iterator[str]:
    """Yield the scripts of a workflow or action."""
    steps = [found["runs"]] if "runs" in found else found["jobs"].values()
    for step in (step for job in steps for step in job["steps"]):
        if "run" in step:
            yield step["run"]


def test_action_and_workflows_match_the_schemas_of_github() -> None:
    check("github-actions", ACTION)
    check("github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("path", [ACTION, *OWN_WORKFLOWS], ids=lambda path: path.name)
def test_actions_of_others_are_pinned_to_a_commit(path: Path) -> None:
    """A tag may be moved to other code; the comment is for people, and for what updates it."""
    used = re.findall(r"uses: (?!\./)(.*)", path.read_text("utf-8"))
    assert used
    pinned = re.compile(r"(?:actions|pypa)/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [words for words in used if not pinned.fullmatch(words)] == []


def test_constraints_pin_every_package_that_tests_and_build_need() -> None:
    lines = (ROOT / ".github/constraints.txt").read_text("utf-8").splitlines()
    pins = [line.partition("==") for line in lines if not line.startswith("#")]
    assert all(version for _, _, version in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    optional = project["project"]["optional-dependencies"]
    extras = [needs for name, needs in optional.items() if name != "tmt"]  # which no test installs
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += hook["dependencies"]
    names = {re.match(r"[\w.-]+", text)[0] for text in chain(wanted, *extras)}  # type: ignore[index]
    assert {name.lower() for name in names} <= {name.lower() for name, _, _ in pins}


def test_every_python_of_the_classifiers_is_tested() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    [job] = re.findall(
        r"version: (\[.*\])", (ROOT / ".github/workflows/tests.yaml").read_text("utf-8")
    )
    assert json.loads(job) == re.findall(r"Python :: (3\.\d+)", text)


def test_pipelines_match_the_schema_of_gitlab(tmp_path: Path) -> None:
    child = tmp_path / "matrix.yml"
    child.write_text(matrix(("debian-bookworm", "debian-trixie", "x"), Language.GITLAB, 2))
    check("gitlab-ci", child, *GITLAB)
    jobs = load(EXAMPLES / "gitlab-probe.yml") | load(child)
    assert TEMPLATE in jobs
    assert all(jobs[job["extends"]]["script"] for job in load(child).values())


def test_steps_use_only_outputs_of_earlier_steps() -> None:
    said = {"steps.restore.outputs.cache-hit"}
    for step in ("setup", "probe"):
        text = (ROOT / f".github/action/{step}.sh").read_text()
        said |= {f"steps.{step}.outputs.{name}" for name in re.findall(r'\techo "(\w+)=', text)}
    used = set(re.findall(r"steps\.\w+\.outputs\.[\w-]+", ACTION.read_text()))
    assert used == said
    inputs = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert inputs == set(load(ACTION)["inputs"])


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_no_expression_is_part_of_a_script(path: Path) -> None:
    found = list(scripts(load(path)))
    assert found or path.parent == EXAMPLES
    assert not [script for script in found if "${{" in script]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_use_only_inputs_of_the_action(path: Path) -> None:
    known = set(load(ACTION)["inputs"])
    steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
    ours = [step for step in steps if step.get("uses") == "./"]
    for step in ours:
        assert set(step.get("with", ())) <= known
    assert ours or path.parent != EXAMPLES


def test_scripts_pass_shellcheck() -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", *SCRIPTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def runner(
    tmp_path: Path, inputs: Mapping[str, str], *, status: int = 0, cached: bool = False
) -> Runner:
    """Return a runner after `setup`, with a postroj that only records its arguments."""
    programs = {"work/_temp/postroj/venv/bin/postroj": POSTROJ, "bin/sudo": SUDO}
    made = Runner(
        folder=tmp_path,
        inputs={"packages": "http://h.example/a.deb", **inputs},
        path=f"{tmp_path}/bin:/usr/bin:/bin",
        variables={"STATUS": str(status)},
        outputs={"setup": {"images": "debian-bookworm debian-trixie"}},
    )
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    if cached:
        images = made.temp / "postroj/cache/images"
        images.mkdir(parents=True)
        machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True)
        for name in made.outputs["setup"]["images"].split():
            (images / f"{name}-{machine.stdout.strip()}.json").touch()
    return made


def argv(made: Runner) -> list[str]:
    return (made.temp / "argv").read_text().splitlines()


def test_inputs_become_options(tmp_path: Path) -> None:
    made = runner(
        tmp_path,
        {
            "packages": "dist/*.deb\n\n  http://h.example/b.deb\n",
            "upgrade-from": "repo\n",
            "steps": "install,upgrade",
            "args": "--check-unit=a.service\n--check-command=test -e '/a b'\n",
        },
    )
    for name in ("b c.deb", "a.deb", "x.rpm"):
        (made.workspace / "dist").mkdir(exist_ok=True)
        (made.workspace / "dist" / name).touch()
    done = made.run("probe")
    assert done.returncode == 0, done.stdout + done.stderr
    report = f"{made.temp}/postroj/report"
    assert argv(made) == [
        "test",
        "--image=debian-bookworm",
        "--image=debian-trixie",
        "--upgrade-from=repo",
        "--steps=install,upgrade",
        "--check-unit=a.service",
        "--check-command=test -e '/a b'",
        "--report=github",
        f"--report=html={report}/report.html",
        f"--report=junit={report}/junit.xml",
        f"--report=json={report}/report.json",
        "--",
        "dist/a.deb",
        "dist/b c.deb",
        "http://h.example/b.deb",
    ]
    assert made.outputs["probe"] == {"outcome": "pass", "report": report, "cached": "false"}
    assert (made.temp / "cache-dir").read_text() == f"{made.temp}/postroj/cache"


def test_inputs_are_never_run_as_shell(tmp_path: Path) -> None:
    evil = "$(touch pwned) `touch pwned` ; touch pwned | $HOME *"
    (tmp_path / "x").mkdir()
    inputs = {"packages": f"a://{evil}", "args": f"--check-command={evil}", "steps": evil}
    made = runner(tmp_path / "x", inputs)
    (made.workspace / "file").touch()
    assert made.run("probe").returncode == 0
    words = argv(made)
    assert words[3:5] == [f"--steps={evil}", f"--check-command={evil}"]
    assert words[-2:] == ["--", f"a://{evil}"]
    assert [path.name for path in made.workspace.iterdir()] == ["file"]


def test_without_inputs_only_images_and_reports_are_options(tmp_path: Path) -> None:
    """Packages, steps and checks are then those of the project file."""
    made = runner(tmp_path, {"packages": ""})
    assert made.run("probe").returncode == 0
    words = argv(made)
    assert words[:3] == ["test", "--image=debian-bookworm", "--image=debian-trixie"]
    assert [word.partition("=")[0] for word in words[3:-1]] == ["--report"] * 4
    assert words[-1] == "--"


@pytest.mark.parametrize(
    ("status", "fail_on", "expected", "outcome"),
    [
        (0, "fail error skip", 0, "pass"),
        (1, "fail error skip", 1, "fail"),
        (3, "fail error skip", 3, "skip"),
        (3, "fail error", 0, "skip"),
        (3, "fail\nskip", 3, "skip"),
        (4, "", 0, "error"),
        (4, "fail", 0, "error"),
        (1, "error", 0, "fail"),
        (2, "error", 2, ""),
        (130, "error", 130, ""),
    ],
)
def test_fail_on_selects_the_outcomes_that_fail_the_step(
    tmp_path: Path, status: int, fail_on: str, expected: int, outcome: str
) -> None:
    made = runner(tmp_path, {"fail-on": fail_on}, status=status)
    assert made.run("probe").returncode == expected
    assert made.outputs["probe"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"packages": "none-*.deb"}, "'none-*.deb' matches no file"),
        ({"packages": "100%.deb"}, "'100%25.deb' matches no file"),
        ({"fail-on": "pass"}, "'pass' in the input 'fail-on' is not an outcome"),
        ({"fail-on": "*"}, "'*' in the input 'fail-on' is not an outcome"),
    ],
)
def test_invalid_inputs_are_annotated(
    tmp_path: Path, inputs: dict[str, str], sentence: str
) -> None:
    made = runner(tmp_path, inputs)
    (made.workspace / "fail").touch()
    done = made.run("probe")
    assert (done.returncode, done.stdout) == (2, f"::error title=postroj::{sentence}\n")
    assert not (made.temp / "argv").exists()


def test_only_a_complete_cache_is_saved(tmp_path: Path) -> None:
    made = runner(tmp_path, {}, status=1, cached=True)
    made.run("probe")
    assert made.outputs["probe"]["cached"] == "true"


def test_without_the_cache_images_are_in_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", "")
    made = runner(tmp_path, {"cache": "false"})
    assert made.run("probe").returncode == 0
    assert (made.temp / "cache-dir").read_text() == ""
