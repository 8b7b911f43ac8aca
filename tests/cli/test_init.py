"""`postroj init`: what it refuses before any guest boots, and how it names packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from postroj import matrix
from postroj.cli.commands import init as module
from postroj.cli.commands.init import init
from postroj.container import start
from postroj.errors import NothingToTest, PackageError, PostrojError, UsageError
from postroj.tasks import Findings
from postroj.verdict import Outcome, ProbeResult, Report, StepName, StepResult
from tests.support import debs

if TYPE_CHECKING:
    from typing import Any


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(start, "become_root", lambda: None)
    return tmp_path


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be probed; `outcome` is that of the only step."""
    seen: dict[str, Any] = {"outcome": Outcome.PASS}

    def probe_each(images: object, sets: list[list[str]], *args: object, **how: object) -> Findings:
        seen.update(images=images, sets=sets, **how)
        step = StepResult(name=StepName.INSTALL, done=seen["outcome"], reason="", seconds=0)
        names = " ".join(Path(text).name for text in sets[0])
        probe = ProbeResult(image="debian-trixie", package=names, steps=(step,))
        return Findings(report=Report(probes=(probe,)), seconds=0)

    monkeypatch.setattr(matrix, "probe_each", probe_each)
    return seen


def run(*words: str) -> object:
    with init.make_context("init", list(words)) as ctx:
        return ctx.invoke(init.callback, **ctx.params)  # type: ignore[arg-type]


def test_init_never_replaces_a_file_without_force(folder: Path, probed: dict[str, Any]) -> None:
    debs.build(folder, "x")
    (folder / "postroj.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"^'postroj.toml' exists$"):
        run("x_1.0_all.deb")
    assert "sets" not in probed
    assert (folder / "postroj.toml").read_text() == "mine"
    run("x_1.0_all.deb", "--force")
    assert 'package = "x_*_all.deb"\n' in (folder / "postroj.toml").read_text()


def test_init_refuses_a_place_that_cannot_be_written(folder: Path, probed: dict[str, Any]) -> None:
    debs.build(folder, "x")
    for place in ("nowhere/postroj.toml", str(folder)):
        with pytest.raises(UsageError, match="is a folder, or its folder does not exist"):
            run("x_1.0_all.deb", "--force", "-o", place)
    assert "sets" not in probed


def test_init_does_not_replace_a_file_that_came_meanwhile(
    folder: Path, probed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    debs.build(folder, "x")
    monkeypatch.setattr(module, "_require_place", lambda *args, **how: None)
    (folder / "postroj.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"postroj.toml' exists"):
        run("x_1.0_all.deb")
    assert (folder / "postroj.toml").read_text() == "mine"


def test_init_prints_with_a_dash(
    folder: Path, probed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dist").mkdir()
    debs.build(folder / "dist", "x")
    (folder / "postroj.toml").touch()
    run("-o", "-", "dist/x_1.0_all.deb")
    said = capsys.readouterr()
    assert 'package = "dist/x_*_all.deb"\n' in said.out
    assert "PASS" in said.err
    assert probed["images"] == ("debian-trixie",)


def test_init_without_packages_takes_what_is_built(folder: Path, probed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="there is no folder 'dist'"):
        run()
    (folder / "dist").mkdir()
    debs.build(folder / "dist", "x")
    run()
    assert probed["sets"] == [("dist",)]


def test_init_refuses_packages_that_have_nothing_to_do_with_each_other(
    folder: Path, probed: dict[str, Any]
) -> None:
    for name in "xy":
        debs.build(folder, name)
    with pytest.raises(UsageError, match=r"'x_1.0_all.deb' and 'y_1.0_all.deb' are installed each"):
        run("x_1.0_all.deb", "y_1.0_all.deb")
    run("x_1.0_all.deb", "y_1.0_all.deb", "--together")
    assert probed["apart"] is False


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        (Outcome.FAIL, PackageError, "the package fails"),
        (Outcome.ERROR, PostrojError, "the package was not judged"),
        (Outcome.SKIP, NothingToTest, "nothing of the package was tested"),
    ],
)
def test_init_writes_nothing_about_a_package_that_does_not_pass(
    folder: Path, probed: dict[str, Any], outcome: Outcome, kind: type[Exception], words: str
) -> None:
    debs.build(folder, "x")
    probed["outcome"] = outcome
    with pytest.raises(kind, match=f"^{words}"):
        run("x_1.0_all.deb")
    assert not (folder / "postroj.toml").exists()


def test_init_names_a_package_with_its_version_if_others_match(
    folder: Path, probed: dict[str, Any]
) -> None:
    debs.build(folder, "x")
    debs.build(folder, "x", version="2.0")
    run("x_1.0_all.deb")
    assert 'package = "x_1.0_all.deb"\n' in (folder / "postroj.toml").read_text()


def test_init_has_each_option_in_a_section() -> None:
    names = {str(param.name) for param in init.params if isinstance(param, click.Option)}
    listed = {name for section in module.SECTIONS.values() for name in section}
    assert names - listed == set()
