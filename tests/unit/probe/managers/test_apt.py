"""Whom to blame when apt fails: outputs that were recorded in real guests of every release."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.base import Blame, PackageFacts, PackageFiles
from postroj.probe.managers.causes import plain
from postroj.verdict import Outcome
from tests.data.apt.record import CASES, HERE

FAIL, ERROR = Outcome.FAIL, Outcome.ERROR
RELEASES = ("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid")
POSTINST = {"debian-sid": "postinst"}
"""What dpkg calls it; `{postinst}` below."""

UNREACHABLE = "the guest could not reach its package repositories"
UNFETCHED = "the guest could not fetch from its package repositories"
FULL = "the guest's disk is full"
LOCKED = "another package manager was at work in the guest"
MISMATCH = "the files of the guest's mirror do not match its index"
NOT_THERE = "(it is not installable)"

EXPECTED: dict[str, tuple[Outcome, str, str]] = {
    # case: whose fault it is, the sentence, and something in the evidence
    "unmet": (FAIL, f"'unmet' depends on 'surely-not-there (>= 2)' {NOT_THERE}", ""),
    "unmet-several": (
        FAIL,
        f"'unmet-several' depends on 'no-such-one' {NOT_THERE}, "
        f"'no-such-two' {NOT_THERE} or 'no-such-three' {NOT_THERE}",
        "no-such-three",
    ),
    "unmet-indirect": (FAIL, f"'unmet' depends on 'surely-not-there (>= 2)' {NOT_THERE}", ""),
    "unmet-predepends": (
        FAIL,
        f"'unmet-predepends' depends on 'surely-not-there (>= 2)' {NOT_THERE}",
        "PreDepends",
    ),
    "wrong-version": (FAIL, "'wrong-version' depends on 'libc6 (>= 99)' (2.", ""),
    "virtual": (FAIL, "'virtual' depends on 'mail-transport-agent (>= 99)'", ""),
    "virtual-none": (FAIL, f"'virtual-none' depends on 'surely-not-there:any' {NOT_THERE}", ""),
    "dependency-is-unmet": (FAIL, "uninstallable' depends on '", "surely-not-there"),
    "conflicts-essential": (FAIL, "", "conflicts-essential"),
    "conflicts-each-other": (
        FAIL,
        "'conflicts-a' conflicts with 'conflicts-b' (1.0 is to be installed)",
        "conflicts-b : Breaks: conflicts-a",
    ),
    "breaks": (FAIL, "", "dpkg"),
    "preinst": (FAIL, "script of 'bad-preinst' ended with status 4", "not on this machine"),
    "postinst": (
        FAIL,
        "the {postinst} script of 'bad-postinst' ended with status 3",
        "no frobnicator",
    ),
    "postinst-killed": (
        FAIL,
        "the {postinst} script of 'killed' was killed by a signal (Killed)",
        "dying",
    ),
    "postinst-dumped": (
        FAIL,
        "the {postinst} script of 'dumped' was killed by a signal (Segmentation fault)",
        "",
    ),
    "postinst-no-interpreter": (
        FAIL,
        "the {postinst} script of 'no-interpreter' ended with status 2",
        "No such file or directory",
    ),
    "postinst-not-connected": (
        FAIL,
        "the {postinst} script of 'not-connected' ended with status 1",
        "Could not connect to Redis",
    ),
    "postinst-fetches": (
        FAIL,
        "the {postinst} script of 'fetches' ended with status 1",
        "Failed to fetch the license",
    ),
    "postinst-installs": (
        FAIL,
        "the {postinst} script of 'installs' ended with status 100",
        "E: ",
    ),
    "postinst-job-failed": (
        FAIL,
        "the {postinst} script of 'job-failed' ended with status 1",
        "Job for job-failed.service failed",
    ),
    "postinst-of-two": (
        FAIL,
        "the {postinst} script of 'bad-postinst' ended with status 3",
        "no frobnicator",
    ),
    "prerm-on-upgrade": (FAIL, "script of 'prerm' ended with status 6", "new prerm"),
    # triggers of others: the package is to blame only if the evidence names a file of it
    "trigger": (
        ERROR,
        "the {postinst} script of 'bad-trigger', which is not under test, "
        "ended with status 7 in a trigger",
        "pulled",
    ),
    "trigger-names-its-file": (
        ERROR,
        "the {postinst} script of 'picky-trigger', which is not under test, "
        "ended with status 7 in a trigger",
        "/usr/share/tripwire/x is not valid",
    ),
    # refused when the package is removed: nobody's
    "removes-essential": (FAIL, "would remove essential packages", ""),
    "removes-what-essential-needs": (FAIL, "", "above-essential"),
    "purges-protected": (FAIL, "would remove essential packages", ""),
    "purges-forgotten": (ERROR, "apt-get failed", "Unable to locate package innocent"),
    "overwrites": (
        FAIL,
        "'overwrites_1.0_all.deb' ships '/usr/bin/perl', which is also in package 'perl-base'",
        "",
    ),
    "overwrites-each-other": (
        FAIL,
        "'overwrites-b_1.0_all.deb' ships '/usr/share/same', "
        "which is also in package 'overwrites-a'",
        "",
    ),
    "foreign": (FAIL, "'foreign_1.0_s390x.deb' is for s390x, the guest is amd64", ""),
    "foreign-with-dependency": (FAIL, "'foreign-needs:s390x' depends on 'libc6:s390x'", ""),
    "corrupt": (FAIL, "'corrupt_1.0_all.deb' is not a complete .deb package", ""),
    "corrupt-xz": (FAIL, "'corrupt-xz_1.0_all.deb' is not a complete .deb package", ""),
    "dependency-script": (
        ERROR,
        "the {postinst} script of 'bad-postinst', which is not under test, ended with status 3",
        "no frobnicator",
    ),
    "not-configured": (
        ERROR,
        "the {postinst} script of 'bad-postinst', which is not under test, ended with status 3",
        "no frobnicator",
    ),
    "downgrade": (ERROR, "the guest already has a newer version of the package", "newer"),
    "interrupted": (ERROR, "dpkg was interrupted in the guest before", ""),
    "lock": (ERROR, LOCKED, "lock-frontend"),
    "lock-lists": (ERROR, LOCKED, "/var/lib/apt/lists/lock"),
    "full-archives": (ERROR, FULL, ""),
    "full-disk": (ERROR, FULL, "'./opt/large/data'"),
    "full-lists": (ERROR, FULL, ""),
    # what FAIL would be a lie about: nobody asks apt to install after a refresh that failed
    "no-network-bare": (FAIL, f"'needs-hello' depends on 'hello' {NOT_THERE}", ""),
    "no-network": (ERROR, UNREACHABLE, "Temporary failure resolving"),
    "no-network-any-more": (ERROR, UNREACHABLE, "Temporary failure resolving"),
    "no-dns": (ERROR, UNREACHABLE, ""),
    "refused": (ERROR, UNREACHABLE, "onnect"),
    "not-found": (ERROR, UNFETCHED, "404"),
    "unavailable": (ERROR, UNFETCHED, "503"),
    "expired": (ERROR, "a Release file of the guest's mirror has expired", "invalid since"),
    "not-yet-valid": (ERROR, "a Release file of the guest's mirror is dated in the future", ""),
    "unsigned": (
        ERROR,
        "the signature of a package repository is not valid in the guest",
        "is not signed",
    ),
    "index-altered": (ERROR, MISMATCH, "Hash Sum mismatch"),
    "index-cut": (ERROR, UNFETCHED, ""),
    "deb-altered": (ERROR, MISMATCH, "Hash Sum mismatch"),
    "deb-cut": (ERROR, UNFETCHED, ""),
    "deb-gone": (ERROR, UNFETCHED, "404"),
    "index-hangs": (ERROR, "apt-get did not end within 4 s", ""),
    "deb-hangs": (ERROR, "apt-get did not end within 4 s", "deb-hangs ./ good"),
    "lock-hangs": (ERROR, "apt-get did not end within 4 s", ""),
    "preinst-hangs": (
        FAIL,
        "apt-get hung for 5 s while preparing to unpack .../sleepy-preinst_1.0_all.deb",
        "zzz",
    ),
    "postinst-hangs": (
        FAIL,
        "apt-get hung for 5 s while setting up sleepy-postinst",
        "zzz",
    ),
    "postinst-hangs-of-two": (
        FAIL,
        "apt-get hung for 5 s while setting up sleepy-postinst",
        "zzz",
    ),
    "dependency-hangs": (
        ERROR,
        "apt-get hung for 5 s while setting up sleepy-postinst",
        "zzz",
    ),
    "dependency-preinst-hangs": (
        ERROR,
        "apt-get hung for 5 s while preparing to unpack .../sleepy-preinst_1.0_all.deb",
        "zzz",
    ),
    "trigger-hangs": (
        ERROR,
        "apt-get hung for 5 s while processing triggers for sleepy-trigger",
        "pulled",
    ),
}
SUCCEEDED = "not-started"
"""The case whose installation succeeds."""
ENDLESS = ("debian-bookworm", "full-lists")
"""apt 2.6 hangs where the others say what is wrong."""

NAMES = {"prerm-on-upgrade": ["prerm"], "downgrade": ["newer"]}
"""Of the packages under test, where the files are named otherwise."""


def blame(text: str, names: list[str]) -> Blame:
    found = Apt().blame(100, text, names)
    assert found
    return found


def recorded(release: str, case: str) -> str:
    text = (HERE / release / f"{case}.txt").read_text()
    assert not text.startswith("SUCCEEDED"), "it did not fail when it was recorded"
    return text


def test_every_case_is_recorded_and_expected() -> None:
    assert set(CASES) == set(EXPECTED) | {SUCCEEDED}
    for release in RELEASES:
        assert {path.stem for path in (HERE / release).iterdir()} == set(CASES)


@pytest.mark.parametrize("case", EXPECTED)
@pytest.mark.parametrize("release", RELEASES)
def test_blame_of_recorded_outputs(release: str, case: str) -> None:
    outcome, sentence, evidence = EXPECTED[case]
    text = recorded(release, case)
    names = NAMES.get(case, CASES[case].packages.split())
    hangs = case.endswith("hangs") or "-hangs-" in case or (release, case) == ENDLESS
    if (release, case) == ENDLESS:
        sentence = "apt-get did not end within 100 s"
    timeout = CASES[case].timeout
    found = Apt().blame_timeout(text, names, timeout) if hangs else blame(text, names)
    assert found.outcome is outcome, found
    assert sentence.format(postinst=POSTINST.get(release, "post-installation")) in found.sentence
    assert evidence in found.evidence
    assert len(found.evidence.splitlines()) <= 20
    assert bool(found.trigger) == case.startswith("trigger")
    assert found.is_refusal or not case.startswith(("removes", "purges-protected"))

    assert "\n" not in found.sentence
    assert not found.sentence.endswith(".")


@pytest.mark.parametrize("release", RELEASES)
def test_not_started_names_a_unit_that_its_script_enables_too_late(release: str) -> None:
    text = (HERE / release / f"{SUCCEEDED}.txt").read_text()
    assert Apt().not_started(text) == ("late.service",)
    assert Apt().not_started(recorded(release, "postinst")) == ()


def test_not_started_of_an_older_wording() -> None:
    said = "a@b.socket is a disabled or a static unit not running, not starting it.\n"
    assert Apt().not_started(said) == ("a@b.socket",)


@pytest.mark.parametrize("release", RELEASES)
def test_recordings_name_no_host_but_the_example_mirror(release: str) -> None:
    text = "".join(path.read_text() for path in (HERE / release).iterdir())
    hosts = {line.split("//")[1].partition("/")[0] for line in text.split() if "://" in line}
    assert hosts <= {"mirror.example"}


ESSENTIAL = "the package would remove essential packages of the guest"


@pytest.mark.parametrize("case", ["conflicts-essential", "breaks"])
def test_older_apt_would_remove_dpkg_and_newer_names_the_conflict(case: str) -> None:
    said = {release: blame(recorded(release, case), [case]).sentence for release in RELEASES}
    assert said.pop("debian-bullseye") == ESSENTIAL
    verb = "breaks 'dpkg (< 99)'" if case == "breaks" else "conflicts with 'dpkg'"
    assert all(sentence.startswith(f"'{case}' {verb} (1.2") for sentence in said.values())


def cut_off(text: str, phase: str) -> str:
    """What had been said when time ran out in a phase."""
    position = text.index(f"\n{phase}") + 1
    return text[: text.index("\n", position) + 1]


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        ("Reading package lists", ERROR),
        ("The following NEW packages", ERROR),
        ("Get:2 http", ERROR),
        ("Preparing to unpack .../needs-sleepy", FAIL),
        ("Preparing to unpack .../sleepy", ERROR),
        ("Unpacking sleepy-postinst", ERROR),
        ("Unpacking needs-sleepy", FAIL),
        ("Setting up sleepy-postinst", ERROR),
    ],
)
@pytest.mark.parametrize("release", RELEASES)
def test_blame_timeout_in_each_phase(release: str, phase: str, outcome: Outcome) -> None:
    """A dependency of the mirror, and the package under test that needs it."""
    text = cut_off("\n" + recorded(release, "dependency-hangs"), phase)
    found = Apt().blame_timeout(text, ["needs-sleepy"], 5)
    assert found.outcome is outcome, found


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("Setting up redis:amd64 (5:7.0-1) ...", FAIL),
        ("Setting up redis-tools (5:7.0-1) ...", ERROR),
        ("Setting up libredis (5:7.0-1) ...", ERROR),
        ("Preparing to unpack .../0-my.deb ...", FAIL),
        ("Preparing to unpack .../packages/my.deb ...", FAIL),
        ("Preparing to unpack .../archives/redis_1_amd64.deb ...", ERROR),
        ("Preparing to unpack .../12-redis_1_amd64.deb ...", ERROR),
    ],
)
def test_blame_timeout_compares_whole_names(line: str, outcome: Outcome) -> None:
    text = f"Get:1 /run/postroj/packages/my.deb redis amd64 1 [9 kB]\n{line}\n"
    assert Apt().blame_timeout(text, ["redis"], 5).outcome is outcome


def test_broken_archive_of_the_mirror_is_not_under_test() -> None:
    said = (
        "Get:1 http://mirror.example/debian sid/main amd64 other amd64 2.0 [1 kB]\n"
        "dpkg: error processing archive /tmp/apt-dpkg-install-x/1-other_2.0_amd64.deb (--unpack):\n"
        " trying to overwrite '/a', which is also in package mine 1.0\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)"
    )
    found = blame(said, ["mine"])
    assert (found.outcome, "not under test" in found.sentence) == (Outcome.ERROR, True)


def test_broken_archive_among_many_is_named_without_its_number() -> None:
    text = (
        "dpkg: error processing archive /tmp/apt-dpkg-install-Xy/07-my package_1.deb (--unpack):\n"
        " trying to overwrite '/a b', which is also in package other 1.0\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    found = blame(text, ["my"])
    assert found.outcome is FAIL
    assert found.sentence == "'my package_1.deb' ships '/a b', which is also in package 'other'"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", ERROR),
        ("E: Something new", ERROR),
        ("E: Sub-process /usr/bin/dpkg exited unexpectedly", ERROR),
        ("dpkg: whatever\nE: Sub-process /usr/bin/dpkg returned an error code (1)", FAIL),
        ("The following packages have unmet dependencies:\n a : Depends: b\n", FAIL),
        ("The following packages have unmet dependencies:\n", ERROR),
        ("The following packages have unmet dependencies:\nE: odd\n", ERROR),
    ],
)
def test_blame_of_output_that_was_never_recorded(text: str, outcome: Outcome) -> None:
    assert blame(text, ["a"]).outcome is outcome


def test_unmet_dependency_on_a_virtual_package() -> None:
    text = (
        "The following packages have unmet dependencies:\n"
        " a : Depends: b (>= 1) which is a virtual package and is not provided or\n"
        "              c but it is not going to be installed\n"
    )
    found = blame(text, ["a"])
    assert "'a' depends on 'b (>= 1)'" in found.sentence
    assert "'c' (it is not going to be installed)" in found.sentence


def test_plain_removes_overwritten_progress() -> None:
    assert plain("one\r\ntwo\n 0%\r 50%\r100%\nthree\r") == "one\ntwo\n100%\nthree"


def test_blame_of_dpkg_alone_holds_nothing_against_the_package() -> None:
    text = "dpkg: dependency problems prevent removal of libx:\n liby depends on libx.\n\n"
    found = blame(f"{text}dpkg: error processing package libx (--purge):\n", ["a"])
    assert (found.outcome, found.sentence) == (ERROR, "dpkg failed")


def test_blame_of_long_output_is_quick() -> None:
    text = "x : y but z or " * 20_000 + "\n" + " a\n" * 50_000
    assert blame(text, ["a"]).outcome is ERROR
    head = "The following packages have unmet dependencies:\n"
    assert blame(f"{head} a : Depends: {'b ' * 50_000}\n", ["a"]).outcome is FAIL


class TestCommands:
    def test_refresh(self) -> None:
        assert Apt().refresh() == [
            *("apt-get", "--quiet"),
            *("--option=APT::Update::Error-Mode=any", "--option=Acquire::Languages=none"),
            "update",
        ]

    def test_install(self) -> None:
        argv = Apt().install(["/run/a.deb", "/run/b c.deb"])
        assert argv[:3] == ["apt-get", "--quiet", "--yes"]
        assert argv[-3:] == ["install", "/run/a.deb", "/run/b c.deb"]
        assert "--option=Dpkg::Options::=--force-confold" in argv
        assert not [word for word in argv if "allow" in word or word.startswith("--force")]

    def test_environment_prevents_questions(self) -> None:
        assert Apt().environment["DEBIAN_FRONTEND"] == "noninteractive"

    @pytest.mark.parametrize(
        ("argv", "words"),
        [
            (Apt().reinstall(["/a"]), ["install", "--reinstall", "/a"]),
            (
                Apt().fetch(["/a"]),
                ["install", "--download-only", "--option=Acquire::Retries=0", "/a"],
            ),
            (Apt().upgrade(["/a"]), ["install", "/a"]),
            (Apt().downgrade(["/a"]), ["install", "--allow-downgrades", "/a"]),
            (Apt().remove(["a", "b"]), ["remove", "a", "b"]),
        ],
    )
    def test_other_operations_end_with_their_words(self, argv: list[str], words: list[str]) -> None:
        assert argv[-len(words) :] == words
        assert argv[:3] == ["apt-get", "--quiet", "--yes"]
        assert "--option=Dpkg::Options::=--force-confold" in argv

    def test_exchange_runs_dpkg_alone(self) -> None:
        argv = Apt().exchange(["/a"])
        assert argv is not None
        assert (argv[0], argv[-2:]) == ("dpkg", ["--install", "/a"])
        assert "--force-confold" in argv
        assert "--force-downgrade" not in argv

    def test_purge_falls_back_to_apt(self) -> None:
        argv = Apt().purge(["a", "b"])
        assert argv[:2] == ["sh", "-c"]
        assert argv[-3:] == [" ".join(Apt().remove([])).replace("remove", "purge"), "a", "b"]

    def test_describe_reads_the_fields_of_a_package(self) -> None:
        query = Apt().describe("/a.deb")
        assert query.argv[-4:] == ("/a.deb", "Package", "Version", "Architecture")
        text = "Package: hello\nVersion: 1:2.0-1\nArchitecture: all\n"
        assert query.read(text) == PackageFacts(name="hello", version="1:2.0-1", architecture="all")
        assert query.read("") == PackageFacts(name="", version="", architecture="")

    def test_installed_skips_packages_with_only_configuration_left(self) -> None:
        text = "installed\ta\t1.0\tall\nconfig-files\tb\t2.0\tamd64\n"
        (found,) = Apt().installed(["a", "b"]).read(text)
        assert found == PackageFacts(name="a", version="1.0", architecture="all")

    def test_files_reads_configuration_files_apart(self) -> None:
        text = "/.\n/etc\n/etc/a b\nconfiguration:\n\n /etc/a b 0123\n"
        assert Apt().files("a").read(text) == PackageFiles(
            files=("/etc", "/etc/a b"), configuration=("/etc/a b",)
        )

    def test_diversions_are_joined_to_the_package_that_made_them(self) -> None:
        query = Apt().diversions()
        assert query
        by_dash = "diversion of /bin/sh to /bin/sh.distrib by dash"
        local = "local diversion of /etc/a to /etc/a by me"
        assert query.read(f"{by_dash}\n{local}\n") == {by_dash: "dash", local: ""}

    def test_blame_ignores_the_output_of_a_success(self) -> None:
        assert Apt().blame(0, "E: whatever", ["a"]) is None


def test_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in Path(HERE).rglob("*.txt")) < 1_000_000
