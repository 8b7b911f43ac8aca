"""List what a guest has written: the files in the writable layer of its overlay file system.

That takes a moment, while walking the guest takes as long as its image is large. A removed path is
a device 0:0 in the layer, and a folder that shows nothing of the layers below has an attribute:
Documentation/filesystems/overlayfs.rst of Linux. A folder of the layers that was renamed is listed
without its content.

The guest may change its files at any moment. So folders are opened by their names, relative to open
folders, and never by a path; links are not followed.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from postroj.container.guest import VOLATILE, FileKind, Written
from postroj.container.layer import PREFIXES
from postroj.container.observe.files import FOLDER_FLAGS, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OPAQUE = tuple(f"{prefix}opaque" for prefix in PREFIXES.values())
"""Attributes, of which an overlay heeds one; in a machine of a user it is not that of root."""
DEEPEST = 64
"""Depth at which the search stops: a package may create endlessly nested folders."""


def written(upper: Path, lowers: Sequence[Path]) -> dict[str, Written]:
    """Return the content of a writable layer by path; `lowers` are the layers below, top first.

    :raises OSError: if one of them is not a folder.
    """
    found: dict[str, Written] = {}
    with ExitStack() as stack:
        below = [_open(stack, str(lower), None) for lower in lowers]
        _gather(_open(stack, str(upper), None), "", below, DEEPEST, found)
    return found


def _open(stack: ExitStack, name: str, folder: int | None) -> int:
    descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def _gather(
    folder: int, path: str, below: Sequence[int], deeper: int, found: dict[str, Written]
) -> None:
    """Add the content of an open folder; `below` are the folders of the same path in the layers."""
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = f"{path}/{entry.name}"
            if inner in VOLATILE:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # it has been removed
                continue
            if not stat.S_ISDIR(status.st_mode):
                found[inner] = _describe(inner, status, is_below=_exists(entry.name, below))
                continue
            with ExitStack() as stack, suppress(OSError):  # it has been replaced
                opened = _open(stack, entry.name, folder)
                is_opaque = _is_opaque(opened)
                same = () if is_opaque else list(_descend(stack, entry.name, below))
                found[inner] = _describe(
                    inner, status, is_below=_exists(entry.name, below), hides_below=is_opaque
                )
                if deeper:
                    _gather(opened, inner, same, deeper - 1, found)


def _describe(
    path: str, status: os.stat_result, *, is_below: bool, hides_below: bool = False
) -> Written:
    kind = KINDS.get(stat.S_IFMT(status.st_mode), FileKind.OTHER)
    return Written(
        path=path,
        kind=FileKind.GONE if _is_whiteout(status) else kind,
        is_below=is_below,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        changed=status.st_ctime_ns,
        hides_below=hides_below,
    )


def _exists(name: str, below: Iterable[int]) -> bool:
    """Whether the layers have a file: the topmost one that says something about it decides."""
    for folder in below:
        with suppress(OSError):
            return not _is_whiteout(os.stat(name, dir_fd=folder, follow_symlinks=False))
    return False


def _descend(stack: ExitStack, name: str, below: Iterable[int]) -> Iterable[int]:
    """Yield the folders of this name in the layers, down to one that hides those below it."""
    for folder in below:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return
        opened = _open(stack, name, folder)
        yield opened
        if _is_opaque(opened):
            return


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(folder: int) -> bool:
    for name in OPAQUE:
        with suppress(OSError):
            if os.getxattr(folder, name) == b"y":
                return True
    return False
