"""Layers for guests with a kernel of their own; the guests that make them are fakes."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import kernels, user
from postroj.container.spec import Accelerator, GuestSpec, Machine
from postroj.errors import CommandError, HostError, ImageError, UsageError
from postroj.image.store import store
from postroj.image.unpack import pack
from postroj.machine import acceleration, kernel_layer, qemu
from postroj.model import Image, Manager
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.process import Completed

SCRIPTS = ("init.sh", "kernel.sh", "tools.sh")


def image(name: str, manager: Manager | None, architecture: str = "x86_64") -> Image:
    path = Path(f"/images/{name}.{architecture}.squashfs")
    return Image(name=name, architecture=architecture, layers=(path,), manager=manager)


class Maker(FakeGuest):
    """A guest that makes a layer."""

    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        return ["tar", *(only or ())]


class Workshop:
    """Record the guests that make layers, and what runs in them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        """Image and purpose of each guest."""
        self.argv: dict[str, tuple[str, ...]] = {}
        self.stdin: dict[str, bytes] = {}
        self.folders: dict[str, list[str]] = {}
        self.obtained: list[tuple[str, str]] = []
        self.error: CommandError | None = None

    @contextmanager
    def obtain(self, name: str, architecture: str = "") -> Iterator[Image]:
        self.obtained.append((name, architecture))
        yield image(name, Manager.APT, architecture)

    @contextmanager
    def start_guest(self, spec: GuestSpec) -> Iterator[Maker]:
        assert not spec.boot
        self.made.append((spec.image, spec.purpose))
        workshop = self

        class Guest(Maker):
            def run(self, argv: Sequence[str], **options: object) -> Completed:
                if workshop.error:
                    raise workshop.error
                workshop.argv[spec.purpose] = tuple(argv)
                stdin = options["stdin"]
                assert isinstance(stdin, bytes)
                workshop.stdin[spec.purpose] = stdin
                return super().run(argv)

        yield Guest()

    def squash_output(self, argv: list[str], file: Path) -> None:
        purpose = self.made[-1][1]
        self.folders[purpose] = argv[1:]
        file.write_text(purpose)


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    found = Workshop()
    monkeypatch.setattr(kernels, "obtain", found.obtain)
    monkeypatch.setattr(kernels, "start_guest", found.start_guest)
    monkeypatch.setattr(pack, "squash_output", found.squash_output)
    monkeypatch.setattr(acceleration, "best", lambda architecture, kernel: Accelerator.TCG)
    monkeypatch.setattr(qemu, "require", lambda architecture: None)
    monkeypatch.setattr(store, "lock_shared", lambda stack, paths: True)
    return found


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the scripts, to be changed."""
    for name in SCRIPTS:
        (tmp_path / name).write_text((kernels.SCRIPTS / name).read_text())
    monkeypatch.setattr(kernels, "SCRIPTS", tmp_path)
    return tmp_path


def with_kernel(of: Image) -> tuple[Image, Machine]:
    with kernels.with_kernel(of) as found:
        return found


def test_with_kernel_of_a_debian(workshop: Workshop) -> None:
    ours = image("debian-trixie", Manager.APT)
    found, machine = with_kernel(ours)
    assert workshop.made == [
        ("debian-trixie", "make udev"),
        ("debian-trixie", "make kernel"),
        ("debian-bookworm", "make tools"),
    ]
    assert found.layers[:-1] == ours.layers
    assert found.layers[-1].read_text() == "make udev"
    assert (machine.architecture, machine.accelerator) == ("x86_64", Accelerator.TCG)
    assert machine.kernel.read_text() == "make kernel"
    assert machine.tools[0] == Path("/images/debian-bookworm.x86_64.squashfs")
    assert machine.tools[1].read_text() == "make tools"


def test_kernel_layer_has_the_modules_alone_and_init_in_its_initrd(workshop: Workshop) -> None:
    with_kernel(image("debian-trixie", Manager.APT))
    assert workshop.folders["make kernel"] == ["/usr/lib/modules"]
    assert workshop.folders["make tools"] == []
    assert workshop.stdin["make kernel"] == (kernels.SCRIPTS / "init.sh").read_bytes()


@pytest.mark.parametrize("manager", [one for one in Manager if one is not Manager.APT])
def test_with_kernel_of_debian_for_other_distributions(
    workshop: Workshop, manager: Manager
) -> None:
    with_kernel(image("other", manager))
    assert workshop.made == [
        ("other", "make udev"),
        ("debian-bookworm", "make kernel"),
        ("debian-bookworm", "make tools"),
    ]
    assert workshop.argv["make udev"] == ("/bin/sh", "-ec", kernels.UDEV[manager])


@pytest.mark.parametrize(
    ("architecture", "packages"),
    [
        ("x86_64", ("linux-image-cloud-amd64", "linux-image-virtual")),
        ("aarch64", ("linux-image-cloud-arm64", "linux-image-virtual")),
    ],
)
def test_kernel_and_tools_are_of_the_architecture_of_the_image(
    workshop: Workshop, architecture: str, packages: tuple[str, ...]
) -> None:
    """The tools run on that kernel, not on this host's."""
    _, machine = with_kernel(image("debian-trixie", Manager.APT, architecture))
    assert workshop.argv["make kernel"][-2:] == packages
    assert workshop.obtained == [("debian-bookworm", architecture)]
    assert machine.tools[0].name == f"debian-bookworm.{architecture}.squashfs"


