"""`postroj doctor` as its users see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from postroj.cli import cli
from postroj.cli.commands import doctor
from postroj.doctor import REQUIREMENTS, Requirement, Result, Status
from postroj.errors import HostError
from postroj.image import architectures


def result(name: str, status: Status, only_for: str = "") -> Result:
    requirement = Requirement(
        name=name,
        why="because",
        examine=lambda: pytest.fail("not asked"),
        only_for=only_for,
        packages={"apt": "the-package", "dnf": "the-package"},
    )
    return Result(requirement=requirement, status=status, found="1.0")


GOOD = (result("one", Status.OK), result("two", Status.WARNING))
LESS = (*GOOD, result("pasta", Status.MISSING, "--network=private"))
BAD = (*LESS, result("systemd-nspawn", Status.TOO_OLD), result("root", Status.MISSING))


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Result, ...]]:
    """Return a list of the results of the next surveys."""
    found: list[tuple[Result, ...]] = []
    monkeypatch.setattr(doctor, "survey", lambda *requirements: found.pop(0))
    monkeypatch.setattr(
        doctor, "remedy", lambda results: "install it" if results is not GOOD else ""
    )
    return found


def test_doctor_of_a_complete_host(survey: list[tuple[Result, ...]]) -> None:
    survey.append(GOOD)
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "STATUS   REQUIREMENT  FOUND  REASON   NEEDED FOR",
        "ok       one          1.0    because  everything",
        "warning  two          1.0    because  everything",
    ]
    assert done.stderr == ""


def test_doctor_arch_examines_more(monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[str] = []

    def survey(requirements: tuple[Requirement, ...] = REQUIREMENTS) -> tuple[Result, ...]:
        examined.extend(one.name for one in requirements)
        return GOOD

    monkeypatch.setattr(doctor, "survey", survey)
    monkeypatch.setattr(architectures, "of_this_host", lambda: "x86_64")
    assert CliRunner().invoke(cli, ["doctor", "--arch", "arm64"]).exit_code == 0
    assert examined[-2:] == ["qemu-user, aarch64", "qemu-system, aarch64"]
    examined.clear()
    assert CliRunner().invoke(cli, ["doctor", "--arch", "amd64"]).exit_code == 0
    assert examined == [one.name for one in REQUIREMENTS]


def test_optional_requirements_do_not_fail(survey: list[tuple[Result, ...]]) -> None:
    survey.append(LESS)
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 0
    assert done.stderr == "\nhint: `sudo postroj doctor --fix` runs `install it`\n"


def test_fatal_requirements_are_named(survey: list[tuple[Result, ...]]) -> None:
    survey.append(BAD)
    done = CliRunner().invoke(cli, ["doctor"])
    assert isinstance(done.exception, HostError)
    assert (
        done.exception.message == "this host cannot run guests, it lacks 'systemd-nspawn', 'root'"
    )
    assert done.exception.hint == "`sudo postroj doctor --fix` runs `install it`"
    assert "too old" in done.stdout


def test_doctor_as_json(survey: list[tuple[Result, ...]]) -> None:
    survey.append(BAD)
    said = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert (said["schema"], said["ok"], said["remedy"]) == (1, False, "install it")
    assert said["requirements"][2] == {
        "name": "pasta",
        "status": "missing",
        "found": "1.0",
        "why": "because",
        "needed_for": "--network=private",
        "packages": {"apt": "the-package", "dnf": "the-package"},
        "fix": "",
    }


def test_fix_checks_again(
    survey: list[tuple[Result, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    survey += [BAD, GOOD]
    monkeypatch.setattr(doctor, "mend", lambda results: results is BAD)
    done = CliRunner().invoke(cli, ["doctor", "--fix"])
    assert done.exit_code == 0
    assert "too old" not in done.stdout
    assert not survey


def test_fix_without_missing_packages(
    survey: list[tuple[Result, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    survey.append(GOOD)
    monkeypatch.setattr(doctor, "mend", lambda results: False)
    assert CliRunner().invoke(cli, ["doctor", "--fix"]).exit_code == 0


def test_help_of_doctor_lists_its_options() -> None:
    said = CliRunner().invoke(cli, ["doctor", "--help"]).stdout
    assert "--fix" in said
    assert "--json" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root")
def test_doctor_without_root() -> None:
    # Python itself may lie where only root may read.
    reading = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *reading)
    command = [*user, sys.executable, "-m", "postroj", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "ok       root" in done.stdout
    assert "no control groups of version 2" in done.stdout
    assert "not tried: only root may" in done.stdout
    assert (
        "error: this host cannot run guests, it lacks 'subordinate ids', 'cgroups'" in done.stderr
    )
    assert "usermod --add-subuids=" in done.stderr
    assert "Traceback" not in done.stderr
