"""Whom to blame when dnf or zypper fails: outputs that were recorded in real guests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from postroj.probe.managers.base import PackageFacts, PackageFiles
from postroj.probe.managers.rpm.dnf import Dnf
from postroj.probe.managers.rpm.scriptlets import name_of
from postroj.probe.managers.rpm.zypper import Zypper
from postroj.verdict import Outcome
from tests.data.recorder import read
from tests.data.rpm.record import CASES, HERE, TOOLS

if TYPE_CHECKING:
    from postroj.probe.managers.base import Blame, PackageManager

PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR
Expected = tuple[Outcome, str, str]

UNREACHABLE = "the guest could not reach its package repositories"
UNFETCHED = "the guest could not fetch from its package repositories"
FULL = "the guest's disk is full"
MISMATCH = "the files of the guest's mirror do not match its index"
UNSIGNED = "the signature of a package repository is not valid in the guest"
LOCKED = "another package manager was at work in the guest"
TRIGGERED = "scriptlet failed, exit status 7"
OVERWRITES = (
    r"'overwrites-[ab]' ships '/usr/share/same', which is also in package 'overwrites-[ab]'"
)
UNPACKED = (
    r"the files of 'overwrites-a' cannot be unpacked|"
    r"'/usr/share/same' of 'overwrites-a' cannot be unpacked: "
    r"File from package already exists as a directory in system"
)

EXPECTED: dict[str, Expected | None] = {
    # case: whose fault it is, all of the sentence, and something in the evidence
    "unmet": (FAIL, "'unmet' depends on 'surely-not-there >= 2'", "nothing provides"),
    "unmet-several": (FAIL, "'unmet-several' depends on 'no-such-one'(, 'no-such-two >= 3')?", ""),
    "unmet-indirect": (FAIL, "'above' depends on 'innocent'", "surely-not-there"),
    "unmet-file": (FAIL, "'unmet-file' depends on '/usr/bin/surely-not-there'", ""),
    "unmet-library": (FAIL, r"'unmet-library' depends on 'libsurely\.so\.9\(\)\(64bit\)'", ""),
    "wrong-version": (FAIL, "'wrong-version' depends on 'good >= 99'", ""),
    "dependency-is-unmet": (FAIL, "'uninstallable' depends on 'surely-not-there'", "uninstallable"),
    "conflicts": (
        FAIL,
        r"'conflicts' conflicts with 'good', which 'good-1\.0-1\.noarch' provides",
        "",
    ),
    "conflicts-each-other": (
        FAIL,
        r"'conflicts-a' conflicts with 'good', which 'good-1\.0-1\.noarch' provides",
        "",
    ),
    "pre": (FAIL, "the %pre script of 'bad-pre' ended with status 4", "not on this machine"),
    "post": (FAIL, "the %post script of 'bad-post' ended with status 3", "no frobnicator"),
    "posttrans": (FAIL, "the %posttrans script of 'bad-posttrans' ended with status 5", "at last"),
    "post-killed": (
        FAIL,
        r"the %post script of 'killed' was killed by a signal \(Killed\)",
        "dying",
    ),
    "post-of-two": (FAIL, "the %post script of 'bad-post' ended with status 3", "no frobnicator"),
    "post-fetches": (
        FAIL,
        "the %post script of 'fetches' ended with status 1",
        "Failed to fetch the license",
    ),
    "preun": (FAIL, "the %preun script of 'bad-preun' ended with status 6", "not now"),
    "postun": (FAIL, "the %postun script of 'bad-postun' ended with status 8", "too late"),
    "preun-on-upgrade": (FAIL, "the %preun script of 'bad-preun' ended with status 6", ""),
    "lua-pre": (
        FAIL,
        "the %pre script of 'lua-pre' raised an error in Lua: not on this machine",
        "lua script failed",
    ),
    "lua-post": (
        FAIL,
        "the %post script of 'lua-post' raised an error in Lua: no frobnicator",
        "lua script failed",
    ),
    "missing-user": (
        FAIL,
        "files of 'missing-user' are for the user 'nobody-here', which does not exist: "
        "root owns them",
        "user nobody-here does not exist",
    ),
    "missing-group": (
        FAIL,
        "files of 'missing-group' are for the group 'nobody-here', which does not exist: "
        "root owns them",
        "group nobody-here does not exist",
    ),
    "missing-command": (
        FAIL,
        "a scriptlet of 'missing-command' calls 'surely-not-there', which the guest does not have",
        "surely-not-there: not found",
    ),
    "missing-command-bash": (
        FAIL,
        "a scriptlet of 'missing-command-bash' calls 'surely-not-there', "
        "which the guest does not have",
        "surely-not-there: command not found",
    ),
    "missing-path": (
        FAIL,
        "a scriptlet of 'missing-path' calls '/usr/bin/surely-not-there', "
        "which the guest does not have",
        "",
    ),
    "trigger-of-its-own": (
        FAIL,
        "the %triggerin script of 'own-trigger' ended with status 7 in a trigger",
        "pulled",
    ),
    # triggers of others: the package is to blame only if the evidence names a file of it
    "trigger": (
        PASS,
        "the %triggerin script of 'bad-trigger', which is not under test, "
        "ended with status 7 in a trigger",
        "pulled",
    ),
    "file-trigger": (
        PASS,
        "the %transfiletriggerin script of 'bad-file-trigger', which is not under test, "
        "ended with status 7 in a trigger",
        TRIGGERED,
    ),
    "trigger-names-its-file": (
        PASS,
        "the %triggerin script of 'picky-trigger', which is not under test, "
        "ended with status 7 in a trigger",
        "/usr/share/tripwire/x is not valid",
    ),
    # refused when the package is removed: nobody's
    "removes-protected": (FAIL, "protected packages of the guest would have to go: good", ""),
    "removes-what-protected-needs": (
        FAIL,
        "protected packages of the guest would have to go: above",
        "",
    ),
    "overwrites": (FAIL, OVERWRITES, "/usr/share/same"),
    "overwrites-each-other": (FAIL, OVERWRITES, "/usr/share/same"),
    "overwrites-directory": (FAIL, UNPACKED, "overwrites-a"),
    "foreign": (
        FAIL,
        "'foreign' is for an architecture that the guest does not have|"
        r"zypper finds no package 'foreign' in its file: is it for another architecture\?",
        "",
    ),
    "corrupt": (FAIL, r"'corrupt' is not a complete \.rpm package", "SHA256"),
    "corrupt-header": (FAIL, r"'corrupt-header\S*' is not a complete \.rpm package", ""),
    "cut": (FAIL, r"'cut' is not a complete \.rpm package", "SHA256"),
    "dependency-pre": (
        ERROR,
        "the %pre script of 'bad-pre', which is not under test, ended with status 4",
        "not on this machine",
    ),
    "downgrade-by-install": (ERROR, "the guest already has a newer version of the package", ""),
    "full-disk": (ERROR, FULL, "/opt/large"),
    "full-cache": (ERROR, FULL, ""),
    "no-network": (ERROR, UNREACHABLE, "resolve"),
    "refused": (ERROR, UNREACHABLE, "connect"),
    "refused-later": (ERROR, UNREACHABLE, "connect"),
    "not-found": (ERROR, UNFETCHED, ""),
    "unavailable": (ERROR, UNFETCHED, ""),
    "index-altered": (ERROR, MISMATCH, "checksum"),
    "index-cut": (ERROR, UNFETCHED, "primary"),
    "index-hangs": (ERROR, "(dnf|zypper) did not end within 4 s", ""),
    "index-unsigned": (ERROR, UNSIGNED, "repomd"),
    "package-altered": (ERROR, MISMATCH, "good-1.0-1.noarch"),
    "package-cut": (ERROR, UNFETCHED, "good-1.0-1.noarch"),
    "package-gone": (ERROR, UNFETCHED, "good-1.0-1.noarch"),
    "package-hangs": (ERROR, "(dnf|zypper) did not end within 4 s", ""),
    "package-unsigned": (ERROR, UNSIGNED, ""),
    "signature-demanded": (
        ERROR,
        "'innocent' has no signature that rpm can verify in the guest, and rpm demands one",
        "not signed|can't be checked",
    ),
    "signature-of-a-stranger": (
        ERROR,
        "'stranger' has no signature that rpm can verify in the guest, and rpm demands one",
        "",
    ),
    "signed-by-a-stranger": (ERROR, UNSIGNED, ""),
    "signed-with-another-key": (ERROR, UNSIGNED, ""),
    "repository-skipped": (ERROR, UNFETCHED, "second"),
    "installs-with-a-skipped-repository": (ERROR, UNFETCHED, "second"),
    "memory": (ERROR, "there was not enough memory in the guest", "failed to map segment"),
    "no-candidate": (ERROR, "the guest's repositories have no package 'surely-not-there'", ""),
    "no-tool": (ERROR, "the guest has no (dnf|zypper)", "ot found|No such file"),
    "lock": (ERROR, LOCKED, ""),
    "pre-hangs": (FAIL, "(dnf|zypper) hung for 5 s while .* 'sleepy-pre'", ""),
    "post-hangs": (FAIL, "(dnf|zypper) hung for 5 s while .* 'sleepy-post'", ""),
    "posttrans-hangs": (FAIL, "(dnf|zypper) hung for 5 s while .* 'sleepy-posttrans'", ""),
    "post-hangs-of-two": (FAIL, "(dnf|zypper) hung for 5 s while .* '(above-)?sleepy-post'", ""),
    "preun-hangs": (FAIL, "(dnf|zypper) hung for 5 s while .* 'sleepy-preun'", ""),
    "dependency-hangs": (ERROR, "(dnf|zypper) hung for 5 s while .* 'sleepy-post'", ""),
    "dependency-pre-hangs": (ERROR, "(dnf|zypper) hung for 5 s while .* 'sleepy-pre'", ""),
    # what is not installed afterwards is noticed without these
    **dict.fromkeys(("same-by-install", "downgrade-of-newer")),
    **dict.fromkeys(("installs", "two", "reinstalls", "upgrades", "downgrades", "removes")),
    **dict.fromkeys(("removes-what-is-needed", "refreshes", "downloads")),
    **dict.fromkeys(("reinstalls-with-scripts", "upgrades-with-scripts")),
    # rpm has gone on without it, and it is not under test
    **dict.fromkeys(("dependency-post", "dependency-lua-post")),
    **dict.fromkeys(("dependency-missing-user", "dependency-missing-command")),
}
ZYPPERS = [tool for tool in TOOLS if "zypper" in tool]
FINE = [
    *(("removes-protected", tool) for tool in ZYPPERS),
    *(("removes-what-protected-needs", tool) for tool in ZYPPERS),
    *(("installs-with-a-skipped-repository", tool) for tool in ZYPPERS),
    ("signature-of-a-stranger", "dnf5-sid"),
    *(("downgrade-by-install", tool) for tool in TOOLS if "dnf" in tool),
    ("signature-demanded", "dnf5-sid"),
]
"""What single tools do without being asked."""


def names_of(case: str) -> list[str]:
    """Names of the packages under test."""
    return [re.sub(r"-\d.*", "", word) for word in CASES[case].packages.split()]


def found_in(tool: str, case: str) -> Blame | None:
    """What a recorded output is taken for."""
    recorded = read(HERE / tool / f"{case}.txt")
    manager = TOOLS[tool].manager
    if recorded.status is None:
        return manager.blame_timeout(recorded.output, names_of(case), CASES[case].timeout)
    return manager.blame(recorded.status, recorded.output, names_of(case))


def test_every_case_is_recorded_and_expected() -> None:
    assert set(CASES) == set(EXPECTED)
    for tool in TOOLS:
        assert {path.stem for path in (HERE / tool).iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tool", TOOLS)
def test_blame_of_recorded_outputs(tool: str, case: str) -> None:
    expected = EXPECTED[case]
    if (case, tool) in FINE:
        expected = None
    found = found_in(tool, case)
    if expected is None:
        assert found is None
        return
    outcome, sentence, evidence = expected
    assert found
    assert found.outcome is outcome, found
    assert re.fullmatch(sentence, found.sentence), found
    assert re.search(evidence, found.evidence), found
    assert len(found.evidence.splitlines()) <= 20
    assert bool(found.trigger) == (outcome is PASS)
    assert found.is_refusal == bool(re.search(r"protected|depends on", found.sentence))


def test_blame_of_a_failure_that_status_0_hides() -> None:
    """What the tools themselves say is no failure, and is one."""
    silent = {
        (tool, case)
        for tool in TOOLS
        for case, expected in EXPECTED.items()
        if read(HERE / tool / f"{case}.txt").status in (0, 106, 107) and expected
    }
    assert ("dnf-bookworm", "post") in silent
    assert ("zypper-bookworm", "posttrans") in silent
    assert ("zypper-sid", "preun-on-upgrade") in silent


@pytest.mark.parametrize("tool", TOOLS)
def test_recordings_name_no_host_but_the_example_mirror(tool: str) -> None:
    text = "".join(path.read_text() for path in (HERE / tool).iterdir())
    hosts = set(re.findall(r"https?://([^/\s'\"]+)", text))
    assert hosts <= {"mirror.example", "127.0.0.1"}


def test_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in HERE.rglob("*.txt")) < 600_000


@pytest.mark.parametrize("status", [1, 4, 104])
@pytest.mark.parametrize("manager", [Dnf(), Zypper()])
def test_blame_of_unknown_output_is_an_error(manager: PackageManager, status: int) -> None:
    found = manager.blame(status, "odd\n", ["a"])
    assert found and (found.outcome, found.evidence) == (ERROR, "odd")


def test_blame_of_a_scriptlet_whose_failure_only_dnf_reports() -> None:
    said = "Complete!\nError in POSTIN scriptlet in rpm package my-long-name\n"
    found = Dnf().blame(0, said, ["my-long-name"])
    assert found and (found.outcome, found.sentence) == (
        FAIL,
        "the %post script of 'my-long-name' failed",
    )
    assert Dnf().blame(0, said, ["my"]) is None


@pytest.mark.parametrize("status", [102, 103, 106, 107])
def test_blame_of_the_statuses_with_which_zypper_reports_a_success(status: int) -> None:
    assert Zypper().blame(status, "(1/1) Installing: a-1-1.noarch [..done]\n", ["a"]) is None


def test_hint_of_a_missing_dependency_names_repositories_that_an_image_lacks() -> None:
    found = found_in("dnf-bookworm", "unmet")
    assert found and "EPEL" in found.hint and "`--setup`" in found.hint


@pytest.mark.parametrize("tool", ["dnf-bookworm", "dnf-sid", "dnf5-sid", "zypper-sid"])
def test_reinstall_runs_the_scriptlets_of_an_upgrade(tool: str) -> None:
    """The recorded scriptlets print their names, the version and $1."""
    said = [
        re.findall(r"\w+ of \d\.0 with \d", read(HERE / tool / f"{case}.txt").output)
        for case in ("reinstalls-with-scripts", "upgrades-with-scripts")
    ]
    assert said[0] == [line.replace("of 2.0", "of 1.0") for line in said[1]]
    assert "preun of 1.0 with 1" in said[0]


def test_blame_of_status_137_names_memory() -> None:
    found = Dnf().blame(137, "Running transaction", ["a"])
    assert found and (found.outcome, found.sentence) == (ERROR, "dnf was killed in the guest")


def test_blame_of_a_conflict_between_packages_that_are_not_under_test_is_an_error() -> None:
    said = (
        "Error: Transaction test error:\n"
        "  file /a b from install of other-1.0-1.noarch conflicts with file from package "
        "third-1:2.0-3.fc41.x86_64\n"
    )
    found = Dnf().blame(1, said, ["mine"])
    assert found and found.outcome is ERROR
    assert found.sentence == (
        "'other' ships '/a b', which is also in package 'third'; it is not under test"
    )


def test_evidence_has_the_matched_line_even_if_it_is_not_among_the_last() -> None:
    said = "file /x from install of a-1-1.noarch conflicts with file from package b-1-1.noarch"
    found = Dnf().blame(1, "\n".join([said, *map(str, range(50))]), ["a"])
    assert found and found.evidence.startswith("file /x from install of a-1-1.noarch")
    assert found.evidence.endswith("\n49")


@pytest.mark.parametrize(
    "text", ["x" * 60_000, "nothing provides " * 4_000, "package a " * 6_000, "File /a\n " * 6_000]
)
def test_blame_of_long_output_is_quick(text: str) -> None:
    import time

    began = time.monotonic()
    Dnf().blame(1, text, ["a"])
    Dnf().blame_timeout(text, ["a"], 5)
    assert time.monotonic() - began < 3


def test_blame_of_many_complaints_of_others_is_quick() -> None:
    import time

    said = "  Running scriptlet: b-1-1.noarch 1/1\n/tmp/rpm-tmp.a: 1: x: not found\n" * 15_000
    began = time.monotonic()
    assert Dnf().blame(0, said, ["a"]) is None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("nevra", "name"),
    [
        ("bash-5.1-1.x86_64", "bash"),
        ("a-b-c-1:2.0-3.fc41.noarch", "a-b-c"),
        ("a-1.0-1.noarch.rpm", "a"),
        ("plain", "plain"),
        ("two-parts", "two-parts"),
    ],
)
def test_name_of_a_nevra(nevra: str, name: str) -> None:
    assert name_of(nevra) == name


class TestCommands:
    @pytest.mark.parametrize("operation", ["install", "reinstall", "upgrade", "downgrade"])
    def test_operations_of_dnf(self, operation: str) -> None:
        argv = getattr(Dnf(), operation)(["/a b.rpm"])
        assert argv[-2:] == [operation, "/a b.rpm"]
        assert "--assumeyes" in argv

    @pytest.mark.parametrize(
        ("operation", "option"),
        [("install", ""), ("upgrade", ""), ("reinstall", "--force"), ("downgrade", "--oldpackage")],
    )
    def test_operations_of_zypper(self, operation: str, option: str) -> None:
        argv = getattr(Zypper(), operation)(["/a b.rpm"])
        assert argv[0:2] == ["zypper", "--non-interactive"]
        assert argv[-1] == "/a b.rpm"
        assert ({"--force", "--oldpackage"} & set(argv)) == ({option} if option else set())
        assert "--no-gpg-checks" not in argv

    def test_fetch_only_downloads(self) -> None:
        assert Dnf().fetch(["/a.rpm"])[-3:] == ["install", "--downloadonly", "/a.rpm"]
        argv = Zypper().fetch(["/a.rpm"])
        assert "--download-only" in argv and argv[-1] == "/a.rpm"

    def test_only_refresh_of_dnf_downloads_lists(self) -> None:
        never = "--setopt=*.metadata_expire=-1"
        assert never not in Dnf().refresh()
        assert all(never in argv for argv in (Dnf().install(["/a"]), Dnf().fetch(["/a"])))

    def test_remove_leaves_dependencies(self) -> None:
        assert "--setopt=clean_requirements_on_remove=0" in Dnf().remove(["a"])
        assert "--clean-deps" not in Zypper().remove(["a"])

    def test_purge_is_the_same_as_remove(self) -> None:
        for manager in (Dnf(), Zypper()):
            assert manager.purge(["a"]) == manager.remove(["a"])
            assert not manager.purges_later
            assert ".rpmsave" in manager.saved

    def test_queries_read_the_answers_of_rpm(self) -> None:
        manager = Dnf()
        assert manager.describe("/a.rpm").read("a\t1:1.0-1\tnoarch\n") == PackageFacts(
            name="a", version="1:1.0-1", architecture="noarch"
        )
        assert manager.installed(["a", "b"]).read("package b is not installed\n") == ()
        assert manager.architectures().read("x86_64\nx86_64 i686\nnoarch\n") == (
            "x86_64",
            "i686",
            "noarch",
        )
        said = "/etc/a\n/usr/a b\nconfiguration:\n/etc/a\n"
        assert manager.files("a").read(said) == PackageFiles(
            files=("/etc/a", "/usr/a b"), configuration=("/etc/a",)
        )
        nothing = "(contains no files)\nconfiguration:\n(contains no files)\n"
        assert manager.files("a").read(nothing) == PackageFiles(files=(), configuration=())
