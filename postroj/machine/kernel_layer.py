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


def release(layer: Path) -> str:
    """Return the release of the kernel in a layer, as `uname -r` prints it.

    :raises ImageError: if the layer has no kernel, or several.
    """
    releases = inspect.names_in(layer, MODULES)
    if len(releases) != 1:
        message = f"the layer '{layer.name}' has {len(releases)} kernels, not one"
        raise ImageError(message)
    return releases.copy().pop()


def unpack(layer: Path, folder: Path) -> None:
    """Write the kernel and its initrd into a folder.

    :raises ImageError: if the layer has none.
    """
    home = f"{MODULES}/{release(layer)}"
    for file in (KERNEL, INITRD):
        content = inspect.content_of(layer, f"{home}/{file}")
        (folder / file).write_bytes(content)
