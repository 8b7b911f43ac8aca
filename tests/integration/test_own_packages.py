"""The packages of postroj itself: built as each distribution does, probed by postroj."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import start_guest
from postroj.model import Image, Manager, NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners, Question
from postroj.probe.package.package_file import OLDER_DIR, recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import CheckKind, Outcome, StepName
from postroj.warm import warmed
from tests.integration.test_managers import PACMAN_CONF, REPO
from tests.support import pacman, rpms, toolbox
from tests.support.listener import Nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.verdict import ProbeResult

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "tests/support/own.sh"
NEEDED = ("click", "platformdirs", "requests", "tqdm")
TOOLS = (
    *("debhelper", "dh-python", "fakeroot", "makepkg", "pybuild-plugin-pyproject", "zstd"),
    *("python3-all", "python3-build", "python3-docutils", "python3-hatchling"),
    *("python3-installer", *(f"python3-{name}" for name in NEEDED)),
    *("squashfs-tools-ng", "systemd-container"),  # what it needs of a host
)
FOLDERS = ("srv/rpm", "srv/pacman")
OUT, CHECKOUT = "/srv/out", "/srv/own"
LIFE = (StepName.INSTALL, StepName.UPGRADE, StepName.REMOVE, StepName.PURGE)
LIVED = [(step.value, "pass", "") for step in LIFE]
SHARED = (
    "man/man1/postroj-test.1.gz",
    "fish/vendor_completions.d/postroj.fish",
)
COMPLETES = "bash -c '. /usr/share/bash-completion/completions/postroj && complete -p postroj'"
BOOTS = (
    "postroj import --force inner /srv/image && "
    "postroj run --image inner --network none -- systemctl is-system-running --wait"
)


@pytest.fixture(scope="module")
def tools(image: str) -> Iterator[tuple[Path, ...]]:
    """Layers of an image that has everything to build and install them."""
    with obtain(image) as stored, toolbox.layers_of(stored, TOOLS) as layers:
        yield layers


@pytest.fixture(scope="module")
def built(tools: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packages."""
    out = tmp_path_factory.mktemp("built")
    binds = (
        Bind(source=REPOSITORY, target=CHECKOUT, read_only=True),
        Bind(source=out, target=OUT, read_only=False),
    )
    spec = GuestSpec(layers=tools, network=NetworkMode.NONE, binds=binds, boot=False)
    with start_guest(spec) as guest:
        guest.run(["sh", "-c", SCRIPT.read_text(), "sh", CHECKOUT, OUT], timeout=300)
    return out


@pytest.fixture(scope="module")
def extra(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with repositories of what the packages need, by the names of those distributions.

    The files themselves come from Debian. It also has an image for guests in the guest.
    """
    return repositories(tmp_path_factory.mktemp("extra"), image)


@pytest.mark.parametrize("release", ["debian-bookworm", "debian-trixie", "debian-sid"])
def test_own_deb_lives_on_each_release_and_boots_a_guest_in_the_guest(
    built: Path, extra: Path, pulled: Callable[[str], str], release: str
) -> None:
    """What it needs is installed in a layer that a second run finds in the cache."""
    (file,) = built.glob("postroj_*.deb")
    package = recognise(file)
    plan = plan_of_life(network=NetworkMode.PRIVATE)
    with obtain(pulled(release)) as stored, ExitStack() as stack:
        warm = warmed(stored, [package], plan, stack)
        image = replace(warm, layers=(*warm.layers, extra))
        assert told(probe(image, [package], plan, Nobody())) == LIVED


@pytest.mark.parametrize("manager", [Manager.DNF, Manager.PACMAN])
def test_own_packages_of_other_distributions_boot_a_guest_in_the_guest_and_leave(
    tools: tuple[Path, ...], built: Path, extra: Path, manager: Manager
) -> None:
    image = Image(name="tools", architecture="x86_64", layers=(*tools, extra), manager=manager)
    if manager is Manager.PACMAN:
        (package,), older = built.glob("postroj-*.pkg.tar.zst"), []
    else:
        (package,), older = built.glob("postroj-*-1.*.rpm"), [*built.glob("postroj-*-0.*.rpm")]
    plan = plan_of_life(older)
    assert told(probe(image, [recognise(package)], plan, Nobody())) == LIVED


def test_wheel_in_a_fresh_environment_brings_commands_pages_and_completion(tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", fresh], check=True)
    subprocess.run([fresh / "bin/pip", "install", "--quiet", REPOSITORY], check=True)
    for program in ("postroj", "autopkgtest-virt-postroj"):
        subprocess.run(
            [fresh / "bin" / program, "--help"], check=True, cwd="/", stdout=subprocess.DEVNULL
        )
    done = subprocess.run(
        [fresh / "bin/postroj", "list-images", "trixie"],
        check=True,
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert "debian-trixie" in done.stdout
    for path in (*SHARED, "bash-completion/completions/postroj"):
        assert (fresh / "share" / path.removesuffix(".gz")).is_file()


def plan_of_life(older: Sequence[Path] = (), *, network: NetworkMode = NetworkMode.NONE) -> Plan:
    """Ask whether what a package of postroj installs works in a guest, and boots another there."""
    questions = (
        Question(kind=CheckKind.COMMAND, subject=COMPLETES),
        Question(kind=CheckKind.COMMAND, subject=BOOTS),
        *(Question(kind=CheckKind.FILE, subject=f"/usr/share/{path}") for path in SHARED),
    )
    return Plan(
        questions=questions,
        manners=Manners(timeout=60, settle=0.2),
        network=network,
        timeout=120,
        boot_timeout=30,
        steps=LIFE,
        older=tuple(recognise(path, OLDER_DIR) for path in older),
        recommends=False,  # which would be most of the work
    )


def told(result: ProbeResult) -> list[tuple[str, str, str]]:
    """What is not as it should be, and the outcome of each step."""
    assert not result.reason, result.reason
    checks = [
        (step.name.value, check.subject, check.reason)
        for step in result.steps
        for check in step.checks
        if check.outcome in (Outcome.FAIL, Outcome.ERROR)
    ]
    return checks + [(step.name.value, step.done.value, "") for step in result.steps]


def repositories(folder: Path, image: str) -> Path:
    """Make the layer `extra`."""
    tree = folder / "tree"
    for name in ("etc/yum.repos.d", "etc/pacman.d/gnupg", *FOLDERS):
        (tree / name).mkdir(parents=True)
    (tree / "etc/yum.repos.d/tests.repo").write_text(REPO.format(url="file:///srv/rpm"))
    (tree / "etc/pacman.conf").write_text(PACMAN_CONF.format(url="file:///srv/pacman"))
    names = ["/usr/bin/python3", "systemd-container", "util-linux", "/bin/sh"]
    provides = [*names, *(f"python3dist({name})" for name in NEEDED)]
    rpms.build(
        tree / "srv/rpm",
        "base",
        tags="\n".join(f"Provides: {name}" for name in provides),
        files={"/usr/share/licenses/base": ""},  # the folder is that of filesystem, not ours
    )
    rpms.repository(tree / "srv/rpm")
    needed = ["python", "systemd", "util-linux", *(f"python-{name}" for name in NEEDED)]
    packages = [pacman.build(tree / "srv/pacman", name) for name in needed]
    pacman.repository(tree / "srv/pacman", "tests", packages)
    with obtain(image) as stored:
        shutil.copyfile(stored.layers[0], tree / "srv/image")
    layer = folder / "extra.squashfs"
    argv = ["mksquashfs", str(tree), str(layer), "-quiet", "-all-root", "-no-progress", "-noD"]
    subprocess.run(argv, check=True)
    return layer
