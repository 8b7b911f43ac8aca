"""What a guest has written, as a layer that can be stacked on its image."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What the kernel remembers of the files below, which a stranger to them must not believe.
# Whiteouts, opaque folders and renamed ones keep their meaning (overlayfs.rst of the kernel).
OF_THE_MOMENT = ("origin", "impure", "nlink", "uuid", "upper")

SEEDED = ("hostname", "hosts", "machine-id", "resolv.conf")
"""In `/etc`: what made this one guest what it was, and no other."""


def tar_argv(written: Path, only: Sequence[str] | None = None) -> list[str]:
    """tar of a guest's writable layer, to stdout; nothing in the guest may be writing.

    Whiteouts are character devices 0:0 there, and stay so. `only` are the folders of the guest,
    absolute paths, to which it is confined; those that it has not are passed over.
    """
    return [
        *("tar", "--create", f"--directory={written}", "--numeric-owner", "--sort=name"),
        *("--xattrs", "--xattrs-include=*"),
        *(f"--xattrs-exclude=trusted.overlay.{name}" for name in OF_THE_MOMENT),
        *("--anchored", *(f"--exclude=./etc/{name}" for name in SEEDED)),
        "--warning=no-file-ignored",  # sockets
        *(["."] if only is None else _members(written, only)),
    ]


def _members(written: Path, folders: Sequence[str]) -> list[str]:
    """Name folders, and first what leads to them; never through a link, which leads elsewhere."""
    ways: dict[str, None] = {".": None}
    ends = []
    for folder in folders:
        *way, end = list(accumulate(folder.split("/"), lambda above, name: f"{above}/{name}"))[1:]
        if all(_is_folder(written / f".{part}") for part in (*way, end)):
            ways |= dict.fromkeys(f".{part}" for part in way)
            ends.append(f".{end}")
    return ["--no-recursion", *ways, "--recursion", *ends]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
