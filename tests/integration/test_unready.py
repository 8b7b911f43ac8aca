"""Images that do not become ready, each booted: the sentence, the evidence and the hint it gets."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from postroj.container import host, limits, rundir
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import GuestError, HostError
from postroj.model import NetworkMode
from postroj.prepare import obtain
from tests.integration.test_guest import INIT, layer
from tests.support.cli import POSTROJ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroj.model import Image

UNITS = "etc/systemd/system"
WANTED = {f"{UNITS}/multi-user.target.d/wants.conf": "[Unit]\nWants=culprit.service\n"}
EARLY = "[Unit]\nDefaultDependencies=no\n"
MOUNT = "[Unit]\nBefore=local-fs.target\n[Mount]\nWhat=/dev/absent\nWhere=/data\nType=ext4\n"
OS_RELEASE = {"etc/os-release": "ID=odd\n", "usr/lib/os-release": "ID=odd\n"}


@pytest.fixture(scope="module")
def stored(image: str) -> Iterator[Image]:
    with obtain(image) as found:
        yield found


@pytest.fixture
def fail(stored: Image, tmp_path: Path) -> Callable[..., GuestError]:
    """Boot what is not to become ready: the image with these files over it, or these alone."""

    def boot(files: dict[str, str], *, alone: bool = False, patience: float = 60) -> GuestError:
        added = layer(tmp_path / "added.squashfs", files)
        layers = (added,) if alone else (*stored.layers, added)
        return unready(GuestSpec(layers=layers, boot_timeout=patience))

    return boot


def unready(spec: GuestSpec) -> GuestError:
    with (
        mock.patch.object(rundir, "claim", wraps=rundir.claim) as claim,
        pytest.raises(GuestError) as caught,
        start_guest(replace(spec, network=NetworkMode.NONE)),
    ):
        pass
    assert caught.value.hint
    assert claim.call_count == 1
    return caught.value


def culprit(command: str) -> dict[str, str]:
    """Return a unit that runs a command early in the boot."""
    unit = f"{EARLY}[Service]\nType=oneshot\nExecStart={command}\n"
    return {f"{UNITS}/culprit.service": unit, **WANTED}


def test_unready_guest_tells_jobs_that_block_from_those_that_wait(
    fail: Callable[..., GuestError],
) -> None:
    failed = {f"{UNITS}/culprit.service.d/needs.conf": "[Unit]\nWants=fails.service\n"}
    failed[f"{UNITS}/fails.service"] = f"{EARLY}[Service]\nType=oneshot\nExecStart=false\n"
    error = fail({**culprit("sleep 1000"), **failed}, patience=9)
    sentence = (
        r"the guest was not ready within 9 s: it waits for .*'culprit\.service' \(start, for \d"
    )
    assert re.match(sentence, error.message), error.message
    assert "multi-user.target" not in error.message
    assert "failed units: fails.service" in error.evidence
    assert "Job culprit.service/start running" not in error.evidence
    assert "--boot-timeout" in error.hint


def test_unready_guest_that_powers_off_is_reported(fail: Callable[..., GuestError]) -> None:
    error = fail(culprit("systemctl poweroff --force"))
    assert error.message == "the guest shut down before it was ready"
    assert "Powering off." in error.evidence


def test_unready_guest_that_reboots_again_and_again_is_reported(
    fail: Callable[..., GuestError],
) -> None:
    error = fail(culprit("systemctl reboot --force"))
    assert error.message == "the guest rebooted 3 times before it was ready"
    assert "Rebooting." in error.evidence


def test_unready_guest_whose_systemd_crashes_is_reported(fail: Callable[..., GuestError]) -> None:
    error = fail(culprit("sh -c 'kill -SEGV 1; sleep 60'"))
    assert error.message == "the guest ended before it was ready: its systemd crashed"
    assert "Caught <SEGV>" in error.evidence


def test_emergency_mode_names_the_unit_that_led_to_it(fail: Callable[..., GuestError]) -> None:
    needs = {f"{UNITS}/local-fs.target.d/needs.conf": "[Unit]\nRequires=data.mount\n"}
    error = fail({f"{UNITS}/data.mount": MOUNT, **needs})
    assert error.message == "the guest booted into emergency mode: 'data.mount' failed"
    assert "Failed to mount data.mount" in error.evidence


@pytest.mark.parametrize("name", ["debian-bullseye", "debian-sid"])
def test_emergency_mode_is_understood_of_older_and_newer_systemd(
    pulled: Callable[[str], str], name: str, tmp_path: Path
) -> None:
    needs = {f"{UNITS}/local-fs.target.d/needs.conf": "[Unit]\nRequires=data.mount\n"}
    cases = (
        ({f"{UNITS}/data.mount": MOUNT, **needs}, "emergency mode: 'data.mount' failed"),
        (culprit("sh -c 'kill -SEGV 1; sleep 60'"), "its systemd crashed"),
        (culprit("systemctl reboot --force"), "rebooted 3 times"),
    )
    with obtain(pulled(name)) as image:
        for number, (files, sentence) in enumerate(cases):
            added = layer(tmp_path / f"{number}.squashfs", files)
            assert sentence in unready(GuestSpec(layers=(*image.layers, added))).message


def test_rescue_mode_by_the_default_target_is_reported(fail: Callable[..., GuestError]) -> None:
    error = fail(culprit("systemctl --no-block isolate rescue.target"))
    assert error.message == "the guest booted into rescue mode: a unit of the image asks for it"


def test_default_target_that_lacks_a_unit_is_named(fail: Callable[..., GuestError]) -> None:
    error = fail({f"{UNITS}/default.target": "[Unit]\nRequires=absent.service\n"})
    assert "its systemd cannot start its default target" in error.message
    assert "absent.service not found" in error.evidence


def test_init_other_than_systemd_is_reported(fail: Callable[..., GuestError]) -> None:
    other = {INIT: "#!/bin/sh\necho an init of my own\nexec sleep 1000\n"}
    error = fail(other, patience=3)
    assert error.message == (
        "the guest was not ready within 3 s: its init is 'sleep', and only systemd reports when it"
        " is ready"
    )
    assert "an init of my own" in error.evidence
    assert "--no-boot" in error.hint


@pytest.mark.parametrize(
    ("files", "clause", "evidence"),
    [
        ({**OS_RELEASE, "usr/x": ""}, "the image has no init", "No such file"),
        ({**OS_RELEASE, "sbin/init": "\x7fELF"}, "its init is not a program for", "Exec format"),
        ({"readme": "nothing"}, "the image has no distribution", "doesn't look like"),
    ],
)
def test_image_without_a_system_is_refused_with_the_reason(
    fail: Callable[..., GuestError], files: dict[str, str], clause: str, evidence: str
) -> None:
    error = fail(files, alone=True)
    assert error.message.startswith(f"the guest ended before it was ready: {clause}")
    assert evidence in error.evidence


def test_image_with_damaged_blocks_is_reported(stored: Image, tmp_path: Path) -> None:
    """Its superblock is fine, so that it can be mounted."""
    content = bytearray(stored.layers[0].read_bytes())
    for at in range(4096, len(content) - (3 << 20), 12 << 10):
        content[at : at + 200] = b"\xff" * 200
    (tmp_path / "damaged").write_bytes(content)
    error = unready(GuestSpec(layers=(tmp_path / "damaged",)))
    assert error.message == "the guest ended before it was ready: the image is damaged"
    assert "Input/output error" in error.evidence
    assert "postroj verify" in error.hint


def test_image_that_is_cut_off_is_reported(stored: Image, tmp_path: Path) -> None:
    with stored.layers[0].open("rb") as stream:
        (tmp_path / "half").write_bytes(stream.read(20 << 20))
    error = unready(GuestSpec(layers=(tmp_path / "half",)))
    assert error.message.startswith("the image could not be mounted: it is not a squashfs file")
    assert "postroj verify" in error.hint


def test_systemd_that_refuses_the_old_control_groups_is_reported(
    pulled: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every host with both hierarchies would give it to that guest, without our variable."""
    assert not host.read().unified, "this host has version 2 only, which nothing refuses"
    monkeypatch.setattr(host, "WITH_V2", 1000)
    with obtain(pulled("debian-sid")) as image:
        error = unready(GuestSpec(layers=image.layers, systemd=262))
    assert error.message.startswith("the guest ended before it was ready: its systemd is 258 or")
    assert "refusing execution" in error.evidence
    assert "systemd.unified_cgroup_hierarchy=1" in error.hint


