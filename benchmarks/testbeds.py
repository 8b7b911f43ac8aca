"""Compare a run of autopkgtest in guests of postroj with one in another testbed.

    sudo .venv/bin/python benchmarks/testbeds.py [--runs N] [--json] [NAME...]

See `pairs` for the output. The package has one test, which needs nothing: what is measured is the
testbed. `null` runs it on the host itself, which is the limit; `lxc` is measured if it is
installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from boots import unpacked
from pairs import Pair, main, measure, run

from postroj.autopkgtest.testbed import SETUP
from postroj.image import pull
from postroj.image.catalog import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pairs import Measured

IMAGE = "debian-bookworm"
CONTAINER = "postroj-bench"
CHANGELOG = """\
tiny (1) unstable; urgency=low

  * New.

 -- Benchmarks <tests@mirror.example>  Mon, 05 Oct 2026 00:00:00 +0000
"""
TREE = {
    "changelog": CHANGELOG,
    "control": "Source: tiny\n\nPackage: tiny\nArchitecture: all\n",
    "tests/control": "Test-Command: true\nDepends:\n",
}


@contextmanager
def source() -> Iterator[str]:
    """Yield the folder of a source package with a test that does nothing."""
    with tempfile.TemporaryDirectory() as work:
        for name, text in TREE.items():
            path = Path(work, "debian", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        yield f"{work}//"  # as if it were built


def test_in(tree: str, *server: str) -> None:
    """Run autopkgtest with a server of testbeds."""
    scripts = Path(sys.executable).parent
    argv = ["autopkgtest", "--no-built-binaries", tree, "--", *server]
    run(argv, PATH=f"{scripts}:{os.environ['PATH']}")


def compare(runs: int, name: str, *server: str) -> Measured:
    """Compare postroj with another server."""
    with source() as tree:
        pair = Pair(
            name=name, ours="autopkgtest -- postroj", limit=f"autopkgtest -- {name}", runs=runs
        )
        ours = partial(test_in, tree, "postroj", IMAGE)
        return measure(pair, ours, partial(test_in, tree, *server))


def null(runs: int) -> Measured:
    """Compare with no testbed at all."""
    return compare(runs, "null", "null")


def lxc(runs: int) -> Measured:
    """Compare with lxc: the same files, an overlay for each run, and the host's network."""
    containers = Path("/var/lib/lxc", CONTAINER)
    with unpacked() as tree:
        shutil.copy("/etc/resolv.conf", tree / "etc")
        run(["chroot", str(tree), "sh", "-ec", SETUP.read_text()])
        containers.mkdir(parents=True)
        try:
            rootfs = containers / "rootfs"  # lxc-copy wants the container's name in its path
            rootfs.symlink_to(tree)
            (containers / "config").write_text(
                f"lxc.rootfs.path = dir:{rootfs}\nlxc.uts.name = {CONTAINER}\n"
                "lxc.net.0.type = none\nlxc.include = /usr/share/lxc/config/common.conf\n"
            )
            return compare(runs, "lxc", "lxc", "--ephemeral", CONTAINER)
        finally:
            shutil.rmtree(containers)


BENCHMARKS: dict[str, tuple[Callable[[int], Measured], int]] = {
    "null": (null, 10),
    **({"lxc": (lxc, 10)} if shutil.which("lxc-copy") else {}),
}

if __name__ == "__main__":
    pull.pull(catalog.find(IMAGE))
    main(__doc__, BENCHMARKS)
