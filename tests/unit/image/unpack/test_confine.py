"""What a tool can do that an archive has taken over: the tools here try it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.errors import HostError
from postroj.image.unpack import confine
from postroj.image.unpack.confine import confined

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[[str], list[str]]
    Try = Callable[[str], subprocess.CompletedProcess[str]]

USER = 1000
"""Some user without rights; it needs no account."""

fenced = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")


def command(script: str) -> list[str]:
    return confined(["bash", "-c", script])


def output(argv: list[str]) -> subprocess.CompletedProcess[str]:
    env = process.environment()
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/", env=env)


@pytest.fixture(params=["us", "a user"])
def tool_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Make a confined tool of a script, for this user and, if that is root, for another one."""
    prefix: list[str] = []
    if request.param == "a user":
        if os.geteuid() != 0:
            pytest.skip("only root can be another user")
        prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
        tried = ["bwrap", "--unshare-net", "--unshare-pid", "--ro-bind", "/", "/", "true"]
        if shutil.which("bwrap") and output([*prefix, *tried]).returncode:
            pytest.skip("this host gives no namespaces to users")
        monkeypatch.setattr(os, "geteuid", lambda: USER)
    return lambda script: [*prefix, *command(script)]


@pytest.fixture
def try_to(tool_of: Command) -> Try:
    """Run a script as a confined tool."""
    return lambda script: output(tool_of(script))


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Return a folder that everybody may enter and write to, with a file of the user."""
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(0o711)
    tmp_path.chmod(0o777)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    if os.geteuid() == 0:
        os.chown(secret, USER, USER)
    return tmp_path


def test_confined_tool_has_no_rights(try_to: Try) -> None:
    done = try_to("grep -E '^(Uid|Groups|NoNewPrivs|CapBnd|CapEff)' /proc/self/status")
    said = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert said["NoNewPrivs"] == "1"
    assert int(said["CapEff"], 16) == 0
    if os.geteuid() == 0:
        assert set(said["Uid"].split()) == {str(confine.NOBODY)}
        assert said["Groups"].strip() == ""
        assert int(said["CapBnd"], 16) == 0


@fenced
def test_confined_tool_connects_to_no_port_of_the_host(try_to: Try) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"echo >/dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        assert output(["bash", "-c", connect]).returncode == 0
        done = try_to(connect)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


@fenced
def test_confined_tool_sees_no_process_of_the_host(try_to: Try) -> None:
    done = try_to("cat /proc/1/comm; echo /proc/[0-9]*")
    assert done.stdout.splitlines() == ["bwrap", "/proc/1 /proc/2"]
    assert try_to(f"kill -0 {os.getpid()}").stderr.endswith("No such process\n")


@fenced
@pytest.mark.parametrize("kind", ["net", "pid", "ipc", "mnt"])
def test_confined_tool_has_a_namespace_of_its_own(try_to: Try, kind: str) -> None:
    link = Path(f"/proc/self/ns/{kind}")
    theirs = try_to(f"readlink {link}").stdout.strip()
    assert theirs.startswith(kind)
    assert theirs != str(link.readlink())


@fenced
def test_confined_tool_reads_nothing_but_programs(try_to: Try, open_folder: Path) -> None:
    secret = f"cat {open_folder}/secret"
    assert output([*secret.split()]).stdout == "secret"
    assert try_to(secret).stderr.endswith("No such file or directory\n")
    assert try_to(f"cat /proc/1/root{open_folder}/secret").returncode == 1
    seen = set(try_to("echo /* /etc/*").stdout.split())
    assert seen <= {"/etc", "/proc", *confine.SYSTEM, *confine.SETTINGS}


@fenced
@pytest.mark.parametrize("place", ["", "/etc", "/usr/share", "/proc/sys/kernel"])
def test_confined_tool_writes_nowhere(try_to: Try, place: str) -> None:
    assert try_to(f"echo >{place}/new").returncode == 1


@fenced
def test_confined_tool_writes_to_no_open_folder(try_to: Try, open_folder: Path) -> None:
    assert try_to(f"echo >{open_folder}/new").stderr.endswith("No such file or directory\n")
    assert not (open_folder / "new").exists()


@pytest.mark.parametrize(
    ("end", "status"),
    [("exit 7", 7), *((f"kill -{name} $$", 128 + getattr(signal, f"SIG{name}"))
                      for name in ("SEGV", "PIPE", "KILL"))],
)  # fmt: skip
def test_confined_tool_has_its_own_status_and_stderr(try_to: Try, end: str, status: int) -> None:
    done = try_to(f"echo out; echo 'it failed' >&2; {end}")
    assert process.exit_status(done.returncode) == status
    assert (done.stdout, done.stderr) == ("out\n", "it failed\n")


def test_confined_tool_dies_with_its_parent(tool_of: Command) -> None:
    ours = f"{shlex.join(tool_of('echo up; cat'))}; true"
    with subprocess.Popen(
        ["sh", "-c", ours], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as shell:
        assert shell.stdout and shell.stdin
        assert shell.stdout.read(3) == b"up\n"
        shell.kill()
        # cat waits for a stdin that is still open: the pipe ends because cat does
        assert shell.stdout.read() == b""


@fenced
def test_confined_tool_from_elsewhere_sees_its_own_installation(
    try_to: Try, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = open_folder / "own"
    (own / "bin").mkdir(parents=True)
    (own / "data").write_text("mine")
    (own / "bin" / "bash").write_text(f"#!/bin/sh\ncat {own}/data {open_folder}/secret\n")
    for path in (own, own / "bin", own / "bin" / "bash"):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{own}/bin:{os.environ['PATH']}")
    done = try_to("")
    assert done.stdout == "mine"
    assert done.stderr == f"cat: {open_folder}/secret: No such file or directory\n"


@fenced
def test_confined_tool_in_the_bin_of_a_user_does_not_see_their_home(
    try_to: Try, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = open_folder / "bin" / "bash"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {open_folder}/*\n")
    for path in (program, program.parent):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(open_folder))
    assert try_to("").stdout == f"{program.parent}\n"


@pytest.mark.parametrize(
    ("fence", "why"),
    [("no-such-bwrap", "'no-such-bwrap' is not installed"), ("false", "ended with status 1")],
)
def test_confined_warns_once_where_there_are_no_namespaces(
    fence: str, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(confine, "FENCE", (fence,))
    confine._can_fence.cache_clear()
    try:
        commands = [command("grep NoNewPrivs /proc/self/status") for _ in range(2)]
    finally:
        confine._can_fence.cache_clear()
    assert [output(argv).stdout for argv in commands] == ["NoNewPrivs:\t1\n"] * 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert why in caplog.text


def test_confined_names_a_missing_tool() -> None:
    with pytest.raises(HostError, match="'no-such-tool' is not installed"):
        confined(["no-such-tool"])
