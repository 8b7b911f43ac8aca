"""How commands get into the guest of a machine: a script of sshd, and a call of the server.

The server is real, and so is the program that calls it; only nsenter enters nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container.guest import Command
from postroj.machine import answers, commands, enter, qemu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NSENTER = """#!/bin/sh
[ "$1 $2 $3 $4" = "--mount=/proc/1/ns/mnt --root=/proc/1/root --wd=/proc/1/root --" ] || exit 99
shift 4
unset PWD
exec "$@"
"""
"""Stands in for nsenter: runs the command where it is."""
SHELLS = [name for name in ("sh", "bash") if shutil.which(name)]
"""sshd runs the script with root's shell of the tools, which is bash."""
WAYS = ("call", *SHELLS)
TERM = "xterm-256color"
PATIENCE = 20.0


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a nsenter that enters nothing, beside that of the commands' links."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nsenter").write_text(NSENTER)
    (folder / "nsenter").chmod(0o755)
    assert enter.NSENTER[0] == "/usr/bin/nsenter"
    monkeypatch.setattr(enter, "NSENTER", (str(folder / "nsenter"), *enter.NSENTER[1:]))
    monkeypatch.setattr(commands, "COMMANDS", tmp_path / "commands")
    monkeypatch.setattr(commands, "DRAINING", 0.2)
    return folder