def test_guest_that_this_host_cannot_boot_is_refused_before_it_starts(
    stored: Image, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = replace(host.read(), nspawn=(258, 1), unified=True)
    monkeypatch.setattr(host, "read", lambda: newer)
    spec = GuestSpec(layers=stored.layers, systemd=219, network=NetworkMode.NONE)
    with (
        pytest.raises(HostError, match="systemd 219 of the image cannot boot here"),
        start_guest(spec),
    ):
        pass
    assert not list(state_dir.iterdir())
    with start_guest(replace(spec, boot=False)) as guest:
        assert guest.run(["echo", "entered"]).text == "entered"


def test_memory_too_small_to_boot_is_reported(stored: Image) -> None:
    """So many share this host's that 8 MB are left for each."""
    crowd = limits.of_host(1).memory // 8_000_000
    error = unready(GuestSpec(layers=stored.layers, guests=crowd))
    assert error.message.startswith(
        "the guest ended before it was ready: its init or systemd-nspawn"
    )
    assert "--jobs" in error.hint


HIDDEN = """
mount -t tmpfs tmpfs /mnt
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/full /dev/fd /mnt
mount --move /mnt /dev
exec "$@"
"""


def without_loop_devices(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run postroj where they are hidden in a mount namespace, as a container may have none."""
    words = ["unshare", "--mount", "sh", "-euc", HIDDEN, "sh", *POSTROJ, *argv]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)


MODES = "stat --format '%a %u %g %n' /usr/bin/su /var/mail; systemctl is-system-running"


def test_host_without_loop_devices_unpacks_the_image(image: str) -> None:
    run = ("run", "--image", image, "--network", "none", "--", "sh", "-c", MODES)
    usual = subprocess.run([*POSTROJ, *run], check=False, capture_output=True, text=True)
    assert usual.stdout.endswith("running\n"), usual.stderr
    assert "4755 0 0 /usr/bin/su" in usual.stdout
    assert "in memory" not in usual.stderr
    done = without_loop_devices(*run)
    assert (done.returncode, done.stdout) == (usual.returncode, usual.stdout), done.stderr
    (line,) = done.stderr.splitlines()
    assert "no squashfs can be mounted on this host" in line
    assert "in memory" in line


def test_image_that_can_be_neither_mounted_nor_unpacked_is_reported(image: str) -> None:
    """Where loop devices are hidden and `tar` as well."""
    run = ("run", "--image", image, "--network", "none", "--", "true")
    words = [
        "unshare",
        "--mount",
        "sh",
        "-euc",
        f"mount --bind /bin/false /bin/tar; {HIDDEN}",
        "sh",
    ]
    done = subprocess.run([*words, *POSTROJ, *run], check=False, capture_output=True, text=True)
    assert done.returncode == 125
    said = done.stderr
    assert "the image could not be mounted: this host provides no loop device" in said, said
    assert "mount: lower0: " in said, said
    assert "modprobe loop" in said, said
