"""Packages on images: what is told and reported when one of them is not to be had."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj import matrix, paths
from postroj.errors import GuestError, ImageError, UsageError
from postroj.model import (
    CheckKind,
    CheckResult,
    Image,
    Manager,
    NetworkMode,
    Outcome,
    ProbeResult,
    StepName,
    StepResult,
)
from postroj.probe.checks import Manners, Question
from postroj.probe.probe import Plan
from tests.support import debs

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = Plan(
    questions=(Question(kind=CheckKind.UNIT, subject="x"),),
    manners=Manners(),
    network=NetworkMode.PRIVATE,
    timeout=60,
    boot_timeout=30,
)
STEP = StepResult(name=StepName.INSTALL, done=Outcome.PASS, reason="x 1.0 (all)", seconds=1)


class Ear:
    """An audience that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin_probe(self, image: str, package: str) -> None:
        self.told.append((image, package))

    def begin_part(self, part: str) -> None:
        pass

    def end_step(self, step: StepResult) -> None:
        self.told.append(step)

    def end_check(self, check: CheckResult) -> None:
        self.told.append(check)

    def end_probe(self, probe: ProbeResult) -> None:
        self.told.append(probe)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    return debs.build(tmp_path, "x")


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Images that are to be had, but 'missing'; names of those on which was probed."""
    names: list[str] = []

    @contextmanager
    def obtain(name: str) -> Iterator[Image]:
        if name == "missing":
            message = "there is no such image"
            raise ImageError(message, evidence="404", hint="pull it")
        yield Image(name=name, architecture="x86_64", path=Path("/i"), manager=Manager.APT)

    def probe(image: Image, files: Any, plan: Plan, audience: Ear) -> ProbeResult:
        names.append(image.name)
        if image.name == "broken":
            message = "no"
            raise GuestError(message)
        return ProbeResult(image=image.name, package=files[0].name, steps=(STEP,))

    monkeypatch.setattr(matrix, "obtain", obtain)
    monkeypatch.setattr(matrix, "probe", probe)
    return names


def downloads() -> list[Path]:
    folder = paths.cache_dir() / "downloads"
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix == ".deb"]


def test_every_image_in_order(probed: list[str], deb: Path) -> None:
    report = matrix.probe_all(["a", "b"], [str(deb)], [], PLAN, Ear())
    assert probed == ["a", "b"]
    assert [probe.image for probe in report.probes] == ["a", "b"]
    assert report.outcome is Outcome.PASS
    assert not downloads()


def test_an_image_that_is_missing_does_not_stop_the_others(probed: list[str], deb: Path) -> None:
    ear = Ear()
    report = matrix.probe_all(["missing", "broken", "b"], [str(deb)], [], PLAN, ear)
    assert probed == ["broken", "b"]
    assert [probe.outcome for probe in report.probes] == ["error", "error", "pass"]
    assert report.outcome is Outcome.ERROR
    first = report.probes[0]
    assert (first.reason, first.hint) == ("there is no such image\n404", "pull it")
    assert ear.told[:2] == [("missing", "x_1.0_all.deb"), first]


def test_what_is_no_package_needs_no_guest(probed: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text.deb"
    text.write_text("I am text")
    ear = Ear()
    report = matrix.probe_all(["a", "b"], [str(text)], [], PLAN, ear)
    assert not probed
    assert report.outcome is Outcome.FAIL
    assert [probe.image for probe in report.probes] == ["a", "b"]
    (step,) = report.probes[0].steps
    assert step.reason.startswith("'text.deb' is no package\n9 bytes")
    assert [check.outcome for check in step.checks] == [Outcome.SKIP]
    assert ear.told[:2] == [("a", "text.deb"), step]


def test_one_bad_file_among_good_ones(probed: list[str], deb: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.deb"
    text.write_text("I am text")
    report = matrix.probe_all(["a"], [str(deb), str(text)], [], PLAN, Ear())
    assert not probed
    assert report.probes[0].package == "x_1.0_all.deb text.deb"
    assert "'text.deb' is no package" in report.probes[0].steps[0].reason


def test_a_file_that_does_not_exist(probed: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file"):
        matrix.probe_all(["a"], [str(tmp_path / "none.deb")], [], PLAN, Ear())
    assert not probed


def test_no_image(probed: list[str], deb: Path) -> None:
    assert matrix.probe_all([], [str(deb)], [], PLAN, Ear()).outcome is Outcome.SKIP


def test_whatever_interrupts_it_leaves_no_download(
    probed: list[str], deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*args: object) -> ProbeResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix, "probe", probe)
    with pytest.raises(KeyboardInterrupt):
        matrix.probe_all(["a"], [str(deb)], [], PLAN, Ear())
    folder = paths.cache_dir() / "downloads"
    assert not list(folder.glob("download-*/*"))
