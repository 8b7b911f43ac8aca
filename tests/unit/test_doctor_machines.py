"""What doctor finds of the programs and the device for guests with a kernel of their own."""

from __future__ import annotations

import errno
import os
import platform
from typing import TYPE_CHECKING

import pytest

from postroj import user
from postroj.doctor import machines, packages
from postroj.doctor.facts import Finding, Status
from postroj.doctor.packages import missing_packages
from postroj.doctor.requirements import REQUIREMENTS, of_architecture, survey
from postroj.image import architectures, emulation
from postroj.machine import acceleration, qemu

if TYPE_CHECKING:
    from pathlib import Path

MANAGERS = {installer.name for installer in packages.INSTALLERS}
ROWS = {one.name: one for one in REQUIREMENTS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder in which programs are found."""
    monkeypatch.setattr("postroj.process.search_path", lambda: f"{tmp_path}:/nonexistent")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def on(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this host another architecture."""
    monkeypatch.setattr(platform, "machine", lambda: machine)


@pytest.mark.parametrize(
    ("script", "finding"),
    [
        (
            "echo 'OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026' >&2",
            Finding(Status.OK, "9.2p1"),
        ),
        ("echo 'Dropbear v2022.83' >&2", Finding(Status.WARNING, "not OpenSSH")),
        ("exit 255", Finding(Status.WARNING, "'ssh' ended with status 255")),
    ],
)
def test_ssh(script: str, finding: Finding, folder: Path) -> None:
    put(folder, "ssh", script)
    assert machines.ssh() == finding


def test_ssh_that_is_missing(folder: Path) -> None:
    assert machines.ssh() == Finding(Status.MISSING, "")


@pytest.mark.parametrize("machine", sorted(qemu.PROGRAMS))
def test_system_emulator(machine: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(machine, monkeypatch)
    assert machines.system_emulator() == Finding(Status.MISSING, "")
    put(folder, qemu.PROGRAMS[machine], "echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'")
    assert machines.system_emulator() == Finding(Status.OK, "7.2.22")


def test_system_emulator_for_an_architecture_without_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on("riscv64", monkeypatch)
    assert machines.system_emulator() == Finding(
        Status.WARNING, "`--vm` knows no guests of riscv64"
    )
    assert machines.packages() == {}


def test_system_emulator_of_another_architecture(folder: Path) -> None:
    put(folder, "qemu-system-x86_64", "echo 'QEMU emulator version 7.2.22'")
    assert machines.system_emulator("x86_64") == Finding(Status.OK, "7.2.22")
    assert machines.system_emulator("aarch64") == Finding(Status.MISSING, "")


def test_of_architecture_names_the_package_with_its_qemu(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architectures, "of_this_host", lambda: "x86_64")
    monkeypatch.setattr(emulation, "BINFMT", folder)
    results = survey(of_architecture("aarch64"))
    assert [one.requirement.name for one in results] == [
        "qemu-user, aarch64",
        "qemu-system, aarch64",
    ]
    assert [one.status for one in results] == [Status.WARNING, Status.MISSING]
    fault = f"{folder}/qemu-aarch64 does not exist: qemu-user is not registered"
    assert results[0].found == fault
    assert missing_packages(results, "apt") == ["qemu-system-arm"]
    assert results[1].requirement.only_for == "--vm --arch aarch64"
    (folder / "qemu-aarch64").write_text("enabled\nflags: F\n")
    assert machines.user_emulator("aarch64") == Finding(Status.OK, "is registered")


def test_packages_of_each_architecture_are_known_for_each_manager() -> None:
    assert set(machines.PACKAGES) == set(qemu.PROGRAMS)
    assert all(set(names) == MANAGERS for names in machines.PACKAGES.values())


def test_kvm_that_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "kvm")
    text = "can be opened; the first `--vm` tries a kernel on it"
    assert machines.kvm() == Finding(Status.OK, text)


def test_kvm_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path / "kvm")
    text = "this host has none, so qemu emulates the processor"
    assert machines.kvm() == Finding(Status.WARNING, text)


def test_kvm_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "DEVICE", tmp_path)  # a folder, as even root cannot write one
    assert machines.kvm() == Finding(Status.WARNING, "cannot be opened: Is a directory")


@pytest.mark.parametrize(
    ("uid", "text"),
    [
        (0, "closed to root"),
        (
            1000,
            "closed to user 1000, whose groups do not count here;"
            " `sudo setfacl -m u:1000:rw /dev/kvm` opens it",
        ),
    ],
)
def test_kvm_that_is_closed(uid: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(user, "UID", uid)
    monkeypatch.setattr(os, "open", refuse)
    assert machines.kvm() == Finding(Status.WARNING, text)


def test_a_host_without_qemu_and_ssh_runs_guests_and_is_told_the_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("x86_64", monkeypatch)
    monkeypatch.setattr(acceleration, "DEVICE", folder / "kvm")
    results = survey([ROWS[name] for name in ("qemu-system", "ssh", "/dev/kvm")])
    assert [one.status for one in results] == [Status.MISSING, Status.MISSING, Status.WARNING]
    assert not any(one.fatal for one in results)
    assert "openssh-client" in missing_packages(results, "apt")
    assert [one.requirement.only_for for one in results] == ["--vm", "--vm, --host", "a fast --vm"]
