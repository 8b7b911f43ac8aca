"""Compare probes of real packages, whose dependencies are cached, with bare scripts.

    sudo .venv/bin/python benchmarks/lives.py [--runs N] [--json] [NAME...]

A probe installs, checks, removes and purges a package, and waits for nothing to settle. See `pairs`
for the output.
"""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import material
from pairs import POSTROJ, Measured, Pair, main, measure, run

from postroj.container.boot import masks
from postroj.image import pull
from postroj.image.catalog import catalog
from postroj.image.store.warm_layers import Kind, layers_dir
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.package.package_file import recognise
from postroj.probe.plan import Plan
from postroj.warm import warmed

if TYPE_CHECKING:
    from collections.abc import Sequence

BARE = Path(__file__).with_name("bare.sh")
IMAGE = "debian-bookworm"
FEW, MANY = "redis-server", "neutron-dhcp-agent"
"""Packages with a service: one with few dependencies, one with about 150."""
STEPS = "--steps=install,remove,purge"
UNSHARE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
WITHOUT_LAYER = (
    sys.executable,
    "-c",
    "from postroj import __main__, warm\n"
    "warm._WarmLayers.with_dependencies = lambda self, image: image\n"
    "__main__.main()",
)
"""postroj, except that it leaves all dependencies to the probe."""
PLAN = Plan(
    questions=(), manners=Manners(), network=NetworkMode.PRIVATE, timeout=600, boot_timeout=60
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A package, and the layers on which its probe boots."""

    name: str
    deb: Path
    unit: str
    image: str
    """Path of the image's file."""
    layers: str
    """Paths of the image and its layers with lists and dependencies, with `:` between."""

    def probe(self, *, jobs: int = 1, command: Sequence[str] = (POSTROJ,)) -> None:
        """Probe it, after everything has been cached."""
        argv = [*command, "--quiet", "pkgprobe", "--no-project", f"--package={self.deb}"]
        argv += [f"--image={IMAGE}", STEPS, "--settle=0"]
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            list(pool.map(run, [argv] * jobs))

    def script(self, *, warm: bool, jobs: int = 1) -> None:
        """Do the same by a script, on the same layers or on the image alone."""
        variables = {
            "KERNEL_COMMAND_LINE": " ".join(masks.KERNEL_COMMAND_LINE),
            "PURGED": self.name,
            **({"LISTED": "yes"} if warm else {}),
        }
        below = self.layers if warm else self.image

        def once(_: int) -> None:
            with tempfile.TemporaryDirectory() as work:
                words = ["unshare", *UNSHARE, "sh", str(BARE), below, work, str(self.deb)]
                run([*words, self.unit], **variables)

        with ThreadPoolExecutor(max_workers=jobs) as pool:
            list(pool.map(once, range(jobs)))


def subject(stack: ExitStack, name: str) -> Subject:
    """Download a package, and make its layers."""
    pull.pull(catalog.find(IMAGE))
    work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    deb = material.daemon(work, name, IMAGE)
    image = stack.enter_context(obtain(IMAGE))
    layers = warmed(image, [recognise(deb)], PLAN, stack).layers
    return Subject(
        name=name,
        deb=deb,
        unit=f"{name}.service",
        image=":".join(map(str, image.layers)),
        layers=":".join(map(str, layers)),
    )


def second(runs: int, name: str = FEW, target: float = 0.5) -> Measured:
    """Compare the second probe with a script that caches nothing."""
    pair = Pair(
        name="many" if name == MANY else "second",
        ours=f"the second probe of {name}",
        limit="mount, boot, update, install, is-active, remove, purge, by a script",
        target=target,
        runs=runs,
    )
    with ExitStack() as stack:
        tested = subject(stack, name)
        return measure(pair, tested.probe, lambda: tested.script(warm=False))


def many(runs: int) -> Measured:
    """Compare the second probe of a package with many dependencies."""
    return second(runs, MANY, 0.2)


def probe(runs: int, jobs: int = 1) -> Measured:
    """Compare a probe with a script on the same layers."""
    pair = Pair(
        name="probe" if jobs == 1 else "eight",
        ours=f"{jobs} x a probe of {FEW} with cached dependencies",
        limit="the same by a script, on the same layers",
        target=1.25,
        runs=runs,
    )
    with ExitStack() as stack:
        tested = subject(stack, FEW)
        return measure(
            pair,
            lambda: tested.probe(jobs=jobs),
            lambda: tested.script(warm=True, jobs=jobs),
        )


def eight(runs: int) -> Measured:
    """Compare eight probes at once with eight scripts at once."""
    return probe(runs, 8)


def first(runs: int) -> Measured:
    """Compare a first probe, which makes the layer of dependencies, with one that makes none."""
    pair = Pair(
        name="first",
        ours=f"the first probe of {FEW}, with cached lists",
        limit="the same, with its dependencies in the same transaction",
        target=1.1,
        runs=runs,
    )
    with ExitStack() as stack:
        tested = subject(stack, FEW)

        def ours() -> None:
            for record in layers_dir().glob(f"{Kind.DEPENDENCIES}-*.json"):
                record.unlink()
            tested.probe()

        return measure(pair, ours, lambda: tested.probe(command=WITHOUT_LAYER))


BENCHMARKS = {
    "second": (second, 9),
    "many": (many, 5),
    "probe": (probe, 9),
    "eight": (eight, 5),
    "first": (first, 9),
}


if __name__ == "__main__":
    os.environ.setdefault("POSTROJ_CACHE_DIR", "/var/cache/postroj-benchmarks")
    main(__doc__, BENCHMARKS)
