"""Which devices a guest may open: the program is run here, by an interpreter of what it uses."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from postroj.container.cgroup import devices
from postroj.container.cgroup.devices import BLOCK, CHARACTER, MKNOD, USUAL, Device

READ, WRITE = 2, 4
OPENED = {"null": (1, 3), "zero": (1, 5), "tty": (5, 0), "pts": (136, 7), "fuse": (10, 229)}
SHUT = {"mem": (1, 1), "kmsg": (1, 11), "loop-control": (10, 237), "rtc": (254, 0)}


def verdict(code: bytes, access: int, device: Device, byteorder: str = sys.byteorder) -> int:
    """What a program says of an access, by the instruction set of BPF."""
    kind, major, minor = device
    is_little = byteorder == "little"
    order = "<" if is_little else ">"
    context = struct.pack(f"{order}III", access << 16 | kind, major, minor or 0)
    registers = dict.fromkeys(range(6), 0)
    program = list(struct.iter_unpack(f"{order}BBhi", code))
    at = 0
    while True:
        operation, both, offset, value = program[at]
        to, source = (both & 15, both >> 4) if is_little else (both >> 4, both & 15)
        at += 1
        match operation:
            case 0x61:
                assert source == 1, "the context"
                (registers[to],) = struct.unpack_from(f"{order}I", context, offset)
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


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("access", [READ, WRITE, READ | WRITE, READ | MKNOD])
def test_program_allows_only_these_devices(access: int, byteorder: str) -> None:
    code = devices.program((*USUAL, (BLOCK, 7, 3)), byteorder)

    def says(*device: int) -> int:
        kind, major, minor = device
        return verdict(code, access, (kind, major, minor), byteorder)

    assert all(says(CHARACTER, *number) == 1 for number in OPENED.values())
    assert all(says(CHARACTER, *number) == 0 for number in SHUT.values())
    assert says(BLOCK, 7, 3) == 1
    assert says(BLOCK, 7, 4) == 0
    assert says(BLOCK, 1, 3) == 0, "a disk with the number of null"


def test_program_allows_files_for_all_devices() -> None:
    code = devices.program(USUAL)
    assert verdict(code, MKNOD, (BLOCK, 8, 0)) == 1


def test_devices_of_bound_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list(devices.devices_of([tmp_path, tmp_path / "file"])) == []
    assert list(devices.devices_of([Path("/dev/null")])) == [(CHARACTER, 1, 3)]


def test_devices_of_a_bound_folder_with_a_link_that_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside = [Path("/dev/null"), Path("/dev/postroj-gone"), Path("/dev/zero")]
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter(inside))
    assert list(devices.devices_of([Path("/dev")])) == [(CHARACTER, 1, 3), (CHARACTER, 1, 5)]


def test_devices_of_bound_folders(tmp_path: Path) -> None:
    found = list(devices.devices_of([Path("/dev")]))
    assert (CHARACTER, 1, 3) in found
    (tmp_path / "null").symlink_to(os.devnull)
    assert list(devices.devices_of([tmp_path])) == [], "only below /dev"