def test_each_architecture_has_a_qemu() -> None:
    tables = (qemu.PROGRAMS, qemu.CONSOLES, qemu.EMULATED, qemu.MODELS)
    assert all(set(table) == set(kernels.KERNELS) for table in tables)


def test_with_kernel_of_an_unknown_architecture(workshop: Workshop) -> None:
    with pytest.raises(UsageError) as caught:
        with_kernel(image("debian-trixie", Manager.APT, "riscv64"))
    assert caught.value.message == "there is no kernel for guests of the architecture 'riscv64'"
    assert caught.value.hint == "`--vm` knows x86_64, aarch64"
    assert workshop.obtained == []


def test_with_kernel_on_a_host_without_qemu_makes_no_layer(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(architecture: str) -> None:
        message = f"no qemu for {architecture}"
        raise HostError(message)

    monkeypatch.setattr(qemu, "require", require)
    with pytest.raises(HostError, match="no qemu for aarch64"):
        with_kernel(image("debian-trixie", Manager.APT, "aarch64"))
    assert workshop.made == workshop.obtained == []


def test_with_kernel_of_an_image_without_a_package_manager(workshop: Workshop) -> None:
    with pytest.raises(ImageError) as caught:
        with_kernel(image("mine", None))
    assert caught.value.message == "the image 'mine' has no package manager to install udev"
    assert workshop.made == []


@pytest.mark.parametrize(
    ("uid", "release", "is_refused"),
    [
        (1000, "5.10.0-46-cloud-amd64", True),
        (1000, "4.19.0-27-amd64", True),
        (1000, "5.11.0-1-amd64", False),
        (1000, "6.1.0-57-cloud-amd64", False),
        (0, "5.10.0-46-cloud-amd64", False),
    ],
)
def test_with_kernel_that_cannot_read_the_layers_of_a_user(
    uid: int, release: str, is_refused: bool, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "UID", uid)
    monkeypatch.setattr(kernel_layer, "release", lambda layer: release)
    if not is_refused:
        with_kernel(image("debian-bullseye", Manager.APT))
        return
    with pytest.raises(UsageError) as caught:
        with_kernel(image("debian-bullseye", Manager.APT))
    assert caught.value.message == (
        f"the kernel {release} of 'debian-bullseye' cannot read layers made without root"
    )
    assert caught.value.hint == "Linux 5.11 can, or run the same command with `sudo`"


def test_udev_is_known_for_each_package_manager() -> None:
    assert set(kernels.UDEV) == set(Manager)
    for command in kernels.UDEV.values():
        subprocess.run(["sh", "-n", "-c", command], check=True)


def test_layers_are_made_once(workshop: Workshop) -> None:
    first = with_kernel(image("debian-trixie", Manager.APT))
    assert with_kernel(image("debian-trixie", Manager.APT)) == first
    assert len(workshop.made) == 3


def test_layers_are_made_again_after_a_month(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_kernel(image("debian-trixie", Manager.APT))
    monkeypatch.setattr(kernels, "MAX_AGE", -1.0)
    with_kernel(image("debian-trixie", Manager.APT))
    assert len(workshop.made) == 6


@pytest.mark.parametrize(
    ("script", "purpose"),
    [("init.sh", "make kernel"), ("kernel.sh", "make kernel"), ("tools.sh", "make tools")],
)
def test_a_layer_is_made_again_when_its_script_has_changed(
    workshop: Workshop, scripts: Path, script: str, purpose: str
) -> None:
    with_kernel(image("debian-trixie", Manager.APT))
    made = len(workshop.made)
    (scripts / script).write_text((scripts / script).read_text() + "# changed\n")
    with_kernel(image("debian-trixie", Manager.APT))
    assert [purpose for _, purpose in workshop.made[made:]] == [purpose]


def test_a_layer_that_cannot_be_made(workshop: Workshop) -> None:
    output = "Err:1 bookworm InRelease\n  Could not resolve the host"
    workshop.error = CommandError(("/bin/sh",), 100, output)
    with pytest.raises(ImageError) as caught:
        with_kernel(image("debian-trixie", Manager.APT))
    error = caught.value
    assert error.message == "the udev for guests with a kernel of their own could not be made"
    assert error.evidence == output
    assert error.hint == "is this host online? it was tried in the image 'debian-trixie'"
