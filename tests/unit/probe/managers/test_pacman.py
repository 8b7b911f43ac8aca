"""Whom to blame when pacman fails: outputs that were recorded in real guests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from postroj.probe.managers.base import PackageFacts, PackageFiles
from postroj.probe.managers.pacman.pacman import Pacman
from postroj.verdict import Outcome
from tests.data.pacman.record import CASES, HERE, TOOLS
from tests.data.recorder import read

if TYPE_CHECKING:
    from postroj.probe.managers.base import Blame

PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR
Expected = tuple[Outcome, str, str]

UNREACHABLE = "the guest could not reach its package repositories"
UNFETCHED = "the guest could not fetch from its package repositories"
FULL = "the guest's disk is full"
MISMATCH = "the files of the guest's mirror do not match its index"
UNSIGNED = "the signature of a package repository is not valid in the guest"
SHIPS = "'overwrites-a' ships '/usr/share/same', which "

EXPECTED: dict[str, Expected | None] = {
    # case: whose fault it is, the sentence, and something in the evidence
    "unmet": (FAIL, "'unmet' depends on 'surely-not-there>=2'", ""),
    "unmet-several": (
        FAIL,
        "'unmet-several' depends on 'no-such-one', 'no-such-two>=3'",
        "no-such-two",
    ),
    "unmet-indirect": (FAIL, "'above' depends on 'innocent'", "surely-not-there"),
    "wrong-version": (FAIL, "'wrong-version' depends on 'good>=99'", ""),
    "dependency-is-unmet": (
        FAIL,
        "'needs-uninstallable' depends on 'uninstallable'",
        "surely-not-there",
    ),
    "conflicts": (FAIL, "'conflicts' and 'good' are in conflict", ""),
    "conflicts-each-other": (FAIL, "'conflicts' and 'good' are in conflict", ""),
    "pre": (FAIL, "a script of 'bad-pre' failed", "not on this machine"),
    "post": (FAIL, "a script of 'bad-post' failed", "no frobnicator"),
    "post-killed": (FAIL, "a script of 'killed' was killed by a signal (Killed)", "dying"),
    "post-of-two": (FAIL, "a script of 'bad-post' failed", "no frobnicator"),
    "post-fetches": (FAIL, "a script of 'fetches' failed", "Failed to fetch the license"),
    "post-syntax": (FAIL, "a script of 'syntax' failed", ".INSTALL"),
    "pre-remove": (FAIL, "a script of 'bad-remove' failed", "not now"),
    "post-upgrade": (FAIL, "a script of 'bad-upgrade' failed", "from 1.0-1 to 2.0-1"),
    # hooks: the package is to blame only if it owns one, or if the evidence names a file of it
    "hook": (PASS, "the hook 'bad-hook.hook' of pacman failed", "pulled"),
    "hook-of-package": (PASS, "the hook 'bad-hook.hook' of pacman failed", "pulled"),
    "hook-names-its-file": (
        PASS,
        "the hook 'Looking at wires' of pacman failed",
        "/usr/share/tripwire/x is not valid",
    ),
    "pre-hook": (ERROR, "the hook 'bad-pre-hook.hook' of pacman failed", "pulled"),
    "missing-command": (
        FAIL,
        "a script of 'missing-command' calls 'surely-not-there', which the guest does not have",
        "not found",
    ),
    "missing-command-bash": (
        FAIL,
        "a script of 'missing-command' calls 'surely-not-there', which the guest does not have",
        "command not found",
    ),
    "missing-path-bash": (
        FAIL,
        "a script of 'missing-path' calls '/usr/bin/surely-not-there', "
        "which the guest does not have",
        "No such file or directory",
    ),
    # refused when the package is removed: nobody's
    "removes-held": (FAIL, "'good', which pacman holds, would have to go", ""),
    "removes-what-held-needs": (FAIL, "'above', which pacman holds, would have to go", ""),
    "overwrites": (FAIL, f"{SHIPS}is also in package 'overwrites-b'", ""),
    "overwrites-each-other": (FAIL, f"{SHIPS}is also in package 'overwrites-b'", ""),
    "overwrites-unowned": (
        FAIL,
        f"{SHIPS.removesuffix('is ')}already exists and belongs to no package",
        "",
    ),
    "foreign": (FAIL, "'foreign' is for s390x, which the guest does not have", ""),
    **{
        name: (FAIL, f"'{name}-1.0-1-any.pkg.tar.zst' is not a complete pacman package", "error")
        for name in ("corrupt", "corrupt-begin", "cut", "no-package")
    },
    "full-disk": (ERROR, FULL, "/opt/large"),
    "full-cache": (ERROR, FULL, "/var/cache/pacman/pkg"),
    "full-unchecked": (ERROR, FULL, "/opt/large/data"),
    "no-network": (ERROR, UNREACHABLE, "resolve"),
    "refused": (ERROR, UNREACHABLE, "connect"),
    "refused-later": (ERROR, UNREACHABLE, "connect"),
    "not-found": (ERROR, UNFETCHED, "404"),
    "unavailable": (ERROR, UNFETCHED, "503"),
    "index-altered": (ERROR, MISMATCH, "tests.db"),
    "index-cut": (ERROR, UNFETCHED, "tests.db"),
    "index-hangs": (ERROR, "pacman did not end within 4 s", ""),
    "index-unsigned": (ERROR, UNSIGNED, "tests.db.sig"),
    "package-altered": (ERROR, MISMATCH, "good-1.0-1-any"),
    "package-cut": (ERROR, UNFETCHED, "good-1.0-1-any"),
    "package-gone": (ERROR, UNFETCHED, "good-1.0-1-any"),
    "package-hangs": (ERROR, "pacman did not end within 4 s", ""),
    "package-unsigned": (ERROR, UNSIGNED, "good-1.0-1-any.pkg.tar.zst.sig"),
    "memory": (ERROR, "there was not enough memory in the guest", ""),
    "no-candidate": (ERROR, "the guest's repositories have no package 'surely-not-there'", ""),
    "no-tool": (ERROR, "the guest has no pacman", ""),
    "lock": (ERROR, "another package manager was at work in the guest", "db.lck"),
    "pre-hangs": (FAIL, "pacman hung for 5 s while installing sleepy-pre", "zzz"),
    "post-hangs": (FAIL, "pacman hung for 5 s while installing sleepy-post", "zzz"),
    "post-hangs-of-two": (FAIL, "pacman hung for 5 s while installing sleepy-post", "zzz"),
    "dependency-hangs": (ERROR, "pacman hung for 5 s while installing sleepy-post", "zzz"),
    "remove-hangs": (FAIL, "pacman hung for 5 s while removing sleepy-remove", "zzz"),
    "hook-hangs": (ERROR, "pacman hung for 5 s while running the hook 'sleepy-hook.hook'", ""),
    # pacman has gone on without it, and it is not under test
    **dict.fromkeys(("dependency-post", "dependency-missing-command")),
    **dict.fromkeys(("installs", "two", "reinstalls", "upgrades", "downgrades", "removes")),
    **dict.fromkeys(("purges", "removes-what-is-needed", "refreshes", "downloads")),
}


def test_every_case_is_recorded_and_expected() -> None:
    assert set(CASES) == set(EXPECTED)
    for tool in TOOLS:
        assert {path.stem for path in (HERE / tool).iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tool", TOOLS)
def test_blame_of_recorded_outputs(tool: str, case: str) -> None:
    recorded = read(HERE / tool / f"{case}.txt")
    names = [re.sub(r"-\d.*", "", word) for word in CASES[case].packages.split()]
    pacman, output = Pacman(), recorded.output
    found: Blame | None
    if recorded.status is None:
        found = pacman.blame_timeout(output, names, CASES[case].timeout)
    else:
        found = pacman.blame(recorded.status, output, names)
    expected = EXPECTED[case]
    if expected is None:
        assert found is None
        return
    assert found
    assert (found.outcome, found.sentence) == expected[:2], found
    assert expected[2] in found.evidence
    assert len(found.evidence.splitlines()) <= 20
    assert bool(found.trigger) == ("hook" in case)
    assert found.is_refusal == case.startswith(("removes", "unmet", "wrong", "dependency-is"))


@pytest.mark.parametrize("tool", TOOLS)
def test_blame_of_a_failed_script_despite_status_0(tool: str) -> None:
    """pacman itself says that all is well, of every script."""
    for case in ("pre", "post", "post-killed", "pre-remove", "post-upgrade", "hook"):
        assert read(HERE / tool / f"{case}.txt").status == 0


@pytest.mark.parametrize("tool", TOOLS)
def test_recordings_name_no_host_but_the_example_mirror(tool: str) -> None:
    text = "".join(path.read_text() for path in (HERE / tool).iterdir())
    assert set(re.findall(r"https?://([^/\s'\"]+)", text)) <= {"mirror.example"}
    assert sum(path.stat().st_size for path in (HERE / tool).iterdir()) < 100_000


def test_blame_of_unknown_output_is_an_error() -> None:
    found = Pacman().blame(1, "odd\n", ["a"])
    assert found and (found.outcome, found.evidence) == (ERROR, "odd")


def test_conflict_names_packages_without_the_versions_of_newer_pacman() -> None:
    found = Pacman().blame(1, ":: my-tool-1.0-1 and other-2:3-4 are in conflict\n", ["my-tool"])
    assert found and found.sentence == "'my-tool' and 'other' are in conflict"


class TestCommands:
    @pytest.mark.parametrize("operation", ["install", "reinstall", "upgrade", "downgrade"])
    def test_operations_end_with_the_package_files(self, operation: str) -> None:
        argv = getattr(Pacman(), operation)(["/a b.pkg.tar.zst"])
        assert argv[-2:] == ["--", "/a b.pkg.tar.zst"]
        assert "--upgrade" in argv and "--noconfirm" in argv

    def test_fetch_only_downloads(self) -> None:
        argv = Pacman().fetch(["/a"])
        assert {"--upgrade", "--downloadonly"} <= set(argv) and argv[-2:] == ["--", "/a"]

    def test_remove_keeps_configuration_and_purge_does_not(self) -> None:
        assert "--nosave" not in Pacman().remove(["a"])
        assert "--nosave" in Pacman().purge(["a"])
        assert "--recursive" not in Pacman().remove(["a"])

    def test_queries_read_the_answers_of_pacman(self) -> None:
        text = (
            "Name            : a\nVersion         : 1:2.0-1\nArchitecture    : any\n"
            "Description     : x : y\n\nName            : b\nVersion         : 1-1\n"
            "Architecture    : x86_64\n"
        )
        first, second = Pacman().installed(["a", "b"]).read(text)
        assert first == PackageFacts(name="a", version="1:2.0-1", architecture="any")
        assert second.name == "b"
        assert Pacman().describe("/x").read(text) == first
        assert Pacman().describe("/x").read("").name == ""
        files = "%FILES%\netc/\netc/a b\n\n%BACKUP%\netc/a b\t0123\n"
        assert Pacman().files("a").read(files) == PackageFiles(
            files=("/etc", "/etc/a b"), configuration=("/etc/a b",)
        )
        assert Pacman().files("a").read("") == PackageFiles(files=(), configuration=())
