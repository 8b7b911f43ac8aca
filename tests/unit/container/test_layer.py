"""The tar of the files that a guest has written: all, or some folders, never through a link."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container import layer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def members(written: Path, only: Sequence[str] | None) -> list[str]:
    done = subprocess.run(layer.tar_argv(written, only), check=True, capture_output=True)
    assert done.stderr == b""
    argv = ["tar", "--list"]
    listed = subprocess.run(argv, input=done.stdout, check=True, capture_output=True)
    return [line.rstrip("/") for line in listed.stdout.decode().splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """What a guest has written."""
    folder = tmp_path / "upper"
    for name in ("var/cache/apt/archives/a.deb", "var/cache/apt/p.bin", "etc/conf", "var/log/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_tar_argv_of_all_files(written: Path) -> None:
    assert {"./etc/conf", "./var/log/x", "./var/cache/apt/archives/a.deb"} <= set(
        members(written, None)
    )


def test_tar_argv_of_some_folders(written: Path) -> None:
    assert members(written, ["/var/cache/apt/archives", "/var/tmp/none", "/var/log"]) == [
        *(".", "./var", "./var/cache", "./var/cache/apt"),
        *("./var/cache/apt/archives", "./var/cache/apt/archives/a.deb"),
        *("./var/log", "./var/log/x"),
    ]


def test_tar_argv_of_no_folder(written: Path) -> None:
    assert members(written, ["/srv"]) == ["."]


@pytest.mark.parametrize("link", ["srv", "srv/packages"])
def test_tar_argv_follows_no_link(written: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "host" / "packages").mkdir(parents=True)
    (tmp_path / "host" / "packages" / "secret").touch()
    (written / link).parent.mkdir(exist_ok=True)
    (written / link).symlink_to(tmp_path / "host" / link.removeprefix("srv").lstrip("/"))
    assert members(written, ["/srv/packages"]) == ["."]
