"""A runner of GitHub Actions, as far as our action needs one: its scripts, and what is handed on.

What other people's actions do is not done; with what they would be called is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
EXPRESSION = re.compile(r"\$\{\{ (inputs|steps)\.([\w-]+)(?:\.outputs\.(\w+))? \}\}")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def load(path: Path) -> Any:
    """Read YAML."""
    return yaml.safe_load(path.read_text("utf-8"))


@dataclass(kw_only=True)
class Runner:
    """One job on a runner."""

    folder: Path
    """Holds its checkout of the project, its copy of the action and its temporary files."""
    inputs: Mapping[str, str]
    before: Sequence[str] = ()
    """What stands before the command of a step, as `setpriv`."""
    path: str = PATH
    variables: Mapping[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make its folders, and check the action out, unless another job has."""
        if self.folder.joinpath("work").exists():
            return
        for folder in (self.workspace, self.temp, self.action):
            folder.mkdir(parents=True)
        for name in ("action.yml", "pyproject.toml", "README.rst", "LICENSE"):
            shutil.copy(ROOT / name, self.action)
        shutil.copytree(ROOT / ".github/action", self.action / ".github/action")
        ignore = shutil.ignore_patterns("__pycache__")
        for name in ("packages", "postroj"):
            shutil.copytree(ROOT / name, self.action / name, ignore=ignore)
        for name in ("output", "path", "summary"):
            self.file(name).touch()

    @property
    def workspace(self) -> Path:
        """The checkout of the project."""
        return self.folder / "work/project"

    @property
    def temp(self) -> Path:
        """What is deleted after the job."""
        return self.folder / "work/_temp"

    @property
    def action(self) -> Path:
        """Where the action is."""
        return self.folder / "work/_actions/postroj"

    def file(self, name: str) -> Path:
        """Return a file in which steps say something to the runner."""
        return self.temp / f"file-of-{name}"

    def run(self, step: str) -> subprocess.CompletedProcess[str]:
        """Run a step of the action that is a script, and take its outputs."""
        found = self.step(step)
        given = {name: self.value(text) for name, text in found["env"].items()}
        self.file("output").write_text("")
        done = subprocess.run(
            [*self.before, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
            env={**os.environ, **self._environment(), **self.variables, **given},
            cwd=self.workspace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        lines = self.file("output").read_text().splitlines()
        self.outputs[step] = dict(line.split("=", 1) for line in lines)
        return done

    def step(self, step: str) -> Any:
        """Return a step of the action, by its id."""
        steps = load(self.action / "action.yml")["runs"]["steps"]
        return next(one for one in steps if one.get("id") == step)

    def value(self, text: str) -> str:
        """Return what an expression stands for."""
        match = EXPRESSION.fullmatch(text)
        assert match, text
        if match[1] == "steps":
            return self.outputs[match[2]].get(match[3], "")
        default: str = load(self.action / "action.yml")["inputs"][match[2]]["default"]
        return self.inputs.get(match[2], default)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": self.path,
            "HOME": str(self.folder),
            "TMPDIR": str(self.temp),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action),
            "GITHUB_JOB": "probe",
            "GITHUB_OUTPUT": str(self.file("output")),
            "GITHUB_PATH": str(self.file("path")),
            "GITHUB_STEP_SUMMARY": str(self.file("summary")),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_ENVIRONMENT": "self-hosted",
            "RUNNER_TEMP": str(self.temp),
        }
