"""autopkgtest with postroj's guests: its own tests of such servers, and what is left of them.

`POSTROJ_TEST_CONFORMANCE=all` runs all of its tests that fit, which takes minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import TYPE_CHECKING

import pytest

from postroj.autopkgtest.testbed import SCRATCH
from tests.support import conformance, unprivileged, victims
from tests.support.cli import eventually, postroj
from tests.support.terminal import converse
from tests.support.testbed import SERVER, Server, served
from tests.support.unprivileged import PYTHON, User

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOSEN = (
    "test_breaks_testbed",
    "test_copy_timeout",
    "test_logind",
    "test_reboot_prepare",
)
"""Of autopkgtest's tests those that depend most on the server, and need few packages."""
ALL = os.environ.get("POSTROJ_TEST_CONFORMANCE") == "all"
GONE = 10
"""Seconds until nothing may be left."""
TINY = {
    "changelog": "tiny (1) unstable; urgency=low\n\n  * New.\n\n"
    " -- Tests <tests@mirror.example>  Mon, 05 Oct 2026 00:00:00 +0000\n",
    "control": "Source: tiny\n\nPackage: tiny\nArchitecture: all\n",
    "tests/control": "Test-Command: echo begun; sleep 300\nDepends:\n",
}
"""The folder `debian` of a source package with a test that takes long."""
WAITING = ("sh", "-c", "echo begun; exec sleep 300")


def environment() -> dict[str, str]:
    """Return ours, in which autopkgtest finds the server."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch the source of the host's autopkgtest from the host's mirror; its tests are in there."""
    folder = tmp_path_factory.mktemp("source")
    lists = folder / "lists"
    lists.mkdir()

    def output(*argv: str) -> str:
        done = subprocess.run(argv, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
        return done.stdout

    version = output("dpkg-query", "--show", "--showformat=${Version}", "autopkgtest")
    filters = ("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
    repositories = output(
        "apt-get", "indextargets", "--format", "deb-src $(REPO_URI) $(RELEASE) main", *filters
    )
    sources = folder / "sources.list"
    sources.write_text(repositories)
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": lists,
        "Dir::Cache": folder,
        "APT::Sandbox::User": "root",
    }
    words = [f"--option={name}={value}" for name, value in options.items()]
    output("apt-get", *words, "--quiet", "update")
    output("apt-get", *words, "--quiet", "source", f"autopkgtest={version}")
    return folder / f"autopkgtest-{version}" / "tests" / "autopkgtest"


def test_conformance(suite: Path, image: str) -> None:
    names = () if ALL else CHOSEN
    env = environment() | {"AUTOPKGTEST_TEST_INSTALLED": "yes"}
    argv = [sys.executable, conformance.__file__, suite, image, *names]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=580)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert all(f"{name} " in done.stderr for name in names)


@pytest.fixture(scope="module")
def testbed(image: str) -> Iterator[Server]:
    """A testbed that the tests share, open."""
    with served(image) as server:
        server.open()
        yield server


class TestTestbed:
    def test_runs_commands_as_root_of_a_booted_guest(self, testbed: Server) -> None:
        done = testbed.run("sh", "-c", "id -u; systemctl is-system-running; echo no >&2; exit 7")
        assert (done.returncode, done.stdout, done.stderr) == (7, "0\nrunning\n", "no\n")

    @pytest.mark.parametrize(("status", "told"), [(125, 125), (253, 253), (254, 253), (255, 253)])
    def test_hands_on_what_a_command_ends_with(
        self, testbed: Server, status: int, told: int
    ) -> None:
        assert testbed.run("sh", "-c", f"exit {status}").returncode == told

    def test_gives_a_command_only_its_own_words(self, testbed: Server) -> None:
        words = ("--help", "", "a b", "$HOME", "--", "-x")
        assert testbed.said("printf", "[%s]", *words) == "".join(f"[{word}]" for word in words)

    def test_does_not_wait_for_what_a_command_left_in_the_background(self, testbed: Server) -> None:
        assert testbed.said("sh", "-c", "sleep 300 & echo done") == "done"

    def test_knows_source_packages_without_an_update(self, testbed: Server) -> None:
        assert testbed.said("apt-cache", "showsrc", "--only-source", "hello").startswith("Package:")

    def test_copies_a_file_both_ways(self, testbed: Server, tmp_path: Path) -> None:
        first, link, last = (tmp_path / name for name in ("a b", "link", "c"))
        first.write_bytes(bytes(range(256)) * 5000)
        first.chmod(0o744)
        link.symlink_to(first)
        assert testbed.ask("copydown", link, "/root/d e") == "ok"
        assert testbed.said("stat", "--format=%F %a %U", "/root/d e") == "regular file 755 root"
        assert testbed.said("ln", "-s", "d e", "/root/link") == ""
        assert testbed.ask("copyup", "/root/link", last) == "ok"
        assert last.read_bytes() == first.read_bytes()

    def test_copies_the_content_of_a_folder_both_ways(
        self, testbed: Server, tmp_path: Path
    ) -> None:
        tree, back = tmp_path / "tree", tmp_path / "back"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "run").write_text("x")
        (tree / "sub" / "run").chmod(0o750)
        os.chown(tree / "sub" / "run", 1234, 1234)
        (tree / "link").symlink_to("/etc/shadow")
        for _ in range(2):  # a folder that exists is merged
            assert testbed.ask("copydown", f"{tree}/", "/root/tree/") == "ok"
        said = testbed.said("stat", "--format=%a %u %g", "/root/tree/sub/run")
        assert said == "750 0 0"
        testbed.said("chown", "-R", "1234:1234", "/root/tree")
        for _ in range(2):
            assert testbed.ask("copyup", "/root/tree/", f"{back}/") == "ok"
        found = (back / "sub" / "run").stat()
        assert (found.st_uid, found.st_mode & 0o777) == (0, 0o750)
        assert (back / "link").readlink() == Path("/etc/shadow")

    @pytest.mark.parametrize(
        ("way", "source", "target"),
        [
            ("copyup", "/none", "file"),
            ("copyup", "/none/", "folder/"),
            ("copyup", "/etc/", "none/folder/"),
            ("copydown", "none", "/root/x"),
            ("copydown", "", "/none/x"),
        ],
    )
    def test_lives_on_after_a_copy_that_failed(
        self, testbed: Server, tmp_path: Path, way: str, source: str, target: str
    ) -> None:
        if way == "copyup":
            target = f"{tmp_path}/{target}"
        else:
            source = f"{tmp_path}/{source}" if source else str(Path(__file__))
        assert testbed.ask(way, source, target) == "copy-failed"
        assert testbed.said("echo", "here") == "here"

    def test_keeps_files_in_a_reboot_and_loses_them_in_a_revert(self, image: str) -> None:
        with served(image) as server:
            folder = server.open()
            before = server.guest
            server.said("sh", "-c", f"echo x >{folder}/file; echo x >/run/file")
            boot = server.said("cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id")
            assert server.ask("reboot") == "ok"
            assert server.said("cat", f"{folder}/file") == "x"
            assert server.run("test", "-e", "/run/file").returncode == 1
            assert boot
            assert server.ask("revert") == f"ok {folder}"
            server.find()
            assert server.guest != before
            assert server.said("ls", "-A", folder) == ""
            assert server.ask("close") == "ok"
            assert server.run("true").returncode == 254
            assert server.open() == folder
            assert server.ask("quit") == "ok"
            assert server.child.wait(GONE) == 0


