"""Kernel and initrd out of a real squashfs file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.errors import ImageError
from postroj.machine import kernel_layer
from tests.support.tars import squashfs

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "6.1.0-1-cloud-amd64"
FOLDER = f"usr/lib/modules/{VERSION}"


def test_unpack_kernel_and_initrd(tmp_path: Path) -> None:
    layer = squashfs(
        tmp_path / "kernel.squashfs",
        (f"{FOLDER}/vmlinuz", {"data": b"MZ\0kernel"}),
        (f"{FOLDER}/initrd", {"data": b"\x1f\x8binitrd"}),
        (f"{FOLDER}/modules.dep", {"data": b"x"}),
    )
    folder = tmp_path / "run"
    folder.mkdir()
    kernel_layer.unpack(layer, folder)
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == {"vmlinuz": b"MZ\0kernel", "initrd": b"\x1f\x8binitrd"}


@pytest.mark.parametrize("versions", [(), ("6.1.0-1", "6.1.0-2")])
def test_unpack_a_layer_with_another_number_of_kernels(
    tmp_path: Path, versions: tuple[str, ...]
) -> None:
    members = [(f"usr/lib/modules/{version}/vmlinuz", {"data": b"x"}) for version in versions]
    layer = squashfs(tmp_path / "kernel.squashfs", ("etc/x", {"data": b""}), *members)
    with pytest.raises(ImageError) as caught:
        kernel_layer.unpack(layer, tmp_path)
    assert caught.value.message == (
        f"the layer 'kernel.squashfs' has {len(versions)} kernels, not one"
    )


def test_release_is_that_of_the_only_kernel(tmp_path: Path) -> None:
    layer = squashfs(tmp_path / "kernel.squashfs", (f"{FOLDER}/vmlinuz", {"data": b"x"}))
    assert kernel_layer.release(layer) == VERSION


def test_unpack_a_layer_without_an_initrd(tmp_path: Path) -> None:
    layer = squashfs(tmp_path / "kernel.squashfs", (f"{FOLDER}/vmlinuz", {"data": b"x"}))
    with pytest.raises(ImageError) as caught:
        kernel_layer.unpack(layer, tmp_path)
    assert caught.value.message == f"the squashfs file has no file '{FOLDER}/initrd'"