@pytest.fixture
def run_dir(tools: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield a run directory with the socket of a server."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / qemu.ANSWERS))
        listener.listen()

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                Thread(target=answers.Answering(connection, Event()).serve, daemon=True).start()

        Thread(target=serve, daemon=True).start()
        yield tmp_path


def argv_of(run_dir: Path, command: Command, way: str) -> list[str]:
    """Return the command line of one of the ways, but with links in a folder of the test."""
    if way == "call":
        return qemu.call_argv(run_dir, enter.request(command, "123"))
    text = enter.script(command, "123", TERM)
    assert "/run/commands" in text
    return [way, "-c", text.replace("/run/commands", str(run_dir / "commands"))]


def run(
    run_dir: Path,
    command: Command,
    way: str = "call",
    *,
    extra: dict[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command in one of the ways."""
    # a bash that sshd starts reads .bashrc
    env = {"PATH": os.environ["PATH"], "HOME": str(run_dir), **(extra or {})}
    argv = argv_of(run_dir, command, way)
    return subprocess.run(
        argv, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def links(run_dir: Path) -> list[str]:
    return [path.name for path in (run_dir / "commands").iterdir()]


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("words", [("a b", "'", '"', "$x", "\\", "", "{token}", "\n", "%s", "ü")])
def test_arguments_are_passed_unchanged(run_dir: Path, words: tuple[str, ...], way: str) -> None:
    done = run(run_dir, Command(argv=("printf", "%s\\0", *words)), way)
    assert done.stdout.split("\0")[:-1] == list(words)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", WAYS)
def test_command_begins_in_its_directory(run_dir: Path, way: str) -> None:
    folder = run_dir / "a b"
    folder.mkdir()
    assert run(run_dir, Command(argv=("pwd",), chdir=str(folder)), way).stdout == f"{folder}\n"
    done = run(run_dir, Command(argv=("true",), chdir="/nonexistent/x"), way)
    assert done.returncode == 2
    assert "can't cd to /nonexistent/x" in done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_variables_are_those_of_a_guest(run_dir: Path, way: str) -> None:
    others = {"SSH_CLIENT": "x", "SSH_CONNECTION": "x", "MAIL": "/var/mail/root"}
    if way == "call":
        others["SSH_AUTH_SOCK"] = "/run/ours"
    secret = {"http_proxy": "http://u:secret@proxy.example"}
    command = Command(argv=("env", "-0"), env={"A": "b c", "HOME": "/srv"}, secrets=secret)
    assert "secret@" not in " ".join(argv_of(run_dir, command, way))
    done = run(run_dir, command, way, extra=others | secret)
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
        "TERM": "dumb" if way == "call" else TERM,
        **secret,
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_signal_is_128_and_its_number(run_dir: Path, way: str) -> None:
    """ssh itself ends with 255 then; and the shell's own `Killed` is no output of the command."""
    command = Command(argv=("sh", "-c", "echo said >&2; kill -KILL $$"))
    done = run(run_dir, command, way)
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stderr == "said\n"


@pytest.mark.parametrize("way", WAYS)
def test_stdout_and_stderr_are_kept_apart_and_the_status_is_passed(run_dir: Path, way: str) -> None:
    done = run(run_dir, Command(argv=("sh", "-c", "echo out; echo err >&2; exit 7")), way)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize("way", WAYS)
def test_token_leads_to_the_process_as_long_as_the_command_runs(run_dir: Path, way: str) -> None:
    number = "$$" if way == "call" else "$PPID"
    watch = f'[ "$(readlink {run_dir}/commands/123)" = "{number}" ] && echo ours'
    done = run(run_dir, Command(argv=("sh", "-c", f"sleep 0.1; {watch}")), way)
    assert done.stdout == "ours\n"
    eventually(lambda: not links(run_dir))


@pytest.mark.parametrize("way", WAYS)
def test_umask_is_that_of_the_guest(run_dir: Path, way: str) -> None:
    umask = os.umask(0o077)
    try:
        done = run(run_dir, Command(argv=("sh", "-c", "umask")), way)
    finally:
        os.umask(umask)
    assert int(done.stdout, 8) == 0o022


@pytest.mark.parametrize("way", WAYS)
def test_command_has_no_descriptor_beyond_the_three(run_dir: Path, way: str) -> None:
    done = run(run_dir, Command(argv=("sh", "-c", "ls /proc/$$/fd")), way)
    assert done.stdout.split() == ["0", "1", "2"]


def test_stdin_and_stdout_carry_any_bytes(run_dir: Path) -> None:
    data = bytes(range(256)) * 20_000
    argv = argv_of(run_dir, Command(argv=("cat",)), "call")
    done = subprocess.run(argv, input=data, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout == data


def test_command_need_not_read_its_stdin(run_dir: Path) -> None:
    done = run(run_dir, Command(argv=("sh", "-c", "exit 5")), stdin="x" * 5_000_000)
    assert (done.returncode, done.stderr) == (5, "")


def test_command_ends_though_a_process_it_has_left_holds_its_pipes(run_dir: Path) -> None:
    """As maintainer scripts leave daemons that systemd did not start."""
    command = Command(argv=("sh", "-c", "echo said; echo problem >&2; sleep 60 & echo $!; exit 3"))
    done = run(run_dir, command)
    said, number = done.stdout.split()
    assert (done.returncode, said, done.stderr) == (3, "said", "problem\n")
    os.kill(int(number), signal.SIGKILL)  # it runs on
    eventually(lambda: not links(run_dir))


def test_command_that_does_not_exist(run_dir: Path) -> None:
    done = run(run_dir, Command(argv=("/nonexistent/x",)))
    assert done.returncode == 127
    assert "/nonexistent/x" in done.stderr


def test_command_whose_output_nobody_reads_learns_that(run_dir: Path) -> None:
    argv = argv_of(run_dir, Command(argv=("yes",)), "call")
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.read(4) == b"y\ny\n"
        child.stdout.close()
        assert child.wait(PATIENCE) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("end", ["the call is killed", "the token is named"])
def test_processes_of_a_command_end_with_its_call(run_dir: Path, end: str) -> None:
    script = f"sleep 61 & echo $! >{run_dir}/other; echo begun; wait"
    argv = argv_of(run_dir, Command(argv=("sh", "-c", script)), "call")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"begun\n"
        other = Path("/proc") / (run_dir / "other").read_text().strip()
        eventually(lambda: "sleep" in (other / "cmdline").read_text())
        if end == "the call is killed":
            child.kill()
        else:
            commands.end("123")
            assert child.wait(PATIENCE) == 128 + signal.SIGKILL
        eventually(lambda: not (other / "cmdline").exists() or not (other / "cmdline").read_text())
    eventually(lambda: not links(run_dir))


def test_call_fails_as_ssh_does_if_there_is_no_machine(run_dir: Path) -> None:
    done = run(run_dir / "nowhere", Command(argv=("true",)))
    assert done.returncode == 255
    assert done.stderr == "the machine cannot be reached: No such file or directory\n"


def test_call_fails_if_the_machine_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / qemu.ANSWERS))
        listener.listen()
        argv = qemu.call_argv(tmp_path, enter.request(Command(argv=("true",)), "123"))
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=process.environment()) as child:
            connection, _ = listener.accept()
            connection.sendall(b"\x01\xff\xff\xff\xff")  # a frame that would fill the memory
            connection.close()
            assert child.wait(PATIENCE) == 255
