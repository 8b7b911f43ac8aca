"""Which devices a guest may open: the program is run here, by an interpreter of what it uses."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from postroj.container.cgroup import devices
from postroj.container.cgroup.devices import BLOCK, CHARACTER, MKNOD, USUAL, Device

READ, WRITE = 2, 4
OPENED = {"null": (1, 3), "zero": (1, 5), "tty": (5, 0), "pts": (136, 7), "fuse": (10, 229)}
SHUT = {"mem": (1, 1), "kmsg": (1, 11), "loop-control": (10, 237), "rtc": (254, 0)}


def verdict(code: bytes, access: int, device: Device) -> int:
    """What a program says of an access, by the instruction set of BPF."""
    kind, major, minor = device
    context = struct.pack("=III", access << 16 | kind, major, minor or 0)
    registers = dict.fromkeys(range(6), 0)
    program = list(struct.iter_unpack("=BBhi", code))
    at = 0
    while True:
        operation, both, offset, value = program[at]
        to, source = both & 15, both >> 4
        at += 1
        match operation:
            case 0x61:
                (registers[to],) = struct.unpack_from("=I", context, offset)
            case 0xBF:
                registers[to] = registers[source]
            case 0x77:
                registers[to] >>= value
            case 0x57:
                registers[to] &= value
            case 0xB7:
                registers[to] = value
            case 0x55:
                at += offset if registers[to] != value else 0
            case 0x95:
                return registers[0]
            case _:
                pytest.fail(f"{operation:#x} is not known here")


@pytest.mark.parametrize("access", [READ, WRITE, READ | WRITE, READ | MKNOD])
def test_program_allows_only_these_devices(access: int) -> None:
    code = devices.program((*USUAL, (BLOCK, 7, 3)))
    assert all(verdict(code, access, (CHARACTER, *number)) == 1 for number in OPENED.values())
    assert all(verdict(code, access, (CHARACTER, *number)) == 0 for number in SHUT.values())
    assert verdict(code, access, (BLOCK, 7, 3)) == 1
    assert verdict(code, access, (BLOCK, 7, 4)) == 0
    assert verdict(code, access, (BLOCK, 1, 3)) == 0, "a disk with the number of null"


def test_program_allows_files_for_all_devices() -> None:
    code = devices.program(USUAL)
    assert verdict(code, MKNOD, (BLOCK, 8, 0)) == 1


def test_devices_of_bound_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list(devices.devices_of([tmp_path, tmp_path / "file"])) == []
    assert list(devices.devices_of([Path("/dev/null")])) == [(CHARACTER, 1, 3)]


def test_devices_of_bound_folders(tmp_path: Path) -> None:
    found = list(devices.devices_of([Path("/dev")]))
    assert (CHARACTER, 1, 3) in found
    (tmp_path / "null").symlink_to(os.devnull)
    assert list(devices.devices_of([tmp_path])) == [], "only below /dev"
