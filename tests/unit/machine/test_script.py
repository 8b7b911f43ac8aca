"""The launch script of machines, with programs in the place of mount, qemu, ssh and passt."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.errors import GuestError, GuestLost
from postroj.machine import ending, qemu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 20.0
# qemu opens both ends of its pipes, so that it waits for nobody.
QEMU = """
exec 3<>monitor.in 4<>monitor.out 5<>pipe
read -r greeting <&3
echo "$greeting" >>asked
echo "boot" >>seen
echo "console of boot $(wc -l <seen)"
reason=$(sed -n "$(wc -l <seen)p" plan)
case $reason in
    '') : >up; exec sleep 60 ;;
    killed) kill -KILL $$ ;;
esac
printf '{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, '
printf '"reason": "%s"}}\\n' "$reason"
"""
QEMU = QEMU.replace("printf '{", "exec >&4\nprintf '{")
SSH = "cat <pipe >/dev/null"
"""Ends with qemu."""


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run directory, and have a mount that mounts nothing."""
    folder = tmp_path / "postroj-0a1b2c3d"
    (folder / "mnt").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mount").write_text("#!/bin/sh\n")
    (tmp_path / "bin/mount").chmod(0o755)
    (folder / "qemu").write_text(QEMU)
    os.mkfifo(folder / "pipe")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("postroj.container.failure.ending.AFTERMATH", 0.5)
    monkeypatch.setattr(ending, "PATIENCE", 0.5)
    return folder


@contextmanager
def script(
    run_dir: Path, *plan: str, passt: tuple[str, ...] = (), group: str = "group"
) -> Iterator[process.Child]:
    """Yield the script with a machine that ends for these reasons, then runs on."""
    (run_dir / "plan").write_text("".join(f"{reason}\n" for reason in plan))
    argv = [
        *("sh", str(qemu.SCRIPT), f"run_dir={run_dir}", "size=1048576"),
        *("--", str(run_dir / group), "--", *passt, "--", "sh", "qemu", "--", "sh", "-c", SSH),
    ]
    with (run_dir / "console").open("wb") as console:
        stdio = (process.PIPE, process.PIPE, console)
        with process.spawn(argv, stdio=stdio, env=process.environment()) as child:
            try:
                yield child
            finally:
                end_namespace(child)


def reported(script: process.Child) -> bytes:
    assert script.stdout
    assert select.select([script.stdout], [], [], PATIENCE)[0], "no report"
    return script.stdout.readline()


def await_true(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end_namespace(script: process.Child) -> None:
    """End what is left of a script that has ended, as the kernel does in its PID namespace."""
    with suppress(ProcessLookupError):
        os.killpg(script.pid, signal.SIGKILL)


def boots(run_dir: Path) -> int:
    return len((run_dir / "seen").read_text().split()) if (run_dir / "seen").exists() else 0


def test_the_script_ends_its_machine_with_its_stdin(run_dir: Path) -> None:
    with script(run_dir) as child:
        await_true((run_dir / "up").exists)
        assert child.stdin
        child.stdin.close()
        assert child.wait(PATIENCE) == 0
    assert (run_dir / "mnt/files").stat().st_size == 1048576
    assert (run_dir / "group").read_text() == "0\n"
    assert ending.reason(run_dir) == ""
    assert (run_dir / "console").read_text() == "console of boot 1\n"


def test_the_script_wakes_the_monitor(run_dir: Path) -> None:
    with script(run_dir):
        await_true((run_dir / "asked").exists)
        await_true(lambda: (run_dir / "asked").read_text() != "")
    assert (run_dir / "asked").read_text() == '{"execute": "qmp_capabilities"}\n'


def test_a_guest_that_shuts_down(run_dir: Path) -> None:
    with script(run_dir, "guest-shutdown") as child:
        assert reported(child) == b"ended\n"
        assert ending.reason(run_dir) == ending.SHUTDOWN


def test_a_guest_that_shut_down_is_blamed(run_dir: Path) -> None:
    with script(run_dir, "guest-shutdown") as child:
        await_true(lambda: ending.has_reported(child))
        error = ending.explain(child, run_dir, "its output")
    assert (type(error), error.message) == (GuestLost, "the guest shut down")
    assert error.evidence == "console of boot 1"


def test_a_guest_that_reboots_boots_again(run_dir: Path) -> None:
    with script(run_dir, "guest-reset", "guest-reset") as child:
        await_true((run_dir / "up").exists)
        assert boots(run_dir) == 3
        assert child.poll() is None
        assert not ending.has_reported(child)
        error = ending.explain(child, run_dir, "its output")
    assert (type(error), error.message) == (GuestLost, "the guest rebooted")


def test_a_qemu_that_is_killed_is_not_the_doing_of_its_guest(run_dir: Path) -> None:
    with script(run_dir, "guest-reset", "killed") as child:
        assert child.wait(PATIENCE) == 67
        assert child.stdout
        assert child.stdout.read() == b""
        error = ending.explain(child, run_dir, "")
    assert ending.reason(run_dir) == "killed"
    assert (type(error), error.message) == (GuestError, "the guest was ended")


def test_a_script_that_is_killed_after_a_reboot_is_not_the_doing_of_its_guest(
    run_dir: Path,
) -> None:
    with script(run_dir, "guest-reset") as child:
        await_true((run_dir / "up").exists)
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE)
        end_namespace(child)
        error = ending.explain(child, run_dir, "")
    assert (type(error), error.message) == (GuestError, "the guest was ended")


