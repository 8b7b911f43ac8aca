"""The tar that becomes an image."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from postroj.transfer.commit import tar_argv

if TYPE_CHECKING:
    from pathlib import Path


def test_tar_of_a_commit_lacks_the_identity(tmp_path: Path) -> None:
    root, blank = tmp_path / "root", tmp_path / "blank"
    names = ["etc/hostname", "etc/machine-id", "etc/hosts", "etc/resolv.conf", "etc/keep"]
    names += ("var/log/journal/0/a", "var/log/keep", "srv/etc/hostname", "var/lib/dbus/machine-id")
    for name in (*(f"root/{name}" for name in names), "blank/etc/machine-id"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x" if name.startswith("root") else "")
    made = subprocess.run(tar_argv(root, blank), stdout=subprocess.PIPE, check=True).stdout
    listed = subprocess.run(["tar", "-t"], input=made, stdout=subprocess.PIPE, check=True).stdout
    files = [name for name in listed.decode().splitlines() if not name.endswith("/")]
    assert files == ["./etc/keep", "./srv/etc/hostname", "./var/log/keep", "etc/machine-id"]