def test_shell_gets_the_terminal_of_the_user(image: str, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    requests = "open\\nshell /srv A=%%22b%%22\\nquit\\n"
    script = f'printf "{requests}" | "$@" >{answers}'
    keys = b"echo [$A] $PWD; tty; exit 3\n"
    screen, status = converse(["sh", "-c", script, "sh", *SERVER, image], [(b"# ", keys)])
    assert status == 0, screen
    assert re.search(rb"\[b\] /srv\r\n/dev/pts/\d+\r\n", screen)
    assert answers.read_text().splitlines() == ["ok", f"ok {SCRATCH}", "ok", "ok"]


@pytest.mark.parametrize("number", [None, SIGTERM, SIGINT, SIGKILL])
def test_server_that_ends_leaves_nothing(
    image: str, state_dir: Path, number: Signals | None
) -> None:
    with served(image) as server:
        server.open()
        seen = victims.descendants(server.child.pid)
        assert {"systemd-nspawn", "systemd"} <= {process.name for process in seen}
        name = server.guest
        with subprocess.Popen(server.argv(*WAITING), stdout=subprocess.PIPE, text=True) as command:
            assert command.stdout
            assert command.stdout.readline() == "begun\n"
            if number:
                server.child.send_signal(number)
            else:
                assert server.child.stdin
                server.child.stdin.close()
            assert command.wait(GONE) == 254
        status = server.child.wait(GONE)
        assert status == {None: 4, SIGKILL: -SIGKILL}.get(number, 128 + (number or 0))
    assert eventually(lambda: not victims.traces(state_dir / name, {name}, seen), GONE)
    postroj("prune")  # removes what a killed server cannot
    assert victims.run_directories(state_dir) == set()
    assert victims.groups({name}) == []


def test_nothing_is_left_of_an_autopkgtest_that_was_killed(
    image: str, state_dir: Path, tmp_path: Path
) -> None:
    for name, text in TINY.items():
        file = tmp_path / "debian" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    tree = f"{tmp_path}//"  # as if it were built
    argv = ["autopkgtest", "--no-built-binaries", tree, "--", "postroj", image]
    with subprocess.Popen(
        argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert "begun\n" in iter(child.stdout.readline, "")
        seen = victims.descendants(child.pid)
        (name,) = victims.run_directories(state_dir)
        child.kill()
        assert child.stderr
        assert "error: autopkgtest ended" in child.stderr.read()
    assert eventually(lambda: not victims.traces(state_dir, {name}, seen), GONE)
    assert victims.run_directories(state_dir) == set()


@pytest.fixture(scope="module")
def user(image: str) -> Iterator[User]:
    with unprivileged.user() as made:
        made.take(image)
        yield made


def test_testbed_of_a_user_without_root(user: User, image: str) -> None:
    with served(image, wrap=user.argv, python=PYTHON) as server:
        folder = server.open()
        assert server.said("sh", "-c", "id -u; systemctl is-system-running") == "0\nrunning"
        server.said("sh", "-c", f"mkdir {folder}/d; echo x >{folder}/d/f; chown -R 1:1 {folder}/d")
        assert server.ask("copyup", f"{folder}/d/", f"{user.home}/d/") == "ok"
        assert server.ask("copyup", f"{folder}/d/f", f"{user.home}/f") == "ok"
        assert {path.owner() for path in (user.home / "d" / "f", user.home / "f")} == {user.name}
        assert server.ask("copydown", f"{user.home}/d/", "/root/d/") == "ok"
        assert server.said("stat", "--format=%u", "/root/d/f") == "0"
        assert server.ask("reboot") == "ok"
        assert server.said("cat", "/root/d/f") == "x"
        assert server.ask("quit") == "ok"
    assert eventually(lambda: not user.leftovers(), GONE)
