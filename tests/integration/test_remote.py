"""`postroj --host`: a command behaves as if it ran here, over a real sshd."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import postroj as package
from tests.support import debs
from tests.support.cli import POSTROJ, all_argv, eventually, postroj
from tests.support.sshd import Sshd
from tests.support.terminal import converse

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = Path(__file__).parents[1] / "support" / "elsewhere"
CRLF = b"\r\n"


@pytest.fixture(scope="module")
def server(image: str) -> Iterator[Sshd]:
    """A server on which nothing may be left at the end."""
    with tempfile.TemporaryDirectory(prefix="h-") as folder, Sshd(Path(folder)) as running:
        yield running


@pytest.fixture
def box(server: Sshd) -> Iterator[partial[subprocess.CompletedProcess[str]]]:
    """postroj that runs everything there."""
    yield partial(postroj, "--host", "box", env=server.environment)
    assert eventually(lambda: not server.left), server.left


Box = partial[subprocess.CompletedProcess[str]]


def start(server: Sshd, *argv: object, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    words = [*POSTROJ, "--host", "box", *map(str, argv)]
    return subprocess.Popen(
        words,
        process_group=0,
        env=server.environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def runs(mark: str) -> bool:
    """Whether a process of the guest runs `sleep` with this time."""
    return f"sleep\0{mark}\0".encode() in all_argv()


def test_host_keeps_streams_apart_and_passes_the_status(box: Box, server: Sshd) -> None:
    script = "cat; echo $GIVEN >&2; exit 255"
    data = os.urandom(3_000_001)
    words = ["--host", "box", "run", "--no-boot", "-e", "GIVEN", "--", "sh", "-c", script]
    env = server.environment | {"GIVEN": 'it\'s "this"'}
    done = subprocess.run([*POSTROJ, *words], input=data, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (255, b'it\'s "this"\n')
    assert done.stdout == data


def test_host_without_linux_on_this_side(box: Box, server: Sshd) -> None:
    for system in ("darwin", "windows"):
        env = server.environment | {"ELSEWHERE": system, "PYTHONPATH": str(ELSEWHERE)}
        done = box(
            "run", "--no-boot", "--", "sh", "-c", "cat; exit 7", env=env, stdin=None, input="in\n"
        )
        assert (done.returncode, done.stdout, done.stderr) == (7, "in\n", "")


def test_host_probes_packages_of_this_machine(box: Box, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    debs.build(dist, "hello", files={"usr/share/hello": "world"})
    (tmp_path / "conf").write_text("of this machine")
    (tmp_path / "postroj.toml").write_text(
        'package = "dist/*.deb"\nimage = "debian-trixie"\nreport = "junit=dist/junit.xml"\n'
        'put = "conf:/etc/conf"\ncheck-command = "grep this /etc/conf"\n'
    )
    done = box("test", "--json", "--artifacts", tmp_path / "found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (probe,) = json.loads(done.stdout)["probes"]
    [file] = dist.glob("*.deb")
    assert f"postroj --host box pkgprobe --package {file} " in probe["reproduce"]
    assert f"--put {tmp_path}/conf:/etc/conf" in probe["reproduce"]
    assert f"--project {tmp_path}/postroj.toml" in probe["reproduce"]
    assert "grep this /etc/conf" in (dist / "junit.xml").read_text()
    assert f"wrote artifacts to '{tmp_path}/found'" in done.stderr
    assert json.loads((tmp_path / "found/report.json").read_text())["outcome"] == "pass"


def test_host_brings_a_partial_report_back_after_ctrl_c(
    box: Box, server: Sshd, tmp_path: Path
) -> None:
    file = debs.build(tmp_path, "hello", files={"usr/share/hello": "world"})
    words = ["pkgprobe", "-p", file, "-i", "debian-trixie", "--check-command", "sleep 71.1"]
    process = start(server, *words, "--report", "json=report.json", cwd=tmp_path)
    assert eventually(lambda: runs("71.1"), 60)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (probe,) = json.loads((tmp_path / "report.json").read_text())["probes"]
    assert probe["reason"] == "interrupted"
    assert not runs("71.1")


def test_host_gives_a_command_a_terminal_of_this_size_and_ctrl_c(
    box: Box, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", server.environment["PATH"])
    words = [*POSTROJ, "--host", "box", "run", "--no-boot", "--", "sh"]
    screen, status = converse(
        ["sh", "-c", 'stty rows 33 cols 99; exec "$@"', "sh", *words],
        [
            (b"# ", b"tty; sh -c 'stty size; exec sleep 72.2'\n"),
            (b"33 99", b"\x03"),
            (b"# ", b"exit 3\n"),
        ],
    )
    assert status == 3, screen
    assert b"/dev/pts/" in screen
    assert b"33 99" + CRLF in screen


def test_host_copies_into_a_guest_and_out_of_it(box: Box, tmp_path: Path) -> None:
    name = box("run", "--detach", "--name", "far").stdout.strip()
    try:
        assert name == "far"
        tree = tmp_path / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub/file").write_bytes(bytes(range(256)))
        (tree / "sub/link").symlink_to("/nonexistent")
        os.chown(tree / "sub/file", 1234, 5678)
        (tmp_path / "here").mkdir()
        assert box("cp", tree, "far:/srv").stderr == ""
        assert box("cp", "far:/srv/tree", "here", cwd=tmp_path).stderr == ""
        found = tmp_path / "here/tree/sub"
        assert (found / "file").read_bytes() == bytes(range(256))
        assert (found / "file").stat().st_uid == 1234
        assert (found / "link").readlink() == Path("/nonexistent")
        assert box("cp", "far:/etc/debian_version", "version", cwd=tmp_path).stderr == ""
        assert (tmp_path / "version").read_text().startswith("13")
    finally:
        box("stop", "far")


def sessions(server: Sshd) -> list[int]:
    """The processes of sshd that serve one connection each."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def test_host_ends_everything_when_the_connection_is_killed(box: Box, server: Sshd) -> None:
    process = start(server, "run", "sleep", "73.3")
    assert eventually(lambda: runs("73.3"), 60)
    (session,) = sessions(server)
    os.kill(session, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 125
    error, evidence, _, hint = stderr.decode().splitlines()
    assert error == "error: the connection to 'box' was lost"
    assert re.match(r"  \| .*(closed|reset|broken)", evidence.lower())
    assert hint.startswith("hint: ")
    assert eventually(lambda: not runs("73.3"))


def test_host_ends_everything_when_this_side_is_killed(box: Box, server: Sshd) -> None:
    process = start(server, "run", "sleep", "74.4")
    assert eventually(lambda: runs("74.4"), 60)
    process.kill()
    process.communicate()
    assert eventually(lambda: not runs("74.4"))


def test_host_that_ssh_cannot_reach(box: Box, server: Sshd) -> None:
    for host, why in (
        ("nokey", "Permission denied"),
        ("stranger", "Host key verification failed."),
        ("nowhere.invalid", "Could not resolve hostname"),
    ):
        done = postroj("--host", host, "ps", env=server.environment)
        assert done.returncode == 4
        error, *evidence, _, hint = done.stderr.splitlines()
        assert error == f"error: ssh cannot reach '{host}'"
        assert why in evidence[-1]
        assert hint == f"hint: `ssh {host}` must work; try it by hand"


def test_host_with_another_version_of_postroj(box: Box, server: Sshd) -> None:
    stub = server.work / "stub" / "postroj"
    stub.write_text('#!/bin/sh\n[ "$*" = --version ] && echo postroj 0.0.1\n')
    stub.chmod(0o755)
    try:
        done = box("ps")
    finally:
        stub.unlink()
    version = package.__version__
    assert done.returncode == 4
    error, _, hint = done.stderr.splitlines()
    assert error == f"error: this is postroj {version}, and 'box' has 0.0.1"
    assert f"`ssh box pipx install --force postroj=={version}`" in hint
