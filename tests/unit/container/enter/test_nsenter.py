"""The command line that enters a guest."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.enter import nsenter
from postroj.container.enter.nsenter import enter_argv
from postroj.container.guest import Command
from tests.support.here import leader

if TYPE_CHECKING:
    from pathlib import Path

ENTER = [
    *("nsenter", "--mount=ns/mnt", "--uts=ns/uts", "--ipc=ns/ipc", "--net=ns/net"),
    *("--pid=ns/pid", "--cgroup=ns/cgroup", "--root=root", "--wd=root", "--"),
]
GATE = "/proc/9/fd/3"


def test_unit_argv() -> None:
    command = Command(argv=("echo", "$x", "50%"), env={"A": "$b", "HOME": "/srv"}, chdir="/opt")
    argv = nsenter.unit_argv(command)
    assert argv[:3] == ["systemd-run", "--quiet", "--unit=command.service"]
    assert argv[argv.index("--") :] == ["--", "echo", "$$x", "50%"]
    assert {"--working-directory=/opt", "--setenv=A=$b", "--setenv=HOME=/srv"} <= set(argv)
    assert "--setenv=LANG=C.UTF-8" in argv
    secret = nsenter.unit_argv(Command(argv=("true",), secrets={"http_proxy": "http://a:b@c"}))
    assert "--setenv=http_proxy" in secret
    assert not [word for word in secret if "a:b" in word]
    assert "--working-directory=/" in nsenter.unit_argv(Command(argv=("true",)))


def test_enter_argv() -> None:
    command = Command(argv=("echo", "a b", "$c"))
    assert enter_argv(command, leader(bounding_set=(0, 21)), GATE) == [
        *(*nsenter.THROUGH_GATE, GATE),
        *("setpriv", "--bounding-set", "-all,+cap_0,+cap_21", "--inh-caps", "-all"),
        *ENTER,
        *("echo", "a b", "$c"),
    ]


def test_enter_argv_with_private_users() -> None:
    """Entering a user namespace gives all capabilities there, so they are limited afterwards."""
    argv = enter_argv(Command(argv=("true",)), leader(bounding_set=(0,), has_own_users=True), GATE)
    assert argv[5:] == [
        *("nsenter", "--user=ns/user", "--"),
        *("setpriv", "--bounding-set", "-all,+cap_0", "--inh-caps", "-all"),
        *ENTER,
        "true",
    ]


def test_enter_argv_without_capabilities() -> None:
    argv = enter_argv(Command(argv=("true",)), leader(), GATE)
    assert argv[5:10] == ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]


def test_enter_argv_hides_secrets() -> None:
    command = Command(argv=("true",), secrets={"http_proxy": "http://u:secret@proxy.example"})
    argv = enter_argv(command, leader(), GATE)
    assert "secret" not in " ".join(argv)
    assert nsenter.environment(command) == {**nsenter.ENVIRONMENT, **command.secrets}
    assert nsenter.environment(command, "vt100")["TERM"] == "vt100"


def test_enter_argv_in_a_directory() -> None:
    command = Command(argv=("ls", "-l"), chdir="/a b")
    argv = enter_argv(command, leader(), GATE)
    script = 'cd -- "$1" && shift && exec "$@"'
    assert argv[argv.index("--") + 1 :] == ["/bin/sh", "-c", script, "sh", "/a b", "ls", "-l"]


def test_enter_argv_with_a_terminal() -> None:
    command = Command(argv=("ls",), chdir="/srv")
    argv = enter_argv(command, leader(), GATE, terminal=True)
    tail = argv[argv.index("--") + 1 :]
    assert tail[:4] == list(nsenter.IN_SESSION)
    assert tail[4:6] == ["/bin/sh", "-c"]
    assert tail[-1] == "ls"


@pytest.mark.parametrize("words", [("--version",), ("-n",), ("a b", "'", '"', "$x", "\\", "")])
def test_the_wrapping_shells_pass_arguments_unchanged(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Run on the host what nsenter would run in the guest."""
    command = Command(argv=("printf", "%s\n", *words), chdir=str(tmp_path))
    argv = enter_argv(command, leader(), GATE)
    tail = argv[argv.index("--") + 1 :]
    gate = tmp_path / "gate"
    gate.write_text("\n")
    for inner in (tail, [*argv[:4], str(gate), *tail]):
        done = subprocess.run(inner, check=True, capture_output=True, text=True)
        assert done.stdout.splitlines() == list(words)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_the_working_directory_on_the_host_is_not_in_the_environment(tmp_path: Path) -> None:
    """bash, which is sh on many hosts, would export it."""
    (tmp_path / "gate").write_text("\n")
    words = [*nsenter.THROUGH_GATE, str(tmp_path / "gate"), "env"]
    done = subprocess.run(
        words,
        check=False,
        executable="bash",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert "PATH=" in done.stdout
    assert "PWD=" not in done.stdout


def test_enter_argv_in_a_missing_directory_fails(tmp_path: Path) -> None:
    command = Command(argv=("true",), chdir=str(tmp_path / "-none"))
    argv = enter_argv(command, leader(), GATE)
    done = subprocess.run(argv[argv.index("--") + 1 :], check=False, capture_output=True)
    assert done.returncode not in (0, 125)
    assert b"-none" in done.stderr
