"""`Journey`: what a step does to the packages, and whom it blames; the guest is a fake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.probe.bench import Bench
from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.pacman.pacman import HOOK_OWNER, Pacman
from postroj.probe.package.formats import Format
from postroj.probe.package.package_file import PackageFile
from postroj.probe.steps import FORGOTTEN, NEEDED, Done, Journey
from postroj.verdict import Outcome, ProbeResult, Report, StepName, StepResult
from tests.data import recorder
from tests.data.apt.record import HERE as APT
from tests.data.pacman.record import HERE as PACMAN
from tests.support.fake_guest import Answer, FakeGuest

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager

PASS, FAIL, ERROR, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.SKIP
INSTALL, REMOVE, PURGE = StepName.INSTALL, StepName.REMOVE, StepName.PURGE
AGAIN = StepName.INSTALL_AGAIN


STUCK = """\
Removing sudo (1.9.13p3-1+deb12u2) ...
Refusing to remove sudo.
dpkg: error processing package sudo (--remove):
 installed sudo package pre-removal script subprocess returned error exit status 1
Errors were encountered while processing:
 sudo
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


class Dpkg:
    """A guest's dpkg with one package, which stays known after its removal or not."""

    def __init__(
        self, *, keeps: bool = False, says: str = "", refuses: str = "", stuck: str = ""
    ) -> None:
        self.state = ""
        self.keeps = keeps
        self.says = says
        """What `apt-get install` prints."""
        self.refuses = refuses
        """What `apt-get remove` prints when it fails."""
        self.stuck = stuck
        """What `apt-get autoremove` prints when it fails."""
        self.done: list[str] = []

    def answer(self, argv: tuple[str, ...]) -> Answer:
        verbs = [word for word in argv if word in ("install", "remove", "autoremove", "purge")]
        if argv[-2:] == (Apt().purge([])[-1], "x"):
            verbs = ["purge"]
        if (argv[0] == "apt-get" or verbs == ["purge"]) and verbs and "--simulate" not in argv:
            self.done += verbs
            if verbs == ["autoremove"]:
                return (100, self.stuck) if self.stuck else (0, "")
            if verbs != ["install"] and self.refuses:
                return 100, self.refuses
            stays = "config-files" if self.keeps and verbs == ["remove"] else ""
            self.state = "installed" if verbs == ["install"] else stays
            return 0, self.says if verbs == ["install"] else ""
        match argv:
            case ("dpkg-deb", *_):
                return 0, "Package: x\nVersion: 1\nArchitecture: all"
            case ("dpkg-query", *_):
                return (0, f"{self.state}\tx\t1\tall") if self.state else (1, "no packages found")
            case ("sh", "-c", script, *_) if "architecture" in script:
                return 0, "amd64\nall"
            case _:
                return 0, ""


def journey(guest: FakeGuest, manager: PackageManager, suffix: str = "deb") -> Journey:
    package = PackageFile(path=Path(f"x.{suffix}"), format=Format.DEB)
    bench = Bench(
        guest=guest, manager=manager, timeout=1, begin_part=lambda part: None, has_lists=True
    )
    return Journey(bench, [package])


def taken(dpkg: Dpkg, *steps: StepName) -> list[Done]:
    course = journey(FakeGuest(dpkg.answer), Apt())
    return [course.take(step) for step in steps]


def test_purge_of_a_package_that_dpkg_has_forgotten_passes_and_says_so() -> None:
    dpkg = Dpkg()
    *_, purge = taken(dpkg, INSTALL, REMOVE, PURGE)
    assert (purge.outcome, purge.remark) == (PASS, FORGOTTEN)
    assert dpkg.done == ["install", "remove", "autoremove"]


def test_purge_of_a_package_that_dpkg_still_knows_purges() -> None:
    dpkg = Dpkg(keeps=True)
    *_, purge = taken(dpkg, INSTALL, REMOVE, PURGE)
    assert (purge.outcome, purge.remark) == (PASS, "")
    assert dpkg.done == ["install", "remove", "autoremove", "purge"]


@pytest.mark.parametrize("keeps", [True, False])
def test_purge_after_install_again_removes_once_more(*, keeps: bool) -> None:
    dpkg = Dpkg(keeps=keeps)
    done = taken(dpkg, INSTALL, REMOVE, AGAIN, PURGE)
    assert [step.outcome for step in done] == [PASS] * 4
    assert done[2].sentence == "x 1 (all)"
    leave = ["remove", "autoremove"] + (["purge"] if keeps else [])
    assert dpkg.done == ["install", "remove", "install", *leave]


