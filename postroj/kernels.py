"""Make what a guest with a kernel of its own needs beside its image: kernel, udev and tools.

Each is a layer of the store, made in a guest without init by the package manager of its image,
which verifies what it downloads. The kernel is that of the image's own distribution, if postroj
knows its name there, else Debian's: then modules of the distribution do not fit it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process, user
from postroj.container import naming
from postroj.container.spec import GuestSpec, Machine
from postroj.container.start import start_guest
from postroj.errors import CommandError, ImageError, UsageError
from postroj.image.store import warm_layers
from postroj.image.store.warm_layers import Kind
from postroj.machine import acceleration, kernel_layer, qemu
from postroj.model import Manager
from postroj.prepare import obtain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.image.store.warm_layers import WarmLayer
    from postroj.model import Image

DEBIAN = "debian-bookworm"
"""The image of the tools, and of the kernel where the image's own distribution has none for us."""
SCRIPTS = Path(__file__).with_name("machine")
KERNELS = {
    "x86_64": ("linux-image-cloud-amd64", "linux-image-virtual"),
    "aarch64": ("linux-image-cloud-arm64", "linux-image-virtual"),
}
"""Packages with the kernel for machines of qemu, of Debian and Ubuntu."""
UDEV = {
    Manager.APT: "apt-get -qq -o Acquire::Languages=none update"
    " && apt-get install -qq --yes --no-install-recommends udev kmod"
    " && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin",
    Manager.DNF: "dnf --assumeyes --setopt=install_weak_deps=False install systemd-udev kmod",
    Manager.ZYPPER: "zypper --non-interactive install --no-recommends udev kmod",
    Manager.PACMAN: "pacman --sync --refresh --noconfirm --needed kmod",
}
"""Commands that install what finds the hardware and loads its modules."""
MAX_AGE = 30 * 24 * 3600.0
"""Seconds after which a kernel is made again, for the sake of its security updates."""
PATIENCE = 900.0
SINCE_USERXATTR = (5, 11)
"""The Linux that brought `userxattr`, the option of overlays that users mount."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """How a layer is made."""

    kind: Kind
    argv: tuple[str, ...]
    stdin: bytes = b""
    only: tuple[str, ...] | None = None
    """The folders that make the layer."""

    @property
    def asked(self) -> str:
        """What the layer is made from, for its recipe."""
        words = "\0".join((*self.argv, *(self.only or ()))).encode() + self.stdin
        return hashlib.sha256(words).hexdigest()


@contextmanager
def with_kernel(image: Image) -> Iterator[tuple[Image, Machine]]:
    """Yield an image with udev, and the machine for it; both are in use meanwhile.

    :raises UsageError: if postroj starts no machine of this architecture.
    :raises HostError: if this host has no qemu.
    :raises ImageError: if a layer cannot be made.
    """
    if image.architecture not in KERNELS:
        message = f"there is no kernel for guests of the architecture '{image.architecture}'"
        raise UsageError(message, hint=f"`--vm` knows {', '.join(KERNELS)}")
    qemu.require(image.architecture)  # before minutes go into layers
    with ExitStack() as stack:
        debian = stack.enter_context(obtain(DEBIAN, image.architecture))
        udev = _layer(stack, image, _udev(image))
        own = image if image.manager is Manager.APT else debian
        kernel = _layer(stack, own, _kernel(image.architecture))
        _require_fit(kernel, own)
        tools = _layer(stack, debian, _script(Kind.TOOLS, "tools.sh"))
        machine = Machine(
            architecture=image.architecture,
            accelerator=acceleration.best(image.architecture, kernel),
            kernel=kernel,
            tools=(*debian.layers, tools),
        )
        yield replace(image, layers=(*image.layers, udev)), machine


def _require_fit(kernel: Path, image: Image) -> None:
    """Refuse a kernel that cannot read the layers of a user.

    :raises UsageError: if it is one.
    """
    if user.is_root():
        return
    release = kernel_layer.release(kernel)
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < SINCE_USERXATTR:
        message = f"the kernel {release} of '{image.name}' cannot read layers made without root"
        raise UsageError(message, hint="Linux 5.11 can, or run the same command with `sudo`")


def _udev(image: Image) -> _Work:
    if image.manager is None:
        message = f"the image '{image.name}' has no package manager to install udev"
        raise ImageError(message)
    return _Work(kind=Kind.UDEV, argv=("/bin/sh", "-ec", UDEV[image.manager]))


def _kernel(architecture: str) -> _Work:
    init = (SCRIPTS / "init.sh").read_bytes()
    work = _script(Kind.KERNEL, "kernel.sh", KERNELS[architecture])
    return replace(work, stdin=init, only=("/usr/lib/modules",))


def _script(kind: Kind, name: str, words: Sequence[str] = ()) -> _Work:
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    return _Work(kind=kind, argv=("/bin/sh", "-c", text, name, *words))


def _layer(stack: ExitStack, image: Image, work: _Work) -> Path:
    """Return the file of a layer, in use until the stack unwinds; make it if it is missing.

    :raises ImageError: if that fails.
    """
    recipe = warm_layers.recipe(work.kind, image, work.asked)

    def find() -> WarmLayer | None:
        layer = warm_layers.find(recipe)
        is_young = layer and abs(time.time() - layer.made) < MAX_AGE
        return layer if layer and is_young and warm_layers.use(stack, layer) else None

    if layer := find():
        return layer.path
    with warm_layers.building(recipe) as directory:
        if layer := find():  # another process may have made it while we waited
            return layer.path
        log.info("%s: %s ...", image.name, work.kind)
        return warm_layers.add(stack, recipe, _make(image, work, directory)).path


def _make(image: Image, work: _Work, directory: Path) -> Path:
    from postroj.image.unpack import pack

    spec = GuestSpec(
        hostname=naming.COMMON_HOST,
        layers=image.layers,
        boot=False,
        image=image.name,
        emulated=image.emulated,
        purpose=f"make {work.kind}",
    )
    file = directory / "layer.squashfs"
    try:
        with start_guest(spec) as guest:
            guest.run(
                work.argv,
                stdin=work.stdin,
                env={"DEBIAN_FRONTEND": "noninteractive"},
                timeout=PATIENCE,
            )
            pack.squash_output(guest.layer_argv(work.only), file)
    except CommandError as error:
        message = f"the {work.kind} for guests with a kernel of their own could not be made"
        hint = f"is this host online? it was tried in the image '{image.name}'"
        evidence = process.last_lines(error.output)
        raise ImageError(message, evidence=evidence, hint=hint) from None
    return file
