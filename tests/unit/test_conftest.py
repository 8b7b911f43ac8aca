"""The rules of the test suite itself."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import paths, process
from postroj.verdict import Outcome
from tests.conftest import LONGEST_FIRST
from tests.support.ids import LONGEST, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
UDP = "with socket.socket(type=socket.SOCK_DGRAM) as one: one."
WAYS = {
    "connect": "with socket.socket() as one: one.connect(('192.0.2.1', 80))",
    "sendto": f"{UDP}sendto(b'', ('192.0.2.1', 80))",
    "sendmsg": f"{UDP}sendmsg([b''], [], 0, ('192.0.2.1', 80))",
    "getaddrinfo": "socket.getaddrinfo('x.example', 80)",
    "gethostbyname": "socket.gethostbyname('x.example')",
}
"""Programs that reach for the world."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a test suite of its own with one unit test."""
    tests = tmp_path / "suite" / "tests"
    for folder in ("unit", "integration"):
        (tests / folder).mkdir(parents=True)
    shutil.copy(TESTS / "conftest.py", tests)
    shutil.copytree(TESTS / "support", tests / "support")
    (tests / "unit" / "test_unit.py").write_text("def test(): pass\n")
    (tests.parent / "pytest.ini").write_text(
        "[pytest]\nmarkers = integration: x\naddopts = --strict-markers -p no:cacheprovider\n"
    )
    return tests.parent


def run(suite: Path, *args: str, ci: str = "true") -> tuple[int, str]:
    env = {**os.environ, "CI": ci, "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", *args]
    done = subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def write_integration_test(suite: Path, body: str) -> None:
    (suite / "tests" / "integration" / "test_guest.py").write_text(
        f"import pytest\ndef test():\n    {body}\n"
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
class TestCI:
    def test_nothing_but_skipped_fails(self, workers: tuple[str, ...], suite: Path) -> None:
        write_integration_test(suite, "pytest.skip('no guest')")
        status, said = run(suite, *workers, "tests")
        assert status == 1, said
        assert "not a single integration test passed" in said

    def test_empty_folder_fails(self, workers: tuple[str, ...], suite: Path) -> None:
        assert run(suite, *workers, "tests/unit", "tests/integration")[0] == 1

    def test_only_ci_is_strict(self, workers: tuple[str, ...], suite: Path) -> None:
        write_integration_test(suite, "pytest.skip('no guest')")
        status, said = run(suite, *workers, "tests", ci="")
        assert status == (0 if os.geteuid() == 0 else 1), said
        assert "not a single integration test passed" not in said

    def test_unit_tests_alone_are_fine(self, workers: tuple[str, ...], suite: Path) -> None:
        assert run(suite, *workers, "tests/unit")[0] == 0

    def test_one_that_passed_is_enough(self, workers: tuple[str, ...], suite: Path) -> None:
        write_integration_test(suite, "pass")
        status, said = run(suite, *workers, "tests")
        if os.geteuid() == 0:
            assert status == 0, said
        else:
            assert status == 1
            assert "sudo make test" in said


class TestFence:
    def test_no_guest_is_booted(self) -> None:
        with pytest.raises(AssertionError, match="only tests in tests/integration may start"):
            process.run(["systemd-nspawn", "--boot"])

    def test_no_guest_is_booted_by_a_wrapper(self) -> None:
        with pytest.raises(AssertionError, match="may start 'mmdebstrap'"):
            process.run(["env", "/usr/bin/mmdebstrap", "stable"])

    @pytest.mark.parametrize("way", WAYS)
    def test_nothing_leaves_the_host(self, way: str) -> None:
        with pytest.raises(AssertionError, match=r"may (talk to '192\.0\.2\.1'|look up 'x\.e)"):
            exec(WAYS[way], {"socket": socket})

    @pytest.mark.parametrize("way", WAYS)
    def test_nothing_leaves_the_host_from_a_program_that_a_test_starts(self, way: str) -> None:
        script = f"import socket\n{WAYS[way]}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert b"FencedError: only tests in tests/integration may " in done.stderr

    def test_a_program_that_a_test_starts_boots_no_guest(self) -> None:
        script = "import subprocess; subprocess.run(['unshare', 'systemd-nspawn', '--boot'])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert b"FencedError: only tests in tests/integration may start" in done.stderr

    def test_folders_are_our_own(
        self, tmp_path_factory: pytest.TempPathFactory, own_folders: Iterator[Path]
    ) -> None:
        assert paths.cache_dir().is_relative_to(tmp_path_factory.getbasetemp())
        assert paths.state_dir().is_relative_to(tmp_path_factory.getbasetemp())
        assert next(own_folders) not in (paths.cache_dir().parent, paths.state_dir().parent)


def test_long_files_are_there() -> None:
    assert {name for name in LONGEST_FIRST if not (TESTS / "integration" / name).exists()} == set()


class TestIds:
    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (["postroj", "run", "--", "true"], "postroj run -- true"),
            ((), "nothing"),
            ({"port": 80, "host": None}, "port=80 host=None"),
            (frozenset({"b", "a"}), "a b"),
            (ValueError("no such thing"), "ValueError no such thing"),
            (Outcome.FAIL, "fail"),
            ([Path("/srv"), b"\x00\n"], r"/srv \x00\n"),
            (name_of, "name_of"),
            (object(), "object"),
            ("x" * 100, "x" * (LONGEST - 2) + ".."),
        ],
    )
    def test_a_name_says_what_the_value_says(self, value: object, name: str) -> None:
        assert name_of(value) == name

    def test_no_case_is_only_numbered(self, request: pytest.FixtureRequest) -> None:
        numbered = {
            item.nodeid
            for item in request.session.items
            if (callspec := getattr(item, "callspec", None))
            if any(re.search(rf"(^|-){name}\d+(-|$)", callspec.id) for name in callspec.params)
        }
        assert numbered == set()
