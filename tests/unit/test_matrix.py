"""`matrix`: verdicts and events when an image is not available, a probe fails or is given up."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import signal
import threading
from contextlib import contextmanager
from dataclasses import astuple, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from postroj import __version__, attempts, matrix, paths, tasks
from postroj.capacity import jobs_for
from postroj.container import lifeline, roster
from postroj.errors import (
    GuestError,
    ImageError,
    Interrupted,
    NothingToTest,
    UsageError,
)
from postroj.image.catalog import catalog
from postroj.model import Image, Manager, NetworkMode
from postroj.probe.ask.checks import Manners, Question
from postroj.probe.excuse.expectations import Expectation
from postroj.probe.plan import Plan
from postroj.probe.reproduce import Reproduction
from postroj.verdict import CheckKind, Outcome, ProbeResult, StepName, StepResult
from tests.support import debs, rpms
from tests.support.listener import Ear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.tasks import Findings

PLAN = Plan(
    questions=(Question(kind=CheckKind.UNIT, subject="x"),),
    manners=Manners(),
    network=NetworkMode.PRIVATE,
    timeout=60,
    boot_timeout=30,
)
UPGRADE = (StepName.INSTALL, StepName.UPGRADE)
X86 = replace(PLAN, architecture="x86_64")
STEP = StepResult(name=StepName.INSTALL, done=Outcome.PASS, reason="x 1.0 (all)", seconds=1)


class Stage(Ear):
    """One audience for all probes, and who gives it to them."""

    jobs = 0

    titles: Sequence[str] = ()
    brief = False

    def open(self, titles: Sequence[str], jobs: int, *, brief: bool) -> list[Ear]:
        self.titles, self.jobs, self.brief = titles, jobs, brief
        return [self for _ in titles]


def run(
    names: Sequence[str],
    *packages: Path,
    ear: Stage | None = None,
    plan: Plan = PLAN,
    **how: Any,
) -> Findings:
    """Probe as the command line does, on one image at a time unless told otherwise."""
    how = {"jobs": 1} | how
    return matrix.probe_all(names, [str(p) for p in packages], [], plan, ear or Stage(), **how)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    return debs.build(tmp_path, "x")


class Lab:
    """Images, of which only 'ubuntu-noble' is not available, and what a probe on one does."""

    def __init__(self) -> None:
        self.probed: list[str] = []
        """Names of the images on which was probed."""
        self.doing: dict[str, Callable[[], object]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.architectures: set[str] = set()
        self.obtained: list[str] = []
        self.plans: list[Plan] = []
        """Of the probes."""

    @contextmanager
    def obtain(self, name: str, architecture: str) -> Iterator[Image]:
        self.obtained.append(name)
        if name == "ubuntu-noble":
            message = "there is no such image"
            raise ImageError(message, evidence="404", hint="pull it")
        self.architectures.add(architecture)
        yield Image(name=name, architecture="x86_64", layers=(Path("/i"),), manager=Manager.APT)

    def probe(
        self, image: Image, files: Any, plan: Plan, audience: Ear, *, unfit: str = "", **_: object
    ) -> ProbeResult:
        self.probed.append(image.name)
        self.plans.append(plan)
        audience.begin_probe(image.name, files[0].name)
        self.doing.get(image.name, lambda: None)()
        step = replace(STEP, done=self.outcomes.get(image.name, Outcome.PASS))
        result = ProbeResult(
            image=image.name,
            package=" ".join(file.name for file in files),
            steps=(step,),
            guest=f"postroj-{image.name}" if plan.keep else "",
        )
        audience.end_step(step)
        audience.end_probe(result)
        return result


A, B, C = "debian-trixie", "debian-bookworm", "debian-sid"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab()
    monkeypatch.setattr(tasks, "obtain", lab.obtain)
    monkeypatch.setattr(attempts, "warmed", lambda image, *_: image)
    monkeypatch.setattr(attempts, "probe", lab.probe)
    return lab


def run_each(
    names: Sequence[str], *sets: Sequence[object], apart: bool = True, plan: Plan = PLAN, **how: Any
) -> Findings:
    """Probe as `postroj test` does, on one image at a time unless told otherwise."""
    texts = [[str(text) for text in one] for one in sets]
    stage = how.pop("stage", None) or Stage()
    return matrix.probe_each(names, texts, plan, stage, apart=apart, **{"jobs": 1} | how)


def pairs(findings: Findings) -> list[tuple[str, str]]:
    return [(probe.package, probe.image) for probe in findings.report.probes]


def downloads() -> list[Path]:
    folder = paths.cache_dir() / "downloads"
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix == ".deb"]


def outcomes(findings: Findings) -> dict[str, str]:
    return {probe.image: probe.outcome for probe in findings.report.probes}


def test_an_image_gets_the_packages_that_its_manager_installs(
    lab: Lab, deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[tuple[str, ...]] = []

    def probe(
        image: Image, files: Any, plan: Plan, audience: Ear, *, unfit: str = "", **_: object
    ) -> ProbeResult:
        probed.append((*(file.name for file in (*files, *plan.older)), unfit))
        return lab.probe(image, files, plan, audience)

    def warmed(image: Image, files: Any, plan: Plan, stack: object) -> Image:
        warm.append([file.name for file in (*files, *plan.older)])
        return image

    warm: list[list[str]] = []
    monkeypatch.setattr(attempts, "probe", probe)
    monkeypatch.setattr(attempts, "warmed", warmed)
    rpm = rpms.build(tmp_path, "y", files={"/usr/share/y": "y"})
    older = replace(PLAN, upgrade_from=(str(rpm), str(deb)))
    run([A], deb, rpm, plan=older)
    assert probed.pop() == (deb.name, deb.name, "")
    assert warm.pop() == [deb.name, deb.name]
    run([A], rpm)
    assert probed.pop() == (rpm.name, f"'{rpm.name}' is for dnf or zypper, the guest has 'apt'")
    assert not warm


def test_images_are_probed_in_the_order_given(lab: Lab, deb: Path) -> None:
    findings = run([B, A], deb)
    assert lab.probed == [B, A]
    assert outcomes(findings) == {B: "pass", A: "pass"}
    assert list(outcomes(findings)) == [B, A]
    assert findings.interruption is None
    assert not downloads()


def test_an_image_that_is_expected_to_be_skipped_is_not_pulled(lab: Lab, deb: Path) -> None:
    known = Expectation(
        images=frozenset({"ubuntu-noble", B}),
        outcome=Outcome.SKIP,
        reason="no libx there",
        until=date(2027, 1, 31),
        expired=False,
    )
    ear = Stage()
    plan = replace(PLAN, expected=(known,))
    findings = run(["ubuntu-noble", A, B], deb, plan=plan, ear=ear)
    assert lab.probed == [A]
    assert outcomes(findings) == {"ubuntu-noble": "skip", A: "pass", B: "skip"}
    (step,) = findings.report.probes[0].steps
    assert step.reason == "not tried: no libx there (until 2027-01-31)"
    assert step in ear.told
    assert run([B], deb, plan=plan).report.outcome is Outcome.SKIP


def test_an_older_package_may_have_the_name_of_the_tested_one(
    lab: Lab, deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def probe(
        image: Image, files: Any, plan: Plan, audience: Ear, *, unfit: str = "", **_: object
    ) -> ProbeResult:
        plans.append(plan)
        (older,) = plan.older
        assert older.path.read_bytes()
        assert older.name == files[0].name
        assert older.guest_path != files[0].guest_path
        return lab.probe(image, files, plan, audience)

    monkeypatch.setattr(attempts, "probe", probe)
    (tmp_path / "old").mkdir()
    older = debs.build(tmp_path / "old", "x")
    findings = run([A], deb, plan=replace(PLAN, upgrade_from=(str(older),)))
    assert findings.report.outcome is Outcome.PASS
    assert len(plans) == 1


def test_upgrade_from_refuses_a_file_that_is_not_a_package(
    lab: Lab, deb: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.deb"
    text.write_text("I am text")
    with pytest.raises(UsageError, match="`--upgrade-from` cannot be used"):
        run([A], deb, plan=replace(PLAN, upgrade_from=(str(text),)))
    missing = replace(PLAN, upgrade_from=(str(tmp_path / "none.deb"),))
    with pytest.raises(UsageError, match="is not a file") as caught:
        run([A], deb, plan=missing)
    assert "--upgrade-from" in caught.value.hint
    assert not lab.probed


def test_an_image_that_is_missing_does_not_stop_the_others(lab: Lab, deb: Path) -> None:
    def breaks() -> None:
        message = "no"
        raise GuestError(message)

    lab.doing[A] = breaks
    ear = Stage()
    findings = run(["ubuntu-noble", A, B], deb, ear=ear)
    assert lab.probed == [A, B]
    assert outcomes(findings) == {"ubuntu-noble": "error", A: "error", B: "pass"}
    first, second, _ = findings.report.probes
    assert (first.reason, first.hint) == ("there is no such image\n404", "pull it")
    assert second.reason == "no"
    assert ear.told[:2] == [("ubuntu-noble", "x_1.0_all.deb"), first]
    assert ear.told[2:4] == [(A, "x_1.0_all.deb"), second]


def test_a_file_that_is_not_a_package_fails_without_a_guest(lab: Lab, tmp_path: Path) -> None:
    text = tmp_path / "text.deb"
    text.write_text("I am text")
    ear = Stage()
    findings = run([A, B], text, ear=ear)
    assert not lab.probed
    assert outcomes(findings) == {A: "fail", B: "fail"}
    (step,) = findings.report.probes[0].steps
    assert step.reason.startswith("'text.deb' is not a package\n9 bytes")
    assert [check.outcome for check in step.checks] == [Outcome.SKIP]
    assert ear.told[:2] == [(A, "text.deb"), step]


def test_one_bad_file_among_good_ones(lab: Lab, deb: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.deb"
    text.write_text("I am text")
    (result,) = run([A], deb, text).report.probes
    assert not lab.probed
    assert result.package == "x_1.0_all.deb text.deb"
    assert "'text.deb' is not a package" in result.steps[0].reason


def test_a_file_that_does_not_exist(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        run([A], tmp_path / "none.deb")
    assert not lab.probed


def test_several_at_once_in_the_order_of_the_images(lab: Lab, deb: Path) -> None:
    together = threading.Barrier(3, timeout=10)
    last = threading.Event()

    def wait() -> None:
        together.wait()
        assert last.wait(10)

    def be_first() -> None:
        together.wait()
        last.set()

    lab.doing = {A: wait, B: wait, C: be_first}
    findings = run([A, B, C], deb, jobs=3)
    assert list(outcomes(findings)) == [A, B, C]
    assert findings.report.outcome is Outcome.PASS


def test_no_more_jobs_than_asked_for(lab: Lab, deb: Path) -> None:
    threads: set[int] = set()
    names = [A, B, C, "debian-bullseye"]
    lab.doing = {name: lambda: threads.add(threading.get_ident()) for name in names}
    run(names, deb, jobs=2)
    assert 1 <= len(threads) <= 2
    assert threading.get_ident() not in threads
    ear = Stage()
    run(names, deb, jobs=9, ear=ear)
    assert ear.jobs == 4


def test_pulls_and_preparations_are_done_in_the_main_thread(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    @contextmanager
    def obtain(name: str, architecture: str) -> Iterator[Image]:
        threads.append(threading.current_thread())
        assert not lab.probed
        with lab.obtain(name, architecture) as image:
            yield image

    monkeypatch.setattr(tasks, "obtain", obtain)
    run([A, B, C], deb, jobs=2)
    assert threads == [threading.main_thread()] * 3


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR])
def test_fail_fast_skips_all_images_after_a_bad_verdict(
    lab: Lab, deb: Path, outcome: Outcome
) -> None:
    lab.outcomes[B] = outcome
    findings = run([A, B, C], deb, fail_fast=True)
    assert lab.probed == [A, B]
    assert outcomes(findings) == {A: "pass", B: outcome, C: "skip"}
    assert findings.report.outcome is outcome
    (step,) = findings.report.probes[2].steps
    assert step.reason == f"given up, as '{B}' did not pass and `--fail-fast` was given"
    assert findings.interruption is None


def test_fail_fast_at_an_image_that_is_missing(lab: Lab, deb: Path) -> None:
    findings = run([A, "ubuntu-noble", C], deb, fail_fast=True)
    assert not lab.probed
    assert outcomes(findings) == {A: "skip", "ubuntu-noble": "error", C: "skip"}


def test_fail_fast_ends_those_that_run(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an interruption: what its guest's end makes of a probe is not heard of."""
    ended = threading.Event()
    runs = threading.Event()
    monkeypatch.setattr(lifeline, "let_go_of_all", ended.set)

    def go_on() -> None:
        runs.set()
        assert ended.wait(10)

    lab.doing = {A: go_on, B: lambda: runs.wait(10)}
    lab.outcomes = {A: Outcome.ERROR, B: Outcome.FAIL}
    ear = Stage()
    findings = run([A, B], deb, jobs=2, fail_fast=True, ear=ear)
    assert outcomes(findings) == {A: "skip", B: "fail"}
    told = [word for word in ear.told if isinstance(word, StepResult)]
    assert [step.done for step in told] == [Outcome.FAIL, Outcome.SKIP]


