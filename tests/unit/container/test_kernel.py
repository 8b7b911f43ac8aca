"""System calls by their numbers, and the program that the launch script makes of them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from postroj.container import kernel

if TYPE_CHECKING:
    from pathlib import Path


def test_map_owners_runs_alone_and_shows_why_it_fails() -> None:
    """Without site-packages, as the launch script starts it."""
    argv = [sys.executable, "-IS", kernel.__file__, "524288", "65536", "/no/such/mount"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Error: [Errno" in done.stderr


def test_open_in_root_follows_links_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").touch()
    (tmp_path / "link").symlink_to("/inner/file")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        found = kernel.open_in_root(root, "/link")
        assert os.path.samestat(os.fstat(found), (tmp_path / "inner" / "file").stat())
        os.close(found)
        with pytest.raises(FileNotFoundError) as caught:
            kernel.open_in_root(root, "../none")
        assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "../none")
    finally:
        os.close(root)


@pytest.mark.parametrize(
    ("machine", "number"),
    [("x86_64", 0x5441), ("aarch64", 0x5441), ("s390x", 0x5441), ("ppc64le", 0x20005441)],
)
def test_tiocgptpeer_of_each_machine(machine: str, number: int) -> None:
    assert kernel.tiocgptpeer(machine) == number


def test_bpf_is_refused_to_a_program_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There another system call has the number."""
    monkeypatch.setattr(sys, "maxsize", (1 << 31) - 1)
    with pytest.raises(OSError, match="no known number"):
        kernel.bpf(5, b"")


def test_bpf_is_refused_where_its_number_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BPF", {})
    with pytest.raises(OSError, match="no known number"):
        kernel.bpf(5, b"")
