"""Guests that do not become ready: each is told at once, and why."""

from __future__ import annotations

import io
import subprocess
import tarfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandTimeout, GuestError, GuestLost
from postroj.prepare import obtain
from tests.support.cli import eventually

if TYPE_CHECKING:
    from pathlib import Path

CONSOLE_SIZE = 1 << 20
INIT = "usr/lib/systemd/systemd"


def layer(path: Path, files: dict[str, str]) -> Path:
    """Make a squashfs with these files, all of them executable."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    argv = ["tar2sqfs", "-q", "-c", "lz4", str(path)]
    subprocess.run(argv, input=stream.getvalue(), check=True, stderr=subprocess.DEVNULL)
    return path


def test_guest_whose_init_ends_is_reported_at_once(image: str, tmp_path: Path) -> None:
    broken = layer(tmp_path / "broken.squashfs", {INIT: "#!/bin/sh\necho my last words\nexit 3\n"})
    began = time.monotonic()
    with obtain(image) as stored:
        spec = GuestSpec(layers=(*stored.layers, broken), boot_timeout=60)
        with (
            pytest.raises(GuestError, match="ended before it was ready") as caught,
            start_guest(spec),
        ):
            pass
    assert "my last words" in caught.value.evidence
    assert time.monotonic() - began < 30


def test_guest_that_lacks_inotify_instances_says_so(image: str, tmp_path: Path) -> None:
    """In the words of a real systemd on such a host."""
    said = "Failed to create control group inotify object: Too many open files"
    broken = layer(tmp_path / "broken.squashfs", {INIT: f"#!/bin/sh\necho '{said}'\nexit 255\n"})
    with obtain(image) as stored:
        spec = GuestSpec(layers=(*stored.layers, broken))
        with (
            pytest.raises(GuestError, match="no inotify instance left") as caught,
            start_guest(spec),
        ):
            pass
    assert "fs.inotify.max_user_instances" in caught.value.hint
    assert said in caught.value.evidence


def test_guest_that_is_not_ready_names_the_job_that_blocks(image: str, tmp_path: Path) -> None:
    unit = "[Service]\nType=oneshot\nExecStart=sleep 1000\n"
    folder = "etc/systemd/system"
    files = {
        f"{folder}/blocks.service": unit,
        f"{folder}/multi-user.target.d/needs.conf": "[Unit]\nRequires=blocks.service\n",
    }
    blocked = layer(tmp_path / "blocked.squashfs", files)
    with obtain(image) as stored:
        spec = GuestSpec(layers=(*stored.layers, blocked), boot_timeout=9)
        with (
            pytest.raises(GuestError, match="not ready within 9 s: it waits for") as caught,
            start_guest(spec),
        ):
            pass
    assert "blocks.service" in caught.value.evidence


def test_guest_that_is_degraded_is_ready_and_lists_its_failed_units(
    image: str, tmp_path: Path
) -> None:
    unit = "[Service]\nType=oneshot\nExecStart=false\n"
    folder = "etc/systemd/system"
    files = {
        f"{folder}/fails.service": unit,
        f"{folder}/multi-user.target.d/wants.conf": "[Unit]\nWants=fails.service\n",
    }
    degraded = layer(tmp_path / "degraded.squashfs", files)
    with (
        obtain(image) as stored,
        start_guest(GuestSpec(layers=(*stored.layers, degraded))) as guest,
    ):
        assert guest.state == "degraded"
        assert guest.failed_units() == ["fails.service"]
        assert guest.failed_at_boot == ("fails.service",)


def test_guest_of_a_file_that_is_not_a_squashfs_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no squashfs" * 1000)
    spec = GuestSpec(layers=(tmp_path / "file",))
    with pytest.raises(GuestError, match="image could not be mounted") as caught, start_guest(spec):
        pass
    assert caught.value.hint


def test_guest_that_powers_off_ends_the_command_in_it_whatever_its_console_says(image: str) -> None:
    script = 'echo "$1" >/dev/console; systemctl poweroff --force --force; sleep 60'
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        claim = f"Container {guest.name} terminated by signal KILL."
        with pytest.raises(GuestLost, match="the guest shut down") as caught:
            guest.run(["sh", "-c", script, "sh", claim], timeout=50)
    assert claim in caught.value.evidence


def test_guest_is_to_blame_whatever_the_status_of_its_init(image: str) -> None:
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        guest.run(["systemctl", "exit", "137"], timeout=50)
        assert guest.has_ended(50)
        with pytest.raises(GuestLost, match="the guest shut down"):
            guest.require()


def test_guest_that_was_killed_while_it_rebooted_is_not_to_blame(image: str) -> None:
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        hang = "/run/systemd/system/hang.service"
        unit = "[Service]\nExecStart=true\nRemainAfterExit=yes\nExecStop=/bin/sleep 60"
        guest.run(["sh", "-c", f"printf '{unit}' >{hang}; systemctl start hang"], timeout=50)

        def kill() -> None:
            eventually(guest.is_stopping, 50)
            guest.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(GuestError, match="after a reboot the guest ended") as caught:
            guest.reboot()
        killer.join()
    assert type(caught.value) is GuestError


def test_guest_command_is_killed_at_its_timeout(image: str) -> None:
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers, boot=False)) as guest:
        with pytest.raises(CommandTimeout, match="'sh' did not end within 1 s") as caught:
            guest.run(["sh", "-c", "echo before; sleep 60"], timeout=1)
        assert caught.value.output == "before"


def test_guest_that_reloads_often_becomes_ready(image: str) -> None:
    """Its manager tells us of each reload: nobody must have to read that."""
    reload = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do systemctl daemon-reload; done"
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        guest.run(["sh", "-c", reload], timeout=60)
        guest.reboot()
        guest.run(["sh", "-c", reload], timeout=60)
        assert guest.run(["systemctl", "is-system-running"], timeout=20).text == "running"


def test_console_is_stored_up_to_its_limit_and_never_blocks_the_guest(image: str) -> None:
    flood = f"echo first > /dev/console; yes | head -c {CONSOLE_SIZE + 9_000_000} > /dev/console"
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        guest.run(["sh", "-c", flood], timeout=200)
        console = guest.run_dir / "console"
        assert eventually(lambda: console.stat().st_size >= CONSOLE_SIZE)
        assert guest.run(["echo", "alive"], timeout=10).text == "alive"
        assert b"first" in console.read_bytes()
        assert console.stat().st_size < CONSOLE_SIZE + 10_000
