"""Write files to paths that the user chose."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj.cli.elsewhere import is_linux
from postroj.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_file(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file as a whole, or into a pipe or a device.

    :raises UsageError: if it is not writable, or exists and `replace` is not set.
    :raises ImageError: if the disk is full.
    """
    if is_special(path):
        with writable(path), path.open("w", encoding="utf-8") as file:
            file.write(text)
        return
    # replace the target of a link, not the link
    put_file(path.resolve(), text, replace=replace)


def put_file(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file, with `replace` in the place of anything of that name but a folder.

    :raises UsageError: if it is not writable, or exists and `replace` is not set.
    :raises ImageError: if the disk is full.
    """
    from postroj.image.outfile import atomic_file

    if not is_linux():
        _put_elsewhere(path, text)
        return
    with (
        writable(path),
        atomic_file(path, replace=replace) as descriptor,
        os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file,
    ):
        file.write(text)


def _put_elsewhere(path: Path, text: str) -> None:
    """Write a file where only Linux can make one that has no name yet."""
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with writable(path):
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe or a device, which no file may replace."""
    return path.exists() and not path.is_file()


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Convert an error of the kernel to a usage error about a path."""
    try:
        yield
    except OSError as error:
        message = f"'{path}' cannot be written"
        raise UsageError(message, evidence=str(error)) from None