def test_purge_goes_on_if_a_dependency_refuses_to_leave() -> None:
    dpkg = Dpkg(keeps=True, stuck=STUCK)
    *_, purge = taken(dpkg, INSTALL, REMOVE, PURGE)
    assert purge.outcome is PASS
    script = "the pre-removal script of 'sudo', which is not under test, ended with status 1"
    assert purge.remark == f"some of its dependencies could not be removed: {script}"
    assert dpkg.done[-1] == "purge"


@pytest.mark.parametrize(
    ("case", "evidence"),
    [
        ("removes-essential", "Essential packages were removed"),
        ("removes-what-essential-needs", "above-essential : Depends: innocent"),
        ("purges-protected", "Essential packages were removed"),
    ],
)
def test_remove_of_an_essential_package_is_skipped(case: str, evidence: str) -> None:
    dpkg = Dpkg(refuses=(APT / "debian-bookworm" / f"{case}.txt").read_text())
    _, *leaving = taken(dpkg, INSTALL, REMOVE, AGAIN, PURGE)
    assert [step.outcome for step in leaving] == [SKIP] * 3
    remove, again, purge = [step.blame for step in leaving]
    assert remove and purge and again
    assert remove.sentence == NEEDED
    assert evidence in remove.evidence
    assert again.sentence == "the package is not removed"
    assert purge.sentence == remove.sentence


def test_install_passes_on_the_units_that_were_not_started() -> None:
    dpkg = Dpkg(says=(APT / "debian-bookworm" / "not-started.txt").read_text())
    install, remove = taken(dpkg, INSTALL, REMOVE)
    assert install.not_started == ("late.service",)
    assert remove.not_started == ()


FILES = "%FILES%\nusr/share/tripwire/\nusr/share/tripwire/x\n"


@pytest.mark.parametrize(
    ("case", "owner", "outcome", "says"),
    [
        ("hook", "bad-hook", PASS, "nothing shows that the package is to blame"),
        ("hook", "trips", FAIL, "the hook 'bad-hook.hook' of pacman failed"),
        ("hook-names-its-file", "picky-hook", FAIL, "names '/usr/share/tripwire/x' of 'trips'"),
        ("pre-hook", "bad-pre-hook", ERROR, "nothing shows that the package is to blame"),
    ],
)
def test_a_hook_is_held_against_the_package_only_with_proof(
    case: str, owner: str, outcome: Outcome, says: str
) -> None:
    recorded = recorder.read(PACMAN / "pacman-bookworm" / f"{case}.txt")
    info = "Name            : trips\nVersion         : 1.0-1\nArchitecture    : any\n"

    def answer(argv: tuple[str, ...]) -> Answer:
        match argv:
            case ("sh", "-c", script, *_) if script == HOOK_OWNER:
                return 0, f"{owner}\n"
            case ("sh", "-c", script, *_) if "Architecture" in script:
                return 0, "any"
            case ("sh", "-c", script, *_) if "/files" in script:
                return 0, FILES
            case ("sh", "-c", _, "sh", "--upgrade", *_):
                return recorded.status or 0, recorded.output
            case ("pacman", "--query", *_):
                return 0, info
            case _:
                return 127, f"unexpected: {argv}"

    done = journey(FakeGuest(answer), Pacman(), "pkg.tar.zst").take(INSTALL)
    assert done.outcome is outcome
    assert says in (done.blame.sentence if done.blame else done.remark)


def step(name: StepName, outcome: Outcome) -> StepResult:
    return StepResult(name=name, done=outcome, reason="", seconds=0)


def test_a_probe_whose_named_step_was_not_taken_is_no_pass() -> None:
    steps = (step(INSTALL, PASS), step(StepName.UPGRADE, SKIP))
    result = ProbeResult(image="i", package="p", steps=steps)
    assert result.outcome is PASS
    omitted = replace(steps[1], omitted=True)
    lacking = replace(result, steps=(steps[0], omitted))
    assert lacking.outcome is SKIP
    assert Report(probes=(result, lacking)).outcome is SKIP
    failed = replace(lacking, steps=(*lacking.steps, step(REMOVE, FAIL)))
    assert Report(probes=(result, failed)).outcome is FAIL
