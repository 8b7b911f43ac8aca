"""`postroj run` and `shell`: a guest's command behaves as if it ran here."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.cli import POSTROJ, all_argv, eventually, postroj, start
from tests.support.terminal import converse

pytestmark = pytest.mark.usefixtures("image")


def test_run_keeps_streams_apart_and_passes_the_status() -> None:
    done = postroj("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize(("name", "status"), [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
def test_run_of_a_command_killed_by_a_signal_is_128_and_its_number(name: str, status: int) -> None:
    assert postroj("run", "--no-boot", "--", "sh", "-c", f"kill -{name} $$").returncode == status


def test_run_passes_a_hundred_megabytes_exactly(tmp_path: Path) -> None:
    data = os.urandom(1_000_003) * 100
    file = tmp_path / "data"
    file.write_bytes(data)
    with file.open("rb") as stdin:
        done = subprocess.run(
            [*POSTROJ, "run", "--", "cat"], stdin=stdin, stdout=subprocess.PIPE, check=True
        )
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_run_waits_until_the_systemd_of_the_guest_is_ready() -> None:
    script = "cat /proc/1/comm; systemctl is-system-running; systemctl is-active multi-user.target"
    assert postroj("run", "--", "sh", "-c", script).stdout == "systemd\nrunning\nactive\n"


def test_run_no_boot_starts_no_init() -> None:
    done = postroj("run", "--no-boot", "--", "sh", "-c", "cat /proc/1/comm; test -d /run/systemd")
    assert "systemd" not in done.stdout


def test_run_bind_setenv_and_chdir_reach_the_command(tmp_path: Path) -> None:
    shared, fixed = tmp_path / "with:colon", tmp_path / "fixed"
    shared.mkdir()
    fixed.mkdir()
    (fixed / "file").write_text("of the host")
    script = "pwd; echo $ONE $TWO; cat /mnt/file; touch /srv/x; touch /mnt/x"
    done = postroj(
        *("run", "--no-boot", "--chdir", "/var", "--setenv", "ONE=1", "-e", "TWO"),
        *("--bind", str(shared).replace(":", "\\:") + ":/srv", "--bind-ro", f"{fixed}:/mnt"),
        *("--", "sh", "-c", script),
        env={**os.environ, "TWO": "from here"},
    )
    assert done.stdout == "/var\n1 from here\nof the host"
    assert "Read-only file system" in done.stderr
    assert (shared / "x").exists()
    assert not (fixed / "x").exists()


def test_run_hands_on_nothing_of_our_environment() -> None:
    done = postroj("run", "--no-boot", "--", "env", env={**os.environ, "SECRET": "of the host"})
    assert "SECRET" not in done.stdout
    assert "container=systemd-nspawn\n" in done.stdout


def test_run_works_with_closed_standard_streams() -> None:
    for redirection in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        argv = ["sh", "-c", f'exec "$@" {redirection}', "sh"]
        command = ["run", "--no-boot", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 4"]
        assert subprocess.run([*argv, *POSTROJ, *command], check=False).returncode == 4


def test_run_does_not_hand_on_the_umask() -> None:
    script = "stat --format=%a / /etc /etc/hosts /etc/machine-id; umask"
    argv = ["sh", "-c", 'umask 077; exec "$@"', "sh", *POSTROJ, "run", "--", "sh", "-c", script]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["755", "755", "644", "644", "0022"]


def test_run_setenv_sets_nothing_for_the_tools_of_the_host() -> None:
    script = 'echo "$PATH $LD_PRELOAD"'
    variables = ("-e", "PATH=/nowhere", "-e", "LD_PRELOAD=/nowhere.so")
    done = postroj("run", "--no-boot", *variables, "--", "/bin/sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "/nowhere /nowhere.so\n")


def test_run_gives_a_command_no_capability_that_the_guest_lacks() -> None:
    script = "grep CapBnd /proc/1/status /proc/self/status | cut -f2 | uniq | wc -l"
    assert postroj("run", "--", "sh", "-c", script).stdout == "1\n"


def test_run_ends_the_command_when_its_reader_has_gone() -> None:
    shell = f"set -o pipefail; {' '.join(POSTROJ)} run --no-boot -- yes | head -1"
    done = subprocess.run(
        ["bash", "-c", shell], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "y\n", "")


def test_run_does_not_wait_for_a_daemon_that_has_its_pipes() -> None:
    began = time.monotonic()
    done = postroj("run", "--no-boot", "--", "sh", "-c", "sleep 60 & echo done")
    assert done.stdout == "done\n"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_run_ends_command_and_guest_on_a_signal(number: int, status: int) -> None:
    process = start("run", "--", "sh", "-c", "hostname; sleep 1000")
    assert process.stdout
    name = process.stdout.readline().decode().strip()
    assert re.fullmatch(r"postroj-[0-9a-f]{8}", name)
    process.send_signal(number)
    assert process.wait(20) == status
    process.stdout.close()
    assert not is_left(name)


def test_run_killed_leaves_a_run_directory_at_most_and_the_next_command_removes_it() -> None:
    process = start("run", "--", "sh", "-c", "hostname; sleep 1000")
    assert process.stdout
    name = process.stdout.readline().decode().strip()
    assert is_left(name)
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(partial(has_no_process, name))
    assert eventually(lambda: name not in Path("/proc/self/mountinfo").read_text())
    assert postroj("run", "--no-boot", "--", "true").returncode == 0
    assert eventually(lambda: not is_left(name))


def test_sweep_removes_control_groups_without_a_run_directory(state_dir: Path) -> None:
    """The folder that `POSTROJ_STATE_DIR` names may have been removed, or be another one by now."""
    process = start("run", "--", "sh", "-c", "hostname; sleep 1000")
    assert process.stdout
    name = process.stdout.readline().decode().strip()
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(partial(has_no_process, name))
    for path in state_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    # a command of another test may be before this one
    assert postroj("ps").returncode == 0
    assert eventually(lambda: not is_left(name))


def test_run_killed_while_it_boots_leaves_no_process(state_dir: Path) -> None:
    for delay in (0.15, 0.25, 0.35, 0.45):
        process = start("run", "--", "sleep", "1000")
        time.sleep(delay)  # somewhere between its first and its last step
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()
        for path in state_dir.glob("postroj-*"):
            assert eventually(partial(has_no_process, path.name))
    assert postroj("run", "--no-boot", "--", "true").returncode == 0
    assert [path.name for path in state_dir.iterdir()] == [".lock"]


def test_run_explains_a_state_directory_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in ("/proc/none", "/tmp/" + "long" * 30):
        monkeypatch.setenv("POSTROJ_STATE_DIR", path)
        done = postroj("run", "--", "true")
        assert (done.returncode, "Traceback" in done.stderr) == (125, False)
        assert path in done.stderr


def has_no_process(name: str) -> bool:
    return not any(name.encode() in argv for argv in all_argv())


def is_left(name: str) -> bool:
    """Whether anything that bears the name of a guest is there."""
    groups = [*Path("/sys/fs/cgroup").glob(name), *Path("/sys/fs/cgroup").glob(f"*/{name}")]
    processes = [argv for argv in all_argv() if name.encode() in argv]
    return bool(groups or processes or Path("/run/postroj", name).exists())


def test_run_on_a_terminal_gives_the_command_one_of_the_guest() -> None:
    script = "tty; stty size; echo to-stderr >&2; exit 5"
    screen, status = converse([*POSTROJ, "run", "--", "sh", "-c", script], [])
    assert re.search(rb"/dev/pts/\d+\r\n\d+ \d+\r\nto-stderr\r\n", screen)
    assert status == 5


def test_run_in_a_pipe_gives_the_command_no_terminal_of_the_host() -> None:
    script = "echo shown >/dev/tty; read -r typed </dev/tty; echo $?"
    argv = [*POSTROJ, "run", "--no-boot", "--", "sh", "-c", script]
    screen, status = converse(["sh", "-c", f"{shlex.join(argv)} 2>&1 | cat"], [])
    assert (status, b"shown" in screen, b"/dev/tty: No such device" in screen) == (0, False, True)


def test_run_hands_ctrl_c_on_a_terminal_to_the_command() -> None:
    script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    screen, status = converse(
        [*POSTROJ, "run", "--no-boot", "--", "sh", "-c", script], [(b"ready", b"\x03")]
    )
    assert b"caught" in screen
    assert status == 3


def test_shell_is_interactive() -> None:
    screen, status = converse(
        [*POSTROJ, "shell"], [(b"# ", b"systemctl is-system-running; echo $((40 + 2)); exit 9\n")]
    )
    assert b"running\r\n42\r\n" in screen
    assert status == 9


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        (["run", "--image", "debian-bokworm", "--", "true"], 125, "debian-bookworm"),
        (["run", "--bind", "/no/such/thing", "--", "true"], 125, "does not exist"),
        (["run", "--chdir", "here", "--", "true"], 125, "absolute"),
        (["run", "--no-boot", "--", "no-such-command"], 127, "no-such-command"),
        (["run", "--boot-timeout", "0.01", "--", "true"], 125, "not ready within 0.01 s"),
    ],
)
def test_run_explains_what_goes_wrong(argv: list[str], status: int, sentence: str) -> None:
    done = postroj(*argv)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_run_without_nspawn_names_its_package() -> None:
    script = 'mount --bind /dev/null "$(command -v systemd-nspawn)"; exec "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *POSTROJ, "run", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "error: 'systemd-nspawn' is not installed on this host" in done.stderr
    assert "hint: `postroj doctor`" in done.stderr


def test_run_explains_that_the_host_is_offline() -> None:
    argv = ["unshare", "--net", *POSTROJ, "run", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "error: the guest's private network could not be set up" in done.stderr
    assert "--network=none" in done.stderr


def test_run_is_refused_without_root() -> None:
    somebody = ["setpriv", "--reuid=65534", "--inh-caps=+dac_override"]
    argv = [*somebody, "--ambient-caps=+dac_override", *POSTROJ, "run", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "sudo" in done.stderr
    assert "Traceback" not in done.stderr
