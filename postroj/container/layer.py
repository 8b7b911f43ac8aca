"""The files that a guest has written, as a layer that can be stacked on its image."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Attributes that refer to the files of one mount only. Whiteouts, opaque folders and renamed files
# work without them (overlayfs.rst of the kernel).
PREFIXES = {True: "trusted.overlay.", False: "user.overlay."}
"""Of the attributes of overlays, by whether root of the host mounts them, overlayfs.rst."""
TRANSIENT = ("origin", "impure", "nlink", "uuid", "upper")

SEEDED = ("hostname", "hosts", "machine-id", "resolv.conf")
"""Files of `/etc` that give a guest its identity (see `seed`)."""


def tar_argv(written: Path, only: Sequence[str] | None = None) -> list[str]:
    """Return the command that writes a guest's writable layer to stdout as a tar.

    The guest must have ended. Whiteouts remain character devices 0:0. `only` limits the tar to
    these folders, absolute paths in the guest; missing ones are left out.
    """
    return [
        *("tar", "--create", f"--directory={written}", "--numeric-owner", "--sort=name"),
        *("--xattrs", "--xattrs-include=*"),
        *(f"--xattrs-exclude={prefix}{name}" for prefix in PREFIXES.values() for name in TRANSIENT),
        *("--anchored", *(f"--exclude=./etc/{name}" for name in SEEDED)),
        "--warning=no-file-ignored",  # sockets
        *(["."] if only is None else _members(written, only)),
    ]


def _members(written: Path, folders: Sequence[str]) -> list[str]:
    """Return tar's arguments for folders and the folders above them, none of them a link."""
    ways: dict[str, None] = {".": None}
    ends = []
    for folder in folders:
        *way, end = list(accumulate(folder.split("/"), lambda above, name: f"{above}/{name}"))[1:]
        if all(_is_folder(written / f".{part}") for part in (*way, end)):
            ways |= dict.fromkeys(f".{part}" for part in way)
            ends.append(f".{end}")
    # tar fails for an option that no member follows
    return ["--no-recursion", *ways, *(("--recursion", *ends) if ends else ())]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
