"""Machines whose kernel does not come up, booted by qemu with kernels that the tests make."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.container.failure import unready
from postroj.container.spec import Accelerator, GuestSpec, Machine
from postroj.errors import GuestError
from postroj.guests import machine_for
from postroj.machine import ending, kernel_layer, qemu
from postroj.machine.start import start_machine
from postroj.model import NetworkMode
from postroj.prepare import obtain
from tests.support.kernels import initrd, silent_kernel
from tests.support.tars import squashfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG = 600
"""Seconds for a test: others run at the same time, and layers may have to be made."""
HOME = f"{kernel_layer.MODULES}/6.1.0-test"
pytestmark = pytest.mark.timeout(LONG)


def layer(folder: Path, kernel: bytes, archive: bytes) -> Path:
    """Return a layer with this kernel and its initrd, and no modules."""
    files = {kernel_layer.KERNEL: kernel, kernel_layer.INITRD: archive}
    members = ((f"{HOME}/{name}", {"data": data}) for name, data in files.items())
    return squashfs(folder / "kernel.squashfs", *members)


def fault(machine: Machine, layers: tuple[Path, ...], boot_timeout: float) -> GuestError:
    """Return the error of a machine that does not become ready."""
    spec = GuestSpec(layers=layers, network=NetworkMode.NONE, boot_timeout=boot_timeout)
    with pytest.raises(GuestError) as caught, start_machine(spec, machine):
        pytest.fail("it became ready")
    return caught.value


def test_machine_whose_kernel_hangs_before_it_prints_anything(
    pulled: Callable[[str], str], tmp_path: Path, state_dir: Path
) -> None:
    machine = Machine(
        architecture="x86_64",
        accelerator=Accelerator.TCG,
        kernel=layer(tmp_path, silent_kernel(), initrd({"init": b""})),
        tools=(),
    )
    with obtain(pulled("debian-bookworm")) as image:
        error = fault(machine, image.layers, 0.25)
    assert error.message == "the guest was not ready within 2 s: its kernel has printed nothing"
    assert error.hint == f"{unready.MORE_TIME}, and {ending.IN_CONTAINER}"
    assert not [*state_dir.glob("postroj-*")]


def test_machine_whose_kernel_has_no_virtio_ends_with_that_reason(
    pulled: Callable[[str], str], tmp_path: Path, state_dir: Path
) -> None:
    """All drivers of virtio are modules in the kernel of this Debian."""
    with (
        obtain(pulled("debian-bookworm")) as stored,
        machine_for(stored, wanted=True) as (image, machine),
    ):
        assert machine
        kernel_layer.unpack(machine.kernel, tmp_path)
        without = initrd({"modules/order": b""}, (tmp_path / kernel_layer.INITRD).read_bytes())
        kernel = layer(tmp_path, (tmp_path / kernel_layer.KERNEL).read_bytes(), without)
        error = fault(replace(machine, kernel=kernel), image.layers, 60)
    assert error.message == "the guest ended before it was ready: no virtio disk appeared"
    assert error.hint == ending.IN_CONTAINER
    assert qemu.BOOTED in error.evidence
    assert not [*state_dir.glob("postroj-*")]