def test_a_guest_does_not_outlive_its_network(run_dir: Path) -> None:
    (run_dir / "net").mkdir()
    serve = "sleep 0.2"  # passt, which is killed
    with script(run_dir, passt=("sh", "-c", serve)) as child:
        assert child.wait(PATIENCE) == qemu.NETWORK.status
        end_namespace(child)
        error = ending.explain(child, run_dir, "")
    assert error.message == "the guest was ended, since passt, its network, had ended"
    assert boots(run_dir) == 0  # qemu waits for the socket


def test_qemu_waits_for_the_network(run_dir: Path) -> None:
    (run_dir / "net").mkdir()
    listen = "import socket, time; socket.socket(socket.AF_UNIX).bind('net/passt'); time.sleep(60)"
    with script(run_dir, passt=("python3", "-c", listen)):
        await_true((run_dir / "up").exists)


def test_a_group_that_cannot_be_joined(run_dir: Path) -> None:
    with script(run_dir, group="missing/group") as child:
        assert child.wait(PATIENCE) == qemu.CGROUP.status
        error = ending.explain_start(child, run_dir)
    assert (error.message, error.hint) == (qemu.CGROUP.failure, qemu.CGROUP.hint)


def test_a_disk_without_room(run_dir: Path) -> None:
    (run_dir / "mnt").rmdir()
    with script(run_dir) as child:
        assert child.wait(PATIENCE) == qemu.DISK.status
        error = ending.explain_start(child, run_dir)
    assert (error.message, error.hint) == (qemu.DISK.failure, qemu.DISK.hint)


def test_a_guest_that_is_kept_outlives_the_lifeline(run_dir: Path) -> None:
    with script(run_dir) as child:
        await_true((run_dir / "up").exists)
        assert child.stdin
        child.stdin.write(b"keep\n")
        child.stdin.close()
        time.sleep(0.2)
        assert child.poll() is None


def test_a_console_without_end_fills_no_disk(run_dir: Path) -> None:
    endless = QEMU.replace('echo "console', 'yes | head -c 3000000; echo "last words')
    (run_dir / "qemu").write_text(endless)
    with script(run_dir, "guest-shutdown") as child:
        assert reported(child) == b"ended\n"
        console = (run_dir / "console").read_bytes()
    assert len(console) < 2 << 20
    assert console.endswith(b"last words of boot 1\n")


def test_a_qemu_that_does_not_even_start(run_dir: Path) -> None:
    """It says why on the console, and opens no pipe."""
    (run_dir / "qemu").write_text("echo 'qemu: cannot allocate memory' >&2; exit 1")
    with script(run_dir) as child:
        assert child.wait(PATIENCE) == 67
        error = ending.explain_start(child, run_dir)
    assert error.message == "the guest ended before it was ready"


def test_a_qemu_that_ends_at_once_is_heard(run_dir: Path) -> None:
    quick = (
        """printf '{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}\\n' >monitor.out"""
    )
    (run_dir / "qemu").write_text(quick)
    with script(run_dir) as child:
        assert reported(child) == b"ended\n"
        assert ending.reason(run_dir) == ending.SHUTDOWN
