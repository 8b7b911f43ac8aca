"""What a program needs to be executed, by its first bytes; they may be anything."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from postroj.probe.ask.executable import interpreter, is_loader, lacks, named_programs, sought

LOADER = b"/lib64/ld-x.so.2\0"


def elf(*, offset: int = 120, kind: int = 3) -> bytes:
    """Return the beginning of a 64-bit program with one program header."""
    header = struct.pack(
        "<4s5B7xHHI3QI6H", b"\x7fELF", 2, 1, 1, 0, 0, 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    entry = struct.pack("<II6Q", kind, 4, offset, offset, offset, len(LOADER), len(LOADER), 1)
    return header + entry + LOADER


def test_interpreter_of_a_real_program() -> None:
    head = Path(sys.executable).resolve().read_bytes()[:4096]
    path, argument = interpreter(head)
    assert is_loader(path)
    assert Path(path).exists()
    assert argument == ""


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"#!/bin/sh\necho", ("/bin/sh", "")),
        (b"#! /usr/bin/perl -w\n", ("/usr/bin/perl", "-w")),
        (b"#!/usr/bin/env -S python3 -u\n", ("/usr/bin/env", "-S python3 -u")),
        (b"#!/bin/sh\0x y\n", ("/bin/sh", "")),
        (elf(), ("/lib64/ld-x.so.2", "")),
        (elf(kind=1), ("", "")),
        (elf(offset=1 << 40), ("", "")),
        (elf()[:100], ("", "")),
        (b"\x7fELF", ("", "")),
        (b"\x7fELF\x02\x01" + b"\xff" * 100, ("", "")),
        (b"plain", ("", "")),
        (b"", ("", "")),
    ],
)
def test_interpreter_of_a_head(head: bytes, found: tuple[str, str]) -> None:
    assert interpreter(head) == found


@pytest.mark.parametrize(
    ("path", "argument", "name"),
    [
        ("/usr/bin/env", "python3", "python3"),
        ("/usr/bin/env", "-S A=b python3 -u", "python3"),
        ("/usr/bin/env", "/usr/bin/x", ""),
        ("/usr/bin/env", "", ""),
        ("/bin/sh", "x", ""),
    ],
)
def test_program_that_env_searches(path: str, argument: str, name: str) -> None:
    assert sought(path, argument) == name


def test_what_the_dynamic_loader_misses() -> None:
    fine = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n"
    assert lacks(fine) == ""
    glibc = "x: error while loading shared libraries: libssl.so.1.1: cannot open shared object file"
    assert lacks(f"{glibc}: No such file or directory") == "the library 'libssl.so.1.1'"
    musl = "Error loading shared library libssl.so.1.1: No such file or directory (needed by x)"
    assert lacks(musl) == "the library 'libssl.so.1.1'"
    other = "x: error while loading shared libraries: x: cannot open shared object file: Error 24"
    assert lacks(other) == ""
    version = "/usr/bin/x: /lib/libc.so.6: version `GLIBC_2.38' not found (required by /usr/bin/x)"
    assert lacks(version) == "the version 'GLIBC_2.38' of a library"


def test_named_programs_of_a_script_have_its_variables_replaced() -> None:
    script = "NAME=player\nDAEMON=\"/usr/bin/$NAME\"\nOPTIONS='-a b'\n. /lib/lsb/init-functions\n"
    script += "start-stop-daemon --exec ${DAEMON} $OPTIONS\n/usr/sbin/$OTHER /usr/sbin/other-x\n"
    assert named_programs(script) == [
        "/usr/bin/player",
        "/lib/lsb/init-functions",
        "/usr/sbin/other-x",
    ]
