"""Which files of mounted layers are read ahead, and that no link is followed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.boot import readahead

if TYPE_CHECKING:
    from pathlib import Path

HOT = (
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-journald",
    "usr/lib/systemd/libsystemd-shared-257.so",
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-252.so",
    "usr/lib64/libcrypto.so.3.2.1",
    "usr/lib64/systemd/libsystemd-core-258.2-1.fc43.so",
)
COLD = (
    "lib/systemd/systemd",
    "usr/lib/libsystemd.a",
    "usr/lib/systemd/systemd-networkd",
    "usr/lib/systemd/system/systemd-journald.service",
    "usr/lib/x86_64-linux-gnu/libcurl.so.4",
    "usr/lib/x86_64-linux-gnu/perl/libc.so.6",
    "usr/share/systemd/systemd",
    "srv/usr/lib/systemd/systemd",
)


def fill(layer: Path, *paths: str) -> None:
    for path in paths:
        (layer / path).parent.mkdir(parents=True, exist_ok=True)
        (layer / path).write_text(f"{layer.name}:{path}\n")


def read(folder: Path, *layers: str) -> list[str]:
    done = subprocess.run(
        readahead.argv(layers), cwd=folder, capture_output=True, text=True, timeout=20, check=True
    )
    return sorted(done.stdout.splitlines())


def test_readahead_reads_what_every_boot_reads(tmp_path: Path) -> None:
    fill(tmp_path / "lower0", *HOT[:4], *COLD)
    fill(tmp_path / "lower1", *HOT[4:])
    assert read(tmp_path, "lower0", "lower1") == [
        *(f"lower0:{path}" for path in sorted(HOT[:4])),
        *(f"lower1:{path}" for path in sorted(HOT[4:])),
    ]


@pytest.mark.parametrize("link", ["usr", "usr/lib", "usr/lib/systemd", "usr/lib/systemd/systemd"])
def test_readahead_follows_no_link_out_of_a_layer(link: str, tmp_path: Path) -> None:
    fill(tmp_path / "host", *HOT)
    layer = tmp_path / "lower0"
    (layer / link).parent.mkdir(parents=True)
    (layer / link).symlink_to(tmp_path / "host" / link)
    assert read(tmp_path, "lower0") == []


def test_readahead_ends_in_time(tmp_path: Path) -> None:
    """A squashfs of 4 KiB can hold one of terabytes."""
    fill(tmp_path / "lower0", "usr/lib/systemd/systemd")
    with (tmp_path / "lower0/usr/lib/systemd/systemd").open("r+b") as file:
        file.truncate(1 << 43)
    argv = readahead.argv(["lower0"])
    done = subprocess.run(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, timeout=20, check=False)
    assert done.returncode == 124


def test_readahead_reads_only_files(tmp_path: Path) -> None:
    """A pipe has no end, and a folder is none."""
    folder = tmp_path / "lower0/usr/lib/systemd"
    (folder / "systemd").mkdir(parents=True)
    subprocess.run(["mkfifo", folder / "systemd-logind"], check=True)
    assert read(tmp_path, "lower0") == []
