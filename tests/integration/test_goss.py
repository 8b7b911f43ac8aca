"""`--check-goss`: tests of goss become checks of the report, and nothing of it stays in a guest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import debs, goss
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

TESTS = """\
gossfile:
  more.yaml: {}
file:
  /etc/{{ .Vars.name }}:
    exists: true
  /etc/never:
    exists: true
  /run/postroj/goss/goss:
    exists: true
    skip: true
"""


def test_goss_files_become_checks(image: str, tmp_path: Path) -> None:
    program = goss.program(tmp_path)
    debs.build(tmp_path, "gossed", files={"/etc/gossed": "x\n"})
    files = tmp_path / "tests"
    files.mkdir()
    (files / "goss.yaml").write_text(TESTS)
    (files / "more.yaml").write_text("file:\n  /etc/shadowy:\n    exists: false\n")
    (files / "broken.yaml").write_text("nonsense\n")
    (tmp_path / "vars.yaml").write_text("name: gossed\n")
    (tmp_path / "postroj.toml").write_text(
        f'package = "*.deb"\nimage = "{image}"\nsettle = 0\ncheck-timeout = 2\n'
        f'goss = "{program.name}"\ngoss-vars = "vars.yaml"\nsteps = ["install", "purge"]\n'
        'check-goss = ["tests/goss.yaml", "tests/broken.yaml"]\n'
    )
    done = postroj("pkgprobe", "--json", cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    (probe,) = json.loads(done.stdout)["probes"]
    install, purge = probe["steps"]
    found = [check for check in install["checks"] if check["kind"] == "goss"]
    assert [(check["subject"], check["outcome"], check["reason"]) for check in found] == [
        ("File: /etc/shadowy: exists", "pass", "matches expectation: false"),
        ("File: /etc/gossed: exists", "pass", "matches expectation: true"),
        ("File: /etc/never: exists", "fail", "Expected\n    false\nto equal\n    true"),
        ("File: /run/postroj/goss/goss: exists", "skip", "matches expectation: true"),
        (
            f"{files}/broken.yaml",
            "error",
            "goss ended with status 1 and no results\nError: could not unmarshal: nonsense",
        ),
    ]
    assert f"--check-goss {files}/goss.yaml" in probe["reproduce"]
    left = {check["subject"]: check for check in purge["checks"]}
    assert left[f"{files}/goss.yaml"]["outcome"] == "skip"
    assert left["no file left behind"]["outcome"] == "pass"
