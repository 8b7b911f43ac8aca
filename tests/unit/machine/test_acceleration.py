"""Whether this host's processor can run machines; a script stands in for qemu."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from postroj import paths, user
from postroj.container.spec import Accelerator
from postroj.errors import HostError
from postroj.machine import acceleration, kernel_layer, qemu

if TYPE_CHECKING:
    from pathlib import Path

HERE = os.uname().machine
BOOTS = f"echo '[0.1] Linux version 6.1'; echo '{qemu.BOOTED}'"


class Host:
    """A host with a `/dev/kvm` and a qemu, both made up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = folder / "kernel-1.squashfs"

    @property
    def trials(self) -> int:
        """How often qemu was started."""
        log = self.folder / "trials"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def boots(self, script: str) -> None:
        """Have qemu do this."""
        program = self.folder / "bin" / qemu.PROGRAMS[HERE]
        program.write_text(f"#!/bin/sh\necho x >>{self.folder}/trials\n{script}\n")
        program.chmod(0o755)

    def best(self, architecture: str = HERE) -> Accelerator:
        return acceleration.best(architecture, self.kernel)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    if HERE not in qemu.PROGRAMS:
        pytest.skip(f"no machines on {HERE}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "kvm").touch()
    (tmp_path / "boot_id").write_text("one\n")
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(acceleration, "BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(kernel_layer, "unpack", lambda layer, folder: None)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = Host(tmp_path)
    found.boots(BOOTS)
    return found


def test_best_is_kvm_if_a_kernel_boots_on_it_and_is_tried_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    assert host.best() is Accelerator.KVM
    assert host.best() is Accelerator.KVM
    assert host.trials == 1
    assert caplog.messages == []
    assert list((paths.cache_dir() / "partial").glob("kvm-*")) == []


def test_best_is_tcg_if_no_kernel_boots_and_says_why_each_time(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.boots("echo 'kvm: failed to initialize'; exit 1")
    caplog.set_level(logging.WARNING)
    assert host.best() is Accelerator.TCG
    assert host.best() is Accelerator.TCG
    assert host.trials == 1
    assert caplog.messages == [acceleration.NOTE % "kvm: failed to initialize"] * 2


def test_best_gives_up_a_kernel_that_hangs(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "PATIENCE", 0.2)
    host.boots("exec sleep 60")
    assert host.best() is Accelerator.TCG
    why = f"a kernel did not boot within 0.2 s with {acceleration.DEVICE}"
    assert caplog.messages == [acceleration.NOTE % why]


def test_best_of_a_qemu_without_a_word(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.boots("exit 0")
    assert host.best() is Accelerator.TCG
    assert caplog.messages == [
        acceleration.NOTE % f"a kernel did not boot with {acceleration.DEVICE}"
    ]


def test_best_is_tried_again_after_the_host_has_booted(host: Host, tmp_path: Path) -> None:
    host.boots("exit 1")
    assert host.best() is Accelerator.TCG
    (tmp_path / "boot_id").write_text("two\n")
    host.boots(BOOTS)
    assert host.best() is Accelerator.KVM
    assert host.trials == 2


def test_best_is_tried_again_with_another_kernel(host: Host, tmp_path: Path) -> None:
    host.best()
    host.kernel = tmp_path / "kernel-2.squashfs"
    host.best()
    assert host.trials == 2


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"why": 3}', '{"boot": "one"}'])
def test_best_ignores_a_damaged_answer(host: Host, text: str) -> None:
    paths.cache_dir().mkdir(parents=True)
    (paths.cache_dir() / acceleration.ANSWER).write_text(text)
    assert host.best() is Accelerator.KVM
    kept = json.loads((paths.cache_dir() / acceleration.ANSWER).read_text())
    assert kept == {"boot": "one", "kernel": "kernel-1.squashfs", "why": ""}


def test_best_without_a_device(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    acceleration.DEVICE.unlink()
    assert host.best() is Accelerator.TCG
    assert caplog.messages == [acceleration.NOTE % f"this host has no {acceleration.DEVICE}"]
    assert host.trials == 0


@pytest.mark.parametrize("uid", [0, 1000])
def test_best_with_a_device_that_is_closed(
    uid: int, host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "UID", uid)
    monkeypatch.setattr(os, "access", lambda path, mode: path != acceleration.DEVICE)
    assert host.best() is Accelerator.TCG
    device = acceleration.DEVICE
    why = {
        0: f"{device} is closed to root",
        1000: f"{device} is closed to user 1000, whose groups do not count here;"
        f" `sudo setfacl -m u:1000:rw {device}` opens it",
    }
    assert caplog.messages == [acceleration.NOTE % why[uid]]
    assert host.trials == 0


def test_best_of_another_architecture(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert host.best("riscv64") is Accelerator.TCG
    why = "this host has another architecture than 'riscv64'"
    assert caplog.messages == [acceleration.NOTE % why]
    assert host.trials == 0


def test_best_without_qemu_is_not_known(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is tried once qemu is installed."""
    (tmp_path / "bin" / qemu.PROGRAMS[HERE]).unlink()
    monkeypatch.setattr("postroj.process.search_path", lambda: str(tmp_path / "bin"))
    with pytest.raises(HostError) as caught:
        host.best()
    assert caught.value.message == f"'{qemu.PROGRAMS[HERE]}' is not installed on this host"
    assert not (paths.cache_dir() / acceleration.ANSWER).exists()


def test_slowness_of_accelerators() -> None:
    assert Accelerator.KVM.slowness == 1
    assert Accelerator.TCG.slowness > 1
