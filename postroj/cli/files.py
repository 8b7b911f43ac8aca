"""Files that are written where the user says."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_file(path: Path, text: str) -> None:
    """Write a file: it is whole under its name, or as it was. A pipe or a device stays one.

    :raises UsageError: if it cannot be written.
    :raises ImageError: if the disk is full.
    """
    if is_special(path):
        with writable(path), path.open("w", encoding="utf-8") as file:
            file.write(text)
        return
    # the file that a link leads to is replaced, not the link
    put_file(path.resolve(), text)


def put_file(path: Path, text: str) -> None:
    """Write a file in the place of whatever has its name, and is no folder.

    :raises UsageError: if it cannot be written.
    :raises ImageError: if the disk is full.
    """
    from postroj.image.outfile import atomic_file

    with (
        writable(path),
        atomic_file(path, replace=True) as descriptor,
        os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file,
    ):
        file.write(text)


def is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, which must not be replaced by a file."""
    return path.exists() and not path.is_file()


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Say of an error of the kernel's that this is not to be written."""
    try:
        yield
    except OSError as error:
        message = f"'{path}' cannot be written"
        raise UsageError(message, evidence=str(error)) from None
