"""The options for goss: each mistake is told before a guest boots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.cli import goss
from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.errors import UsageError
from postroj.verdict import CheckKind
from tests.unit.probe.ask.test_goss import elf

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.probe.ask.goss import Goss


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("POSTROJ_GOSS", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "goss.yaml").touch()
    return tmp_path


def read(*words: str) -> Goss | None:
    with pkgprobe.make_context("pkgprobe", ["-p", "x.deb", "--arch", "x86_64", *words]) as ctx:
        return goss.read(ctx.params)


def program(path: Path, machine: int = 62) -> Path:
    path.write_bytes(elf(machine))
    path.chmod(0o755)
    return path


def test_goss_is_that_of_the_option_of_the_variable_or_in_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="needs the program goss, which is not in PATH"):
        read("--check-goss", "goss.yaml")
    places = [program(folder / name) for name in ("bin/goss", "variable", "option")]
    found = [read("--check-goss", "goss.yaml")]
    monkeypatch.setenv("POSTROJ_GOSS", "variable")
    found.append(read("--check-goss", "goss.yaml"))
    found.append(read("--check-goss", "goss.yaml", "--goss", "option"))
    assert [one.program for one in found if one] == places


def test_goss_is_not_needed_without_its_files() -> None:
    assert read() is None
    assert read("--goss", "nowhere") is None
    with pytest.raises(UsageError, match="`--goss-vars` needs `--check-goss FILE`"):
        read("--goss-vars", "x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--check-goss", "none.yaml"), "`--check-goss none.yaml`: there is no such file"),
        (("--check-goss", "goss.yaml", "--goss-vars", "v"), "`--goss-vars v`: there is no such"),
        (("--check-goss", "goss.yaml", "--goss", "none"), "`--goss none`: there is no such file"),
        (("--check-goss", "goss.yaml", "--goss", "arm"), "is built for aarch64, and the guest is"),
    ],
)
def test_mistakes_are_told_before_a_guest_boots(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    program(folder / "bin/goss")
    program(folder / "arm", 183)
    with pytest.raises(UsageError, match=message):
        read(*words)


def test_each_file_is_a_question_once(folder: Path) -> None:
    program(folder / "bin/goss")
    found = read("--check-goss", "goss.yaml", "--check-goss", f"{folder}/goss.yaml")
    (question,) = goss.questions(found)
    assert (question.kind, question.subject) == (CheckKind.GOSS, f"{folder}/goss.yaml")
