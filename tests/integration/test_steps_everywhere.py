"""The life of a service under dnf, zypper and pacman: good scriptlets, and those of real bugs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from postroj.model import Image, Manager, NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.ask.question import Question, Required
from postroj.probe.package.package_file import OLDER_DIR, recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import CheckKind, Outcome, StepName
from tests.integration.test_managers import PACMAN_CONF, REPO
from tests.support import debs, pacman, rpms, toolbox
from tests.support.listener import Nobody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.verdict import ProbeResult

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP
INSTALL, REINSTALL, UPGRADE = StepName.INSTALL, StepName.REINSTALL, StepName.UPGRADE
DOWNGRADE, REMOVE = StepName.DOWNGRADE, StepName.REMOVE
AGAIN, PURGE = StepName.INSTALL_AGAIN, StepName.PURGE
COURSE = (INSTALL, REINSTALL, UPGRADE, DOWNGRADE, REMOVE, AGAIN, PURGE)

# As %systemd_post, %systemd_preun and %systemd_postun_with_restart of systemd expand.
RPM = {
    "post": "mkdir -p /var/log/{0}; echo yes >>/var/log/{0}/log\n"
    "systemctl daemon-reload\n[ $1 -ne 1 ] || systemctl enable --quiet --now {0}.service",
    "preun": "[ $1 -ne 0 ] || systemctl disable --quiet --now {0}.service",
    "postun": "systemctl daemon-reload\n[ $1 -eq 0 ] || systemctl try-restart {0}.service",
}
PACMAN = {
    "post_install": "mkdir -p /var/log/{0}; echo yes >>/var/log/{0}/log\n"
    "systemctl daemon-reload; systemctl enable --quiet --now {0}.service",
    "post_upgrade": "systemctl daemon-reload; systemctl try-restart {0}.service",
    "pre_remove": "systemctl disable --quiet --now {0}.service",
}
STOPS = "systemctl disable --quiet --now {0}.service"
"""Without a look at $1: a %preun of the old package that an upgrade runs, too."""
STARTS = "systemctl daemon-reload; systemctl enable --quiet --now {0}.service"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Images with the tools of other distributions, and packages for them."""

    layers: tuple[Path, ...]
    folder: Path

    def build(
        self,
        manager: Manager,
        name: str,
        version: str,
        *,
        command: str = "/bin/sleep 1000",
        **scripts: str,
    ) -> Path:
        """Build a package with a service, with some scripts other than the good ones."""
        unit = debs.SERVICE.format(name=name, kind="simple", command=command, more="")
        files = {f"/usr/lib/systemd/system/{name}.service": unit}
        good = PACMAN if manager is Manager.PACMAN else RPM
        made = {key: text.format(name) for key, text in {**good, **scripts}.items()}
        if manager is Manager.PACMAN:
            release = f"{version}-1"
            return pacman.build(self.folder, name, version=release, files=files, scripts=made)
        return rpms.build(
            self.folder, name, version=version, tags="Requires: base", files=files, scripts=made
        )

    def live(
        self,
        manager: Manager,
        package: Path,
        *steps: StepName,
        older: Path | None = None,
        questions: tuple[Question, ...] = (),
    ) -> ProbeResult:
        """Probe a package through steps."""
        image = Image(name="tools", architecture="x86_64", layers=self.layers, manager=manager)
        plan = Plan(
            questions=questions,
            manners=Manners(timeout=5, settle=0.2),
            network=NetworkMode.NONE,
            timeout=60,
            boot_timeout=30,
            steps=steps,
            older=(recognise(older, OLDER_DIR),) if older else (),
        )
        result = probe(image, [recognise(package)], plan, Nobody())
        assert not result.reason
        return result


