"""The recipes for virtual machines in the documentation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from postroj import __version__

EXAMPLES = Path(__file__).parents[2] / "docs" / "howto" / "examples"


def shellcheck(script: str) -> None:
    subprocess.run(["shellcheck", "--shell=sh", "-"], input=script, text=True, check=True)


def test_lima_installs_this_version_with_scripts_that_shellcheck_accepts() -> None:
    machine = yaml.safe_load((EXAMPLES / "lima.yaml").read_text())
    assert machine["base"].startswith("template:")
    assert machine["mounts"] == []
    assert [step["mode"] for step in machine["provision"]] == ["system", "user"]
    for step in machine["provision"]:
        assert step["script"].startswith("#!/bin/sh\n")
        shellcheck(step["script"])
    assert f"pipx install postroj=={__version__}\n" in machine["provision"][1]["script"]


def test_vagrant_installs_this_version_with_a_script_that_shellcheck_accepts() -> None:
    text = (EXAMPLES / "Vagrantfile").read_text()
    found = re.search(r"<<-SCRIPT\n(.*)\n +SCRIPT\n", text, re.DOTALL)
    assert found
    shellcheck(found[1])
    assert f"pipx install postroj=={__version__}\n" in found[1]