def test_an_interruption_leaves_what_was_finished(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(lifeline, "let_go_of_all", ended.set)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(10)

    lab.doing[B] = interrupt
    lab.outcomes[B] = Outcome.ERROR
    ear = Stage()
    findings = run([A, B, C], deb, ear=ear)
    assert isinstance(findings.interruption, KeyboardInterrupt)
    assert lab.probed == [A, B]
    assert outcomes(findings) == {A: "pass", B: "error", C: "error"}
    assert [probe.reason for probe in findings.report.probes] == ["", "interrupted", "interrupted"]
    assert findings.report.probes[1].steps == ()
    assert [word for word in ear.told if isinstance(word, ProbeResult)] == [*findings.report.probes]
    assert [word for word in ear.told if isinstance(word, tuple)] == [
        (name, "x_1.0_all.deb") for name in (A, B, C)
    ]


def test_a_guest_whose_verdict_nobody_hears_is_not_kept(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    stopped: list[str] = []
    monkeypatch.setattr(lifeline, "let_go_of_all", ended.set)
    monkeypatch.setattr(roster, "stop", stopped.append)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(10)

    lab.doing[B] = interrupt
    findings = run([A, B], deb, plan=replace(PLAN, keep=True))
    assert [probe.guest for probe in findings.report.probes] == [f"postroj-{A}", ""]
    assert stopped == [f"postroj-{B}"]
    left = paths.cache_dir() / "downloads"
    assert [path.name for path in left.glob("*/lock")] == ["lock"]


def test_a_second_interruption_waits_for_nobody(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that does not end, whatever we do."""
    released = threading.Event()
    monkeypatch.setattr(lifeline, "let_go_of_all", lambda: os.kill(os.getpid(), signal.SIGINT))

    def hang() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(30)

    lab.doing[A] = hang
    findings = run([A, B], deb)
    released.set()
    assert isinstance(findings.interruption, KeyboardInterrupt)
    assert lab.probed == [A]
    assert outcomes(findings) == {A: "error", B: "error"}


def test_an_interruption_while_an_image_is_made(
    lab: Lab, deb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obtain(name: str, architecture: str) -> NoReturn:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(tasks, "obtain", obtain)
    findings = run([A, B], deb)
    assert isinstance(findings.interruption, Interrupted)
    assert findings.interruption.exit_status == 143
    assert outcomes(findings) == {A: "error", B: "error"}
    folder = paths.cache_dir() / "downloads"
    assert not list(folder.glob("download-*/*"))


def test_a_bug_in_a_thread_is_raised_in_the_main_thread(lab: Lab, deb: Path) -> None:
    def blunder() -> None:
        raise ZeroDivisionError

    lab.doing[A] = blunder
    with pytest.raises(ZeroDivisionError):
        run([A, B], deb)
    assert lab.probed == [A]


@pytest.mark.parametrize(
    ("cores", "gigabytes", "jobs"), [(1, 8, 2), (2, 24, 4), (16, 8, 8), (64, 512, 128), (4, 0.5, 1)]
)
def test_jobs_by_cores_and_memory(cores: int, gigabytes: float, jobs: int) -> None:
    assert jobs_for(cores, int(gigabytes * 2**30), 8192) == jobs


@pytest.mark.parametrize(("instances", "jobs"), [(128, 16), (127, 15), (7, 1), (1024, 64)])
def test_jobs_where_the_kernel_allows_few_inotify_instances(instances: int, jobs: int) -> None:
    assert jobs_for(32, 256 << 30, instances) == jobs


def test_jobs_of_this_host(lab: Lab, deb: Path) -> None:
    ear = Stage()
    run([A, B, C], deb, jobs=None, ear=ear)
    assert 1 <= ear.jobs <= 3


def test_images_of_the_architecture_that_was_asked_for(lab: Lab, deb: Path) -> None:
    run([A, B], deb)
    assert lab.architectures == {""}
    lab.architectures.clear()
    run([A, B], deb, plan=replace(PLAN, architecture="riscv64"))
    assert lab.architectures == {"riscv64"}


def test_evidence_about_a_file_that_is_not_a_package_is_shown_once(
    lab: Lab, tmp_path: Path
) -> None:
    text = tmp_path / "text.deb"
    text.write_text("no")
    first, second = run([A, B], text).report.probes
    assert "2 bytes" in first.steps[0].reason
    assert first.steps[0].hint
    assert (second.steps[0].reason, second.steps[0].hint) == ("'text.deb' is not a package", "")
    (alone,) = run((), text).report.probes
    assert alone.image == catalog.find("debian-stable").name
    assert not lab.obtained


def test_each_package_is_probed_for_itself_on_the_images_that_fit(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = debs.build(tmp_path, "one")
    two = debs.build(tmp_path, "two", architecture="amd64")
    far = debs.build(tmp_path, "far", architecture="arm64")
    rpm = rpms.build(tmp_path, "three")
    files = (tmp_path, tmp_path / "*.deb")
    with caplog.at_level(logging.INFO, logger="postroj"):
        found = run_each([A, B, "fedora-43", "archlinux"], files, plan=X86)
    assert pairs(found) == [
        *((one.name, A), (one.name, B)),
        (rpm.name, "fedora-43"),
        *((two.name, A), (two.name, B)),
    ]
    assert f"left out, for aarch64: {far.name}" in caplog.messages
    assert "no package fits archlinux" in caplog.messages
    found = run_each([A], files, plan=replace(X86, architecture="aarch64"))
    assert pairs(found) == [(far.name, A), (one.name, A)]


def test_a_package_is_probed_with_those_that_it_needs(lab: Lab, tmp_path: Path) -> None:
    lib, data = debs.build(tmp_path, "lib"), debs.build(tmp_path, "data", depends="lib (= 1.0)")
    app = debs.build(tmp_path, "app", depends="data (>= 1), libc6")
    assert pairs(run_each([A], [lib, data, app])) == [(f"{app.name} {data.name} {lib.name}", A)]


def test_a_set_that_is_not_taken_apart_is_probed_together(lab: Lab, tmp_path: Path) -> None:
    one, two = debs.build(tmp_path, "one"), debs.build(tmp_path, "two")
    three, rpm = debs.build(tmp_path, "three"), rpms.build(tmp_path, "red")
    found = run_each([A, "fedora-43"], [two, rpm, one], [three], apart=False)
    assert pairs(found) == [
        *((f"{two.name} {one.name}", A), (rpm.name, "fedora-43"), (three.name, A)),
    ]


def test_titles_name_the_package_if_there_are_several(lab: Lab, tmp_path: Path) -> None:
    one, two = debs.build(tmp_path, "one"), debs.build(tmp_path, "two")
    stage = Stage()
    run_each([A], [one, two], stage=stage)
    assert stage.titles == [f"{one.name} on {A}", f"{two.name} on {A}"]
    assert stage.brief
    run_each([A, B], [one], stage=stage)
    assert (stage.titles, stage.brief) == ([A, B], False)


def test_an_image_is_obtained_once_for_all_packages(lab: Lab, tmp_path: Path) -> None:
    one, two = debs.build(tmp_path, "one"), debs.build(tmp_path, "two")
    found = run_each(["ubuntu-noble", A], [one, two])
    assert [probe.outcome for probe in found.report.probes] == ["error", "pass", "error", "pass"]
    assert lab.obtained == ["ubuntu-noble", A]


def test_a_command_line_repeats_the_probe_of_one_package(lab: Lab, tmp_path: Path) -> None:
    lab.outcomes[A] = Outcome.FAIL
    one, two = debs.build(tmp_path, "one"), debs.build(tmp_path, "two")
    again = Reproduction(program=("postroj", "pkgprobe"), packages=(), options=("--settle", "1"))
    run_each([A], [tmp_path], plan=replace(PLAN, reproduction=again))
    assert [plan.command(A) for plan in lab.plans] == [
        f"postroj pkgprobe --package {path} --image {A} --settle 1" for path in (one, two)
    ]


def test_a_package_is_upgraded_from_its_own_older_version(lab: Lab, tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    old = [debs.build(tmp_path / "old", name, version="0.9") for name in ("one", "two")]
    for name in ("one", "two", "three"):
        debs.build(tmp_path / "new", name)
    texts = tuple(map(str, old))
    again = Reproduction(program=("p",), packages=(), options=("-x",), upgrade_from=texts)
    plan = replace(PLAN, upgrade_from=texts, reproduction=again, steps=UPGRADE)
    run_each([A], [tmp_path / "new"], plan=plan)
    assert [[file.name for file in plan.older] for plan in lab.plans] == [
        ["one_0.9_all.deb"],
        [],
        ["two_0.9_all.deb"],
    ]
    assert [bool(plan.upgrade_from) for plan in lab.plans] == [True, False, True]
    new = tmp_path / "new"
    assert [plan.command(A) for plan in lab.plans] == [
        f"p --package {new}/one_1.0_all.deb --image {A} --upgrade-from {old[0]} -x",
        f"p --package {new}/three_1.0_all.deb --image {A} -x --steps install,upgrade",
        f"p --package {new}/two_1.0_all.deb --image {A} --upgrade-from {old[1]} -x",
    ]


def test_nothing_to_test_names_what_is_left_out_before_any_image(lab: Lab, tmp_path: Path) -> None:
    far = debs.build(tmp_path, "far", architecture="arm64")
    text = tmp_path / "README"
    text.touch()
    with pytest.raises(NothingToTest, match="nothing that was given can be tested") as caught:
        run_each([A], [far, text], plan=X86)
    assert caught.value.evidence.splitlines() == [
        "left out, not a package: README",
        f"left out, for aarch64: {far.name}",
    ]
    assert "--arch aarch64" in caught.value.hint
    with pytest.raises(NothingToTest) as caught:
        run_each(["fedora-43"], [debs.build(tmp_path, "near")], plan=X86)
    assert "no image given installs .deb: near_1.0_all.deb" in caught.value.evidence
    assert not lab.obtained


def test_a_damaged_package_fails_without_a_guest_and_the_others_are_probed(
    lab: Lab, deb: Path, tmp_path: Path
) -> None:
    damaged = debs.build(tmp_path, "damaged")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    text = tmp_path / "text-1.0-1.noarch.rpm"
    text.write_text("no rpm")
    findings = run_each([A, B, "fedora-43"], [damaged, deb, text])
    found = {(probe.package, probe.image): probe for probe in findings.report.probes}
    assert {place: probe.outcome for place, probe in found.items()} == {
        (damaged.name, A): "fail",
        (damaged.name, B): "fail",
        (deb.name, A): "pass",
        (deb.name, B): "pass",
        (text.name, "fedora-43"): "fail",
    }
    reasons = [step.reason for probe in found.values() for step in probe.steps]
    assert reasons[0].startswith(f"'{damaged.name}' is not a complete package\n")
    assert reasons[1] == f"'{damaged.name}' is not a complete package"
    assert reasons[-1].startswith(f"'{text.name}' is not a package\n6 bytes")
    assert lab.obtained == [A, B]
    (package,) = found[damaged.name, A].packages
    assert (package.file, package.name) == (damaged.name, "")
    assert package.sha256 == hashlib.sha256(damaged.read_bytes()).hexdigest()


def test_a_damaged_package_ends_a_run_that_fails_fast(lab: Lab, deb: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.deb").write_text("x")
    findings = run_each([A], [deb, tmp_path / "damaged.deb"], fail_fast=True)
    assert [probe.outcome for probe in findings.report.probes] == ["skip", "fail"]
    assert not lab.obtained


def test_a_report_says_when_and_where_it_was_made(lab: Lab, deb: Path) -> None:
    report = run([A, "ubuntu-noble"], deb).report
    assert report.date <= report.probes[1].date
    assert datetime.fromisoformat(report.date).utcoffset() == timedelta(0)
    assert report.version == __version__
    assert report.host
    assert report.host.kernel == platform.release()
    assert report.host.is_root is (os.geteuid() == 0)
    (package,) = report.probes[1].packages
    assert (package.name, package.version, package.architecture) == ("x", "1.0", "all")
    assert not any(platform.node() in text for text in map(str, astuple(report.host)))


def test_packages_of_one_name_cannot_be_probed_together(
    lab: Lab, deb: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = debs.build(tmp_path / "other", "x", files={"/other": ""})
    assert pairs(run_each([A], [deb, other])) == [(deb.name, A)] * 2
    with pytest.raises(UsageError, match="two packages have the file name"):
        run_each([A], [deb, other], apart=False)


def test_an_rpm_without_an_image_is_probed_where_it_was_built_for(lab: Lab, tmp_path: Path) -> None:
    plain, el9 = rpms.build(tmp_path, "plain"), rpms.build(tmp_path, "el", release="1.el9")
    assert pairs(run_each((), [plain, el9], plan=X86)) == [
        (plain.name, catalog.find("fedora").name),
        (el9.name, "centos-stream-9"),
    ]
    assert [probe.image for probe in run((), el9, plan=X86).report.probes] == ["centos-stream-9"]
