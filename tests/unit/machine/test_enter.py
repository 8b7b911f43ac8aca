"""The shell script by which a command runs in a machine's guest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import Command
from postroj.machine import enter

if TYPE_CHECKING:
    from pathlib import Path

NSENTER = """#!/bin/sh
[ "$1 $2 $3 $4" = "--mount=/proc/1/ns/mnt --root=/proc/1/root --wd=/proc/1/root --" ] || exit 99
shift 4
unset PWD
exec "$@"
"""
"""Stands in for nsenter: runs the command where it is."""
SHELLS = [name for name in ("sh", "bash") if shutil.which(name)]
"""sshd runs the script with root's shell of the tools, which is bash."""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder with a nsenter that enters nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nsenter").write_text(NSENTER)
    (folder / "nsenter").chmod(0o755)
    return folder


def run(
    tools: Path,
    command: Command,
    terminal: str | None = None,
    *,
    shell: str = "sh",
    extra: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the script as sshd would, but with its links in a folder of the test."""
    text = enter.script(command, "123", terminal)
    assert "/run/commands" in text
    text = text.replace("/run/commands", str(tools.parent / "commands"))
    # a bash that sshd starts reads .bashrc
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tools), **(extra or {})}
    return subprocess.run(
        [shell, "-c", text], env=env, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("words", [("a b", "'", '"', "$x", "\\", "", "{token}", "\n", "%s")])
def test_script_passes_arguments_unchanged(tools: Path, words: tuple[str, ...], shell: str) -> None:
    done = run(tools, Command(argv=("printf", "%s\\0", *words)), shell=shell)
    assert done.stdout.split("\0")[:-1] == list(words)
    assert (done.returncode, done.stderr) == (0, "")


def test_script_begins_in_the_directory_of_the_command(tools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    done = run(tools, Command(argv=("pwd",), chdir=str(folder)))
    assert done.stdout == f"{folder}\n"


def test_script_with_a_directory_that_does_not_exist(tools: Path) -> None:
    done = run(tools, Command(argv=("true",), chdir="/nonexistent/x"))
    assert done.returncode == 2
    assert "can't cd to /nonexistent/x" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_script_gives_the_variables_of_a_guest_and_none_of_ssh(tools: Path, shell: str) -> None:
    ours = {"SSH_CLIENT": "x", "SSH_CONNECTION": "x", "MAIL": "/var/mail/root", "http_proxy": "p"}
    command = Command(argv=("env", "-0"), env={"A": "b c", "HOME": "/srv"})
    done = run(tools, command, shell=shell, extra=ours)
    found = dict(pair.partition("=")[::2] for pair in done.stdout.split("\0") if pair)
    for name in ("SHLVL", "_"):  # of bash, which the programs in a guest do not look at
        found.pop(name, None)
    path = found.pop("PATH")
    assert path == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert found == {
        "A": "b c",
        "HOME": "/srv",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "http_proxy": "p",  # a secret, which ssh has sent
    }


@pytest.mark.parametrize(("terminal", "value"), [(None, "dumb"), ("xterm-256color",) * 2])
def test_script_sets_term(tools: Path, terminal: str | None, value: str) -> None:
    done = run(tools, Command(argv=("sh", "-c", "echo $TERM")), terminal, extra={"TERM": "other"})
    assert done.stdout == f"{value}\n"


def test_script_names_no_secret() -> None:
    command = Command(argv=("true",), secrets={"http_proxy": "http://u:secret@proxy.example"})
    assert "secret" not in enter.script(command, "123")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_reports_a_signal_as_128_and_its_number(tools: Path, shell: str) -> None:
    """ssh itself ends with 255 then; and the shell's own `Killed` is no output of the command."""
    command = Command(argv=("sh", "-c", "echo said >&2; kill -KILL $$"))
    done = run(tools, command, shell=shell)
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stderr == "said\n"


def test_script_keeps_stdout_and_stderr_apart_and_passes_the_status(tools: Path) -> None:
    done = run(tools, Command(argv=("sh", "-c", "echo out; echo err >&2; exit 7")))
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_script_links_its_token_to_its_process_as_long_as_the_command_runs(tools: Path) -> None:
    commands = tools.parent / "commands"
    watch = f'[ "$(readlink {commands}/123)" = "$PPID" ] && echo ours'
    done = run(tools, Command(argv=("sh", "-c", watch)))
    assert done.stdout == "ours\n"
    assert list(commands.iterdir()) == []


def test_script_with_a_umask_of_the_guest(tools: Path) -> None:
    umask = os.umask(0o077)
    try:
        done = run(tools, Command(argv=("sh", "-c", "umask")))
    finally:
        os.umask(umask)
    assert int(done.stdout, 8) == 0o022


def test_script_gives_no_descriptor_beyond_the_three(tools: Path) -> None:
    done = run(tools, Command(argv=("sh", "-c", "ls /proc/$$/fd")))
    assert done.stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize("shell", SHELLS)
def test_command_ends_though_a_process_it_has_left_holds_its_pipes(
    tools: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As maintainer scripts leave daemons that systemd did not start."""
    monkeypatch.setattr(enter, "DRAINING", 0.2)
    command = Command(argv=("sh", "-c", "echo said; echo problem >&2; sleep 60 & exit 3"))
    done = run(tools, command, shell=shell)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "problem\n")
    assert [path.name for path in (tools.parent / "commands").iterdir()] == []
