"""What the script of a preparation says, and how its failures are told apart."""

from __future__ import annotations

import subprocess

import pytest

from postroj.errors import CommandError, CommandTimeout
from postroj.image.inspect import MANAGERS
from postroj.model import Manager
from postroj.prepare import DEFAULT_PACKAGES, FUNCTIONS, _failure, script

ARGV = ("/bin/sh", "-s")


def test_each_manager_is_recognised_and_can_install_systemd() -> None:
    functions = FUNCTIONS.read_text()
    able = {manager for manager in Manager if f"\ninstall_{manager}() {{" in functions}
    assert able == set(DEFAULT_PACKAGES) == set(MANAGERS.values()) == set(Manager)


@pytest.mark.parametrize("manager", [None, *Manager])
def test_script_is_portable_shell(manager: Manager | None) -> None:
    packages = DEFAULT_PACKAGES[manager] if manager else ()
    text = script(manager, packages, ("sed -i s/a/b/ /etc/some",)).encode()
    subprocess.run(["shellcheck", "--shell=sh", "-"], input=text, check=True)
    subprocess.run(["dash", "-n"], input=text, check=True)


def test_script_runs_its_parts_in_order() -> None:
    text = script(Manager.PACMAN, ("systemd", "it's"), ("first", "second"))
    assert text.removeprefix(FUNCTIONS.read_text()).splitlines() == [
        "",
        "mend",
        "mend_pacman",
        "{ first",
        "} >&2",
        "{ second",
        "} >&2",
        "did led the package manager to where its release is now",
        "{ install_pacman systemd 'it'\"'\"'s'",
        "} >&2",
        "see_systemd",
        "did installed systemd 'it'\"'\"'s'",
    ]


def test_script_installs_nothing_if_systemd_is_there() -> None:
    text = script(Manager.APT, (), ())
    assert text.removeprefix(FUNCTIONS.read_text()).split() == ["mend"]


def test_script_stops_at_a_failed_command_without_reporting_it() -> None:
    words = script(Manager.APT, ("some",), ()).removeprefix(FUNCTIONS.read_text())
    functions = "set -eu\ndid() { echo did: $*; }\nmend() { :; }\nsee_systemd() { :; }\n"
    apt = "install_apt() { false; echo on stdout; }\n"
    done = subprocess.run(
        ["sh"], input=functions + apt + words, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")


# The lines are those of the real tools.
@pytest.mark.parametrize(
    "line",
    [
        "Could not connect to 127.0.0.1:1 (127.0.0.1). - connect (111: Connection refused)",
        "Temporary failure resolving 'mirror.invalid'",
        "  - Curl error (6): Couldn't resolve host name for http://mirror.invalid/repomd.xml",
        "   Error message: Failed to connect to 127.0.0.1 port 1 after 0 ms: Could not connect",
        "error: failed retrieving file 'core.db' from mirror.invalid : Could not resolve host",
    ],
)
def test_failure_tells_the_network_from_the_package(line: str) -> None:
    output = f"did: something\nsome line\n{line}\nE: Unable to locate package systemd-sysv"
    error = _failure("some", ("systemd",), CommandError(ARGV, 100, output))
    assert error.message == "the package manager of the image 'some' reached no repository"
    assert error.evidence.splitlines()[:2] == ["some line", line.rstrip()]
    assert "online" in error.hint


@pytest.mark.parametrize(
    ("error", "packages", "sentence"),
    [
        (
            CommandError(ARGV, 100, "E: Unable to locate package systemd-sysv"),
            ("systemd-sysv",),
            "the package manager of the image 'some' could not install systemd",
        ),
        (
            CommandError(ARGV, 127, "/bin/sh: 119: zypper: not found"),
            ("systemd",),
            "the image 'some' could not be prepared",
        ),
        (CommandError(ARGV, 1, "sed: no space"), (), "the image 'some' could not be prepared"),
        (
            CommandTimeout(ARGV, 900, "Get:1 some"),
            ("systemd",),
            "the image 'some' was not prepared within 900 s",
        ),
    ],
    ids=["package missing", "manager missing", "script failed", "time out"],
)
def test_failure_explains_each_cause(
    error: CommandError, packages: tuple[str, ...], sentence: str
) -> None:
    failure = _failure("some", packages, error)
    assert failure.message == sentence
    assert failure.evidence == error.output
    assert (
        failure.hint
        == "`postroj run --no-boot --image some -- /bin/sh` opens a shell in the unprepared image"
    )
