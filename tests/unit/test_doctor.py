"""What doctor makes of what it finds; the real host is asked in tests/integration."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import paths, user
from postroj.container import layer
from postroj.doctor import confinement, facts, packages, requirements
from postroj.doctor.facts import Finding, Status
from postroj.doctor.packages import INSTALLERS, choose, lists_are_stale, missing_packages
from postroj.doctor.requirements import REQUIREMENTS, Requirement, Result
from postroj.errors import CommandError, HostError
from postroj.image.unpack.decompress import DECOMPRESSORS
from postroj.transfer import copy

if TYPE_CHECKING:
    from collections.abc import Sequence

MANAGERS = {installer.name: installer for installer in INSTALLERS}
INSTALL = "noninteractive install -y --no-install-recommends -o DPkg::Lock::Timeout=120 passt"
PROGRAMS = {installer.install[0] for installer in INSTALLERS}


def result(status: Status, only_for: str = "", **packages: str) -> Result:
    requirement = Requirement(
        name="thing",
        why="because",
        examine=lambda: Finding(status, ""),
        only_for=only_for,
        packages=packages,
    )
    return Result(requirement=requirement, status=status, found="")


class TestVersions:
    @pytest.mark.parametrize(
        ("said", "version"),
        [
            ("systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT 99", "252"),
            ("systemd 257 (257.5-6.fc42)", "257"),
            ("systemd v258-rc2", "258-rc2"),
            ("systemd 258~rc1 (258~rc1-1)", "258~rc1"),
            ("tar2sqfs (squashfs-tools-ng) 1.2.0\nCopyright (c) 2019", "1.2.0"),
            ("unshare from util-linux 2.38.1", "2.38.1"),
            ("mount from util-linux 2.41 (libmount 2.41.0: selinux)", "2.41"),
            ("mmdebstrap 1.3.5", "1.3.5"),
            ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", "1.5.4"),
            ("gpgv (GnuPG) 2.2.40\nlibgcrypt 1.10.1", "2.2.40"),
            ("pasta 0.0~git20250503.587980c-2", "0.0~git20250503.587980c-2"),
            ("pasta unknown version\nCopyright Red Hat 2024", ""),
            ("", ""),
        ],
    )
    def test_version_of(self, said: str, version: str) -> None:
        assert facts.version_of(said) == version

    @pytest.mark.parametrize(
        ("script", "status", "found"),
        [
            ("echo 'systemd 247 (x)'", Status.OK, "247"),
            ("echo 'systemd 258~rc1'", Status.OK, "258~rc1"),
            ("echo 'systemd 239'", Status.TOO_OLD, "239, 247 or newer is needed"),
            ("echo 'who knows'", Status.TOO_OLD, "no version, 247 or newer is needed"),
            ("exit 1", Status.WARNING, "'systemd-nspawn' ended with status 1"),
        ],
    )
    def test_tool(
        self,
        script: str,
        status: Status,
        found: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        program = tmp_path / "systemd-nspawn"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert facts.tool("systemd-nspawn", oldest=247) == Finding(status, found)

    def test_tool_that_is_missing(self) -> None:
        assert facts.tool("no-such-tool") == Finding(Status.MISSING, "")

    @pytest.mark.parametrize(
        ("script", "status", "found"),
        [
            ("exit 0", Status.OK, "0.8.0"),
            (
                "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1",
                Status.WARNING,
                "0.8.0, makes no namespaces: bwrap: No permissions to create a new namespace",
            ),
        ],
    )
    def test_bwrap_that_may_make_namespaces_or_not(
        self,
        script: str,
        status: Status,
        found: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        version = '[ "$1" = --version ] && echo "bubblewrap 0.8.0" && exit'
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{version}\n{script}\n")
        (tmp_path / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert facts.bwrap() == Finding(status, found)

    def test_python(self) -> None:
        assert facts.python().status is Status.OK
        assert facts.python(oldest=(4, 0)).status is Status.TOO_OLD


TOP = Path("/sys/fs/cgroup")
SYSTEMD, UNIFIED = TOP / "systemd", TOP / "unified"


@pytest.mark.parametrize(
    ("found", "kind", "needed"),
    [
        pytest.param({"": TOP}, "v2", [TOP], id="v2"),
        pytest.param(
            {"": UNIFIED, "name=systemd": SYSTEMD, "cpu": TOP / "cpu"},
            "v1 hybrid",
            [SYSTEMD, UNIFIED],
            id="hybrid",
        ),
        pytest.param({"name=systemd": SYSTEMD}, "v1", [SYSTEMD], id="v1"),
        pytest.param({"": UNIFIED}, "none", [], id="unified alone"),
        pytest.param({}, "none", [], id="none"),
    ],
)
def test_layout_of_hierarchies(found: dict[str, Path], kind: str, needed: list[Path]) -> None:
    assert facts.layout(found) == (kind, needed)


@pytest.mark.parametrize(
    ("mask", "lacks"),
    [("000001ffffffffff", False), ("000001fffeffffff", True)],
)
def test_withheld_capabilities(mask: str, lacks: bool) -> None:
    found = confinement.withheld(f"CapInh:\t0\nCapBnd:\t{mask}\n", "40\n")
    assert ("SYS_RESOURCE" in found) is lacks


def test_memory() -> None:
    meminfo = ["MemTotal:  24682000 kB", "MemAvailable:    1000 kB"]
    assert facts.available_memory(meminfo) == 1_024_000
    assert facts.available_memory([]) == 0
    assert facts.memory(enough=1).status is Status.OK
    assert facts.memory(enough=10**18).status is Status.WARNING


def test_disk() -> None:
    assert not paths.cache_dir().exists()
    assert facts.disk(enough=1).status is Status.OK
    finding = facts.disk(enough=10**18)
    assert finding.status is Status.WARNING
    assert finding.found.endswith(f"GB in '{paths.cache_dir()}'")


class TestTable:
    def test_names_are_unique(self) -> None:
        names = [requirement.name for requirement in REQUIREMENTS]
        assert len(names) == len(set(names))

    def test_every_tool_has_a_package_for_apt(self) -> None:
        for requirement in REQUIREMENTS:
            if isinstance(requirement.examine, partial):
                assert "apt" in requirement.packages, requirement.name

    def test_every_tool_for_archives_is_in_the_table(self) -> None:
        commands = [*DECOMPRESSORS.values(), copy.CREATE, copy.EXTRACT, layer.tar_argv(Path("/"))]
        names = {requirement.name for requirement in REQUIREMENTS}
        assert {command[0] for command in commands} <= names

    def test_packages_name_known_managers(self) -> None:
        for requirement in REQUIREMENTS:
            assert set(requirement.packages) <= set(MANAGERS)

    def test_survey(self) -> None:
        asked = [result(Status.OK).requirement, result(Status.MISSING).requirement]
        assert [one.status for one in requirements.survey(asked)] == [Status.OK, Status.MISSING]

    @pytest.mark.parametrize(
        ("status", "only_for", "lacking", "fatal"),
        [
            (Status.OK, "", False, False),
            (Status.WARNING, "", False, False),
            (Status.MISSING, "", True, True),
            (Status.TOO_OLD, "", True, True),
            (Status.MISSING, "building images", True, False),
            (Status.MISSING, requirements.WITHOUT_ROOT, True, True),
        ],
    )
    def test_what_is_fatal(self, status: Status, only_for: str, lacking: bool, fatal: bool) -> None:
        one = result(status, only_for)
        assert (one.lacking, one.fatal) == (lacking, fatal)


class TestChoose:
    @pytest.mark.parametrize(
        ("os_release", "manager"),
        [
            ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', "apt"),
            ("ID=ubuntu\nID_LIKE=debian\n", "apt"),
            ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "apt"),
            ("ID=fedora\n", "dnf"),
            ('ID="almalinux"\nID_LIKE="rhel centos fedora"\n', "dnf"),
            ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper"),
            ("ID=arch\n", "pacman"),
        ],
    )
    def test_by_distribution(self, os_release: str, manager: str) -> None:
        assert choose(os_release, PROGRAMS) == MANAGERS[manager]

    def test_unknown_distribution(self) -> None:
        assert choose("ID=other\n", {"zypper"}) == MANAGERS["zypper"]
        assert choose("", {"dnf", "zypper"}) == MANAGERS["dnf"]
        assert choose("ID=other\n# a comment\n", set()) is None

    def test_manager_of_the_distribution_is_not_there(self) -> None:
        assert choose("ID=arch\n", {"apt-get"}) == MANAGERS["apt"]


class TestPackages:
    def test_missing_packages_are_named_once(self) -> None:
        results = [
            result(Status.MISSING, apt="b"),
            result(Status.TOO_OLD, apt="a"),
            result(Status.MISSING, apt="b"),
            result(Status.OK, apt="fine"),
            result(Status.WARNING, apt="fine-too"),
            result(Status.MISSING, dnf="other"),
            result(Status.MISSING),
        ]
        assert missing_packages(results, "apt") == ["a", "b"]

    @pytest.mark.parametrize(
        ("manager", "command"),
        [
            (
                "apt",
                f"DEBIAN_FRONTEND={INSTALL.replace(' ', ' apt-get ', 1)}",
            ),
            ("dnf", "dnf install -y passt"),
            ("zypper", "zypper -n install passt"),
            ("pacman", "pacman -S --noconfirm passt"),
        ],
    )
    def test_remedy(self, manager: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "_installer", lambda: MANAGERS[manager])
        missing = result(Status.MISSING, apt="passt", dnf="passt", zypper="passt", pacman="passt")
        assert packages.remedy([missing]) == command
        assert packages.remedy([result(Status.OK)]) == ""

    def test_no_remedy_without_a_manager(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "_installer", lambda: None)
        assert packages.remedy([result(Status.MISSING, apt="passt")]) == ""


class TestStaleLists:
    def test_none(self, tmp_path: Path) -> None:
        (tmp_path / "lock").touch()
        assert lists_are_stale(tmp_path, time.time())
        assert lists_are_stale(tmp_path / "missing", time.time())

    def test_by_the_time_of_the_last_update(self, tmp_path: Path) -> None:
        lists = tmp_path / "mirror_dists_stable_main_binary-amd64_Packages.lz4"
        lists.touch()
        os.utime(lists, (0, 0))  # the time that the mirror gave it
        (tmp_path / "partial").mkdir()
        now = time.time()
        assert not lists_are_stale(tmp_path, now)
        assert lists_are_stale(tmp_path, now + 2 * 86_400)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log of a stand-in for apt-get, which fails as the file beside it says."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> {tmp_path}/log\necho chatter\n'
        f'! grep -qx "$1" {tmp_path}/failing || {{ echo "E: broken" >&2; exit 100; }}\n'
    )
    program.chmod(0o755)
    (tmp_path / "failing").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(packages, "_installer", lambda: MANAGERS["apt"])
    monkeypatch.setattr(packages, "APT_LISTS", tmp_path / "lists")
    return tmp_path / "log"


@pytest.fixture
def sudo(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log of a stand-in for sudo, of a user without root."""
    program = apt.with_name("bin") / "sudo"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/sudo.log\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(user, "UID", 1000)
    return tmp_path / "sudo.log"


