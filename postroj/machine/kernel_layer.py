"""Get the kernel and its initrd out of the layer that has them, for qemu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.errors import ImageError
from postroj.image import inspect

if TYPE_CHECKING:
    from pathlib import Path

MODULES = "usr/lib/modules"
KERNEL, INITRD = "vmlinuz", "initrd"
"""Files in a folder of `MODULES` with the version of the kernel, see `kernel.sh`."""


def unpack(layer: Path, folder: Path) -> None:
    """Write the kernel and its initrd into a folder.

    :raises ImageError: if the layer has none.
    """
    versions = inspect.names_in(layer, MODULES)
    if len(versions) != 1:
        message = f"the layer '{layer.name}' has {len(versions)} kernels, not one"
        raise ImageError(message)
    for file in (KERNEL, INITRD):
        content = inspect.content_of(layer, f"{MODULES}/{versions.copy().pop()}/{file}")
        (folder / file).write_bytes(content)