@pytest.fixture(scope="module")
def bench(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """With an empty repository each."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in (
        "etc/yum.repos.d",
        "etc/zypp/repos.d",
        "etc/pacman.d/gnupg",
        "srv/rpm",
        "srv/pacman",
    ):
        (tree / folder).mkdir(parents=True)
    text = REPO.format(url="file:///srv/rpm")
    for folder in ("yum.repos.d", "zypp/repos.d"):
        (tree / "etc" / folder / "tests.repo").write_text(text)
    (tree / "etc/pacman.conf").write_text(PACMAN_CONF.format(url="file:///srv/pacman"))
    # stays when the package is removed: zypper cannot read a database of nothing
    rpms.build(tree / "srv/rpm", "base", tags="Provides: /bin/sh")
    rpms.repository(tree / "srv/rpm")
    pacman.repository(tree / "srv/pacman", "tests", [])
    empty = tree.with_name("empty.squashfs")
    argv = ["mksquashfs", str(tree), str(empty), "-quiet", "-all-root", "-no-progress"]
    subprocess.run(argv, check=True)
    with obtain(image) as stored, toolbox.layers_of(stored) as layers:
        yield Bench(layers=(*layers, empty), folder=tmp_path_factory.mktemp("packages"))


def told(result: ProbeResult) -> dict[str, str]:
    """What was not passed, by step and subject."""
    return {
        f"{step.name} {check.subject}": f"{check.outcome}: {check.reason.splitlines()[0]}"
        for step in result.steps
        for check in step.checks
        if check.outcome is not PASS
    }


OTHERS = (Manager.DNF, Manager.ZYPPER, Manager.PACMAN)


@pytest.mark.parametrize("manager", OTHERS)
def test_steps_all_pass_for_a_good_service_of_each_manager(bench: Bench, manager: Manager) -> None:
    name = f"good-{manager}"
    older, newer = (bench.build(manager, name, version) for version in ("1", "2"))
    result = bench.live(manager, newer, *COURSE, older=older)
    assert told(result) == {}
    reasons = [step.reason for step in result.steps]
    assert [step.outcome for step in result.steps] == [PASS] * len(COURSE), reasons
    upgrade = {check.subject: check.reason for check in result.steps[2].checks}
    assert "; restarted, its main PID was " in upgrade[f"{name}.service"]
    stays = f"{name}.service stays disabled and stopped"
    assert upgrade["no disabled unit comes back"] == stays
    purge = {check.subject: check.reason for check in result.steps[-1].checks}
    assert purge["no file left behind"].splitlines() == [
        "1 file left behind, as the distributions of this manager want",
        f"/var/log/{name}/ with 1 file",
    ]


@pytest.mark.parametrize("manager", OTHERS)
def test_checks_of_versions_processes_and_logs_of_each_manager(
    bench: Bench, manager: Manager
) -> None:
    name = f"asked-{manager}"
    command = "/bin/sh -c 'echo ready; exec sleep 1000'"
    package = bench.build(manager, name, "1.5", command=command)
    log = Question(kind=CheckKind.LOG, subject="^ready$")
    process = Question(kind=CheckKind.PROCESS, subject="sleep", required=Required(owner="root"))
    versions = [
        Question(kind=CheckKind.PACKAGE, subject=name, required=Required(version=version))
        for version in (">= 1.4.9, < 1.10", "1.5-1", "= 1.5-1", "> 1.5-1")
    ]
    result = bench.live(manager, package, INSTALL, questions=(log, process, *versions))
    answers: dict[CheckKind, list[tuple[Outcome, str]]]
    answers = {CheckKind.PACKAGE: [], CheckKind.LOG: [], CheckKind.PROCESS: []}
    for check in result.steps[0].checks:
        answers.get(check.kind, []).append((check.outcome, check.reason.partition(" (")[0]))
    assert answers[CheckKind.LOG] == [(PASS, "ready")]
    assert answers[CheckKind.PROCESS] == [(PASS, "sleep")]
    good, bad = (PASS, "1.5-1"), (FAIL, "version 1.5-1")
    # Debian's package of pacman has no vercmp
    untold = (SKIP, "version 1.5-1; the guest has no vercmp to compare it")
    rest = [untold] * 3 if manager is Manager.PACMAN else [good, good, bad]
    assert sorted(answers[CheckKind.PACKAGE]) == sorted([good, *rest])


@pytest.mark.parametrize("manager", [Manager.DNF, Manager.ZYPPER])
def test_upgrade_fails_a_scriptlet_that_takes_it_for_a_removal(
    bench: Bench, manager: Manager
) -> None:
    name = f"stops-{manager}"
    older, newer = (bench.build(manager, name, number, preun=STOPS) for number in ("1", "2"))
    result = bench.live(manager, newer, INSTALL, UPGRADE, older=older)
    assert told(result)[f"upgrade {name}.service"].startswith(
        "fail: ran before the upgrade, but was inactive (dead) right after it"
    )


def test_upgrade_fails_configuration_that_rpm_replaces(bench: Bench) -> None:
    paths, name = ("/etc/replaced.conf", "/etc/kept.conf", "/etc/same.conf"), "settings"

    def build(version: str) -> Path:
        config = dict.fromkeys(paths[:2], f"# of {version}\n") | {paths[2]: "# the same\n"}
        return rpms.build(
            *(bench.folder, name),
            version=version,
            tags="Requires: base",
            config=config,
            replaced=paths[:1],
        )

    result = bench.live(Manager.DNF, build("2"), INSTALL, UPGRADE, older=build("1"))
    assert told(result) == {
        "upgrade changed configuration stays": "fail: /etc/replaced.conf has lost the"
        " administrator's line after the upgrade; a copy is in /etc/replaced.conf.rpmsave"
    }


@pytest.mark.parametrize("manager", OTHERS)
def test_upgrade_fails_a_scriptlet_that_overrides_the_administrator(
    bench: Bench, manager: Manager
) -> None:
    name = f"knows-{manager}"
    script = "post_upgrade" if manager is Manager.PACMAN else "post"
    package = bench.build(manager, name, "1", **{script: STARTS})
    result = bench.live(manager, package, INSTALL, REINSTALL)
    assert told(result) == {
        "reinstall no disabled unit comes back": f"fail: {name}.service was disabled and stopped"
        " before the reinstall, but is enabled, active (running) after it"
    }


def test_remove_fails_a_service_that_outlives_its_package(bench: Bench) -> None:
    package = bench.build(Manager.PACMAN, "stays", "1", pre_remove="true")
    result = bench.live(Manager.PACMAN, package, INSTALL, REMOVE)
    assert told(result)["remove stays.service"].startswith("fail: still active (running)")
    assert "remove no dangling unit link" in told(result)


@pytest.mark.parametrize(("manager", "outcome"), [(Manager.DNF, SKIP), (Manager.PACMAN, PASS)])
def test_upgrade_goes_to_a_raised_version_where_it_can_be_made(
    bench: Bench, manager: Manager, outcome: Outcome
) -> None:
    name = f"made-{manager}"
    result = bench.live(manager, bench.build(manager, name, "1"), INSTALL, UPGRADE)
    assert result.outcome is PASS, told(result)
    assert result.steps[1].outcome is outcome
    told_of = result.steps[1].reason.splitlines()[0]
    assert told_of.startswith("made-pacman 1-1.1 (any)" if outcome is PASS else "needs an older")