@pytest.mark.usefixtures("as_root")
class TestMend:
    MISSING: Sequence[Result] = (result(Status.MISSING, apt="passt"),)

    def test_mend_logs_commands_but_not_their_output(
        self, apt: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "postroj"):
            assert packages.mend(self.MISSING)
        assert apt.read_text().splitlines() == ["noninteractive update", INSTALL]
        assert caplog.messages == [
            "DEBIAN_FRONTEND=noninteractive apt-get update",
            f"DEBIAN_FRONTEND={INSTALL.replace(' ', ' apt-get ', 1)}",
        ]

    def test_fresh_lists_are_not_fetched_again(self, apt: Path, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "mirror_Packages").touch()
        assert packages.mend(self.MISSING)
        assert apt.read_text().splitlines() == [INSTALL]

    def test_update_may_fail(
        self, apt: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "failing").write_text("update\n")
        assert packages.mend(self.MISSING)
        assert len(apt.read_text().splitlines()) == 2
        assert (
            "'apt-get' ended with status 100; continuing with the old package lists" in caplog.text
        )

    def test_install_that_fails_has_evidence(self, apt: Path, tmp_path: Path) -> None:
        (tmp_path / "failing").write_text("install\n")
        with pytest.raises(CommandError) as caught:
            packages.mend(self.MISSING)
        assert caught.value.evidence == "chatter\nE: broken"
        assert apt.exists()

    def test_nothing_to_do(self, apt: Path) -> None:
        assert not packages.mend([result(Status.OK, apt="passt"), result(Status.MISSING)])
        assert not apt.exists()

    def test_commands_of_users_run_through_sudo(
        self, apt: Path, sudo: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "postroj"):
            assert packages.mend(self.MISSING)
        assert apt.read_text().splitlines() == ["noninteractive update", INSTALL]
        assert len(sudo.read_text().splitlines()) == 2
        assert not [text for text in caplog.messages if "sudo" in text or "chatter" in text]

    def test_command_that_fails_through_sudo_has_evidence(
        self, apt: Path, sudo: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "failing").write_text("install\n")
        with pytest.raises(CommandError) as caught:
            packages.mend(self.MISSING)
        assert caught.value.evidence == "chatter\nE: broken"
        assert sudo.exists()

    def test_commands_that_are_in_no_package_run_even_if_packages_are_out_of_reach(
        self, apt: Path, sudo: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "failing").write_text("install\n")
        lacking = replace(result(Status.MISSING), fix=("touch", str(tmp_path / "allowed")))
        assert packages.remedy([lacking]) == f"touch {tmp_path}/allowed"
        with pytest.raises(CommandError):
            packages.mend([lacking, *self.MISSING])
        assert sudo.read_text().splitlines()[-1].endswith(f" touch {tmp_path}/allowed")
        assert (tmp_path / "allowed").exists()

    @pytest.mark.parametrize("manager", ["pacman", None])
    def test_no_package_known(
        self, manager: str | None, apt: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installer = MANAGERS[manager] if manager else None
        monkeypatch.setattr(packages, "_installer", lambda: installer)
        with pytest.raises(HostError, match="no known package of this host contains 'thing'"):
            packages.mend(self.MISSING)
        assert not apt.exists()
