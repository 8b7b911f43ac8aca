"""`autopkgtest-virt-postroj` and the command that it gives to autopkgtest, before any guest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postroj.cli import autopkgtest
from postroj.cli.autopkgtest import copy_timeout
from postroj.errors import UsageError
from tests.support.testbed import SERVER

PROGRAM = autopkgtest.PROGRAM


def run(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, input=stdin, capture_output=True, text=True)


def test_program_is_installed_where_autopkgtest_looks_for_it() -> None:
    """It looks for `autopkgtest-virt-NAME` in the folders of PATH."""
    program = shutil.which(PROGRAM, path=Path(sys.executable).parent)
    assert program
    done = run(program, "--help")
    assert done.stdout.startswith(f"Usage: {PROGRAM} [OPTIONS] IMAGE\n")


def test_server_without_an_image_is_a_usage_error() -> None:
    done = run(*SERVER)
    assert done.returncode == 2
    assert done.stderr.startswith("error: missing argument 'IMAGE'\n")
    assert f"hint: see `{PROGRAM} --help`" in done.stderr


def test_server_names_an_unknown_image_when_it_is_opened() -> None:
    done = run(*SERVER, "no-such-image", stdin="capabilities\nopen\n")
    assert (done.returncode, done.stdout.splitlines()[0]) == (2, "ok"), done.stderr
    assert "isolation-container reboot revert revert-full-system root-on-testbed" in done.stdout
    assert "no-such-image" in done.stderr.splitlines()[0]


def test_server_says_that_autopkgtest_has_ended() -> None:
    done = run(*SERVER, "debian-trixie")
    assert (done.returncode, done.stdout) == (4, "ok\n")
    assert done.stderr == "error: autopkgtest ended without closing its testbed\n"


def test_command_for_a_guest_that_is_gone_ends_with_the_status_of_a_failed_server() -> None:
    done = run(*autopkgtest.ENTER, "postroj-00000000", "true")
    assert done.returncode == 254
    assert done.stderr.startswith("error: no guest is named 'postroj-00000000'\n")


def test_command_that_is_missing_ends_with_the_status_of_a_failed_server() -> None:
    assert run(*autopkgtest.ENTER, "postroj-00000000").returncode == 254


class TestCopyTimeout:
    def test_is_that_of_autopkgtest(self) -> None:
        assert copy_timeout({}) == 300
        assert copy_timeout({"AUTOPKGTEST_VIRT_COPY_TIMEOUT": "7"}) == 7

    @pytest.mark.parametrize("text", ["", "0", "-1", "soon"])
    def test_that_is_no_number_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="not a number of seconds"):
            copy_timeout({"AUTOPKGTEST_VIRT_COPY_TIMEOUT": text})
