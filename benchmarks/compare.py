"""Compare the times of postroj with bare tools that do the same work, in turn, in one run.

    sudo .venv/bin/python benchmarks/compare.py [--runs N] [--json] [NAME...]

See `pairs` for the output.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import material
from pairs import POSTROJ, Measured, Pair, main, measure, run

from postroj.container.boot import masks
from postroj.image import architectures, pull
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Bootstrap
from postroj.image.pull import Request
from postroj.image.sources import mirror
from postroj.image.sources.mmdebstrap import BootstrapPlan
from postroj.image.store import store
from postroj.image.unpack import pack
from tests.support import debs
from tests.support.nginx import Nginx
from tests.support.streams import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
IMAGE = "debian-bookworm"
FOUR = ("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid")
DAEMON = "beanstalkd"
"""Its dependencies have the same names in all of these."""
UNSHARE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Processes that the script starts end with it, however it ends."""
STREAMED = 300_000_000
"""Bytes of the image that is stored unchanged."""


def cycle(runs: int) -> Measured:
    """Measure a whole warm cycle: start, ready, one command, gone."""
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, architectures.of_this_host())
    pair = Pair(
        name="cycle",
        ours="postroj run -- true",
        limit="mount, boot, wait for the notification, true, kill, by a script",
        target=1.5,
        runs=runs,
    )
    with tempfile.TemporaryDirectory() as work:
        bare = ["unshare", "--mount", "sh", str(HERE / "bare.sh"), str(record.path), work]
        options = " ".join(masks.KERNEL_COMMAND_LINE)
        return measure(
            pair,
            lambda: run([POSTROJ, "--quiet", "run", "--image", IMAGE, "--", "true"]),
            lambda: run(bare, KERNEL_COMMAND_LINE=options),
        )


def making(runs: int) -> Measured:
    """Compare `pull --force` with mmdebstrap piped into the same squashfs tool."""
    pair = Pair(
        name="pull",
        ours="postroj pull --force",
        limit="mmdebstrap | tar2sqfs",
        target=1.15,
        runs=runs,
    )
    entry = catalog.find(IMAGE)
    source = next(source for source in entry.sources if isinstance(source, Bootstrap))
    plan = BootstrapPlan(
        source=source,
        packages=entry.packages,
        architecture=architectures.of_this_host(),
        archives=mirror.archives({suite.archive for suite in source.suites}),
        keyring=source.keyring,
        allow_expired=False,
    )
    with tempfile.TemporaryDirectory() as work:
        sources = " ".join(f"'{line}'" for line in plan.apt_sources())
        include = ",".join(plan.packages)
        script = (
            f"mmdebstrap --variant=minbase --include={include} --format=tar"
            f" {plan.suite} - {sources}"
            f" | tar2sqfs -q -c {pack.COMPRESSION} -f {work}/bare.squashfs"
        )
        return measure(
            pair,
            lambda: run([POSTROJ, "--quiet", "pull", "--force", IMAGE], POSTROJ_CACHE_DIR=work),
            lambda: run(["sh", "-c", script]),
        )


def streaming(runs: int) -> Measured:
    """Measure the download of an image that is stored unchanged."""
    pair = Pair(
        name="streams",
        ours="pull of a squashfs from a simplestreams server",
        limit="curl | sha256sum",
        target=1.2,
        runs=runs,
    )
    with tempfile.TemporaryDirectory() as work:
        folder, site = Path(work), Path(work, "site")
        (folder / "usr").mkdir()
        (folder / "usr/blob").write_bytes(os.urandom(STREAMED))
        file = folder / "image.squashfs"
        run(["mksquashfs", str(folder / "usr"), str(file), "-keep-as-directory", "-noD"])
        tree = Tree(site)
        tree.add("20260101_00:00", file.read_bytes())
        tree.publish()
        with Nginx(site, folder / "nginx") as server:
            (path,) = site.glob("images/**/rootfs.squashfs")
            url = f"{server.url}/{path.relative_to(site)}"
            fetch = [sys.executable, str(HERE / "fetch.py"), server.url]
            return measure(
                pair,
                lambda: run(fetch, POSTROJ_CACHE_DIR=f"{work}/cache"),
                lambda: run(["sh", "-c", f"curl --silent {url} | sha256sum"]),
            )


def start(runs: int) -> Measured:
    """Measure the time until `postroj --help` is on the screen."""
    pair = Pair(
        name="help",
        ours="postroj --help",
        limit="python -c 'import click'",
        target=2.0,
        runs=runs,
    )
    return measure(
        pair,
        lambda: run([POSTROJ, "--help"]),
        lambda: run([sys.executable, "-c", "import click"]),
    )


def importing(runs: int) -> Measured:
    """Compare `import` of a 100 MB archive with bare tools that unpack, pack and digest it."""
    pair = Pair(
        name="import",
        ours="postroj import of a rootfs.tar.xz",
        limit="xz -dc | tar2sqfs, with sha256sum beside it",
        target=1.1,
        runs=runs,
    )
    with tempfile.TemporaryDirectory() as work:
        archive = material.archive(Path(work), megabytes=60)
        script = (
            f"sha256sum {archive} & xz -dc {archive}"
            f" | tar2sqfs -q -c {pack.COMPRESSION} -f {work}/bare.squashfs; wait"
        )
        return measure(
            pair,
            lambda: run(
                [POSTROJ, "--quiet", "import", "--force", "bench", str(archive)],
                POSTROJ_CACHE_DIR=f"{work}/cache",
            ),
            lambda: run(["sh", "-c", script]),
        )


def matrix(runs: int) -> Measured:
    """Compare a probe on four releases at once with a script that takes them in turn."""
    pair = Pair(
        name="matrix",
        ours="postroj pkgprobe on four images, four guests at once",
        limit="mount, boot, apt-get install, is-active, kill, by a script, in turn",
        target=1.3,
        runs=runs,
        at_once=1.6,
    )
    with tempfile.TemporaryDirectory() as work:
        deb = debs.build(Path(work), "bench", depends="redis-server")
        options = ["--no-discover", "--check-unit=redis-server"]
        return _on_four(pair, Path(work), deb, "redis-server.service", options)


def life(runs: int) -> Measured:
    """Compare a whole life on four releases at once with a script that takes them in turn."""
    pair = Pair(
        name="life",
        ours="postroj pkgprobe --steps=install,upgrade,reboot,remove,purge, four guests at once",
        limit="the same steps with apt-get, by a script, in turn",
        target=1.3,
        runs=runs,
        at_once=1.6,
    )
    with tempfile.TemporaryDirectory() as work:
        older = material.daemon(Path(work), DAEMON, FOUR[0])
        newer = material.raised(older)
        options = ["--steps=install,upgrade,reboot,remove,purge", f"--upgrade-from={older}"]
        return _on_four(pair, Path(work), newer, f"{DAEMON}.service", options, older)


def _on_four(
    pair: Pair, work: Path, deb: Path, unit: str, options: Sequence[str], *more: Path
) -> Measured:
    """Compare a probe on four images with the bare script, which waits for nothing to settle."""
    for name in FOUR:
        pull.pull(catalog.find(name), Request(allow_expired=True))
    records = [store.require(name, architectures.of_this_host()) for name in FOUR]
    (mount := work / "mount").mkdir()
    images = [f"--image={name}" for name in FOUR]
    probe = [POSTROJ, "--quiet", "pkgprobe", f"--package={deb}", "--jobs=4", "--settle=0"]
    bare = ["unshare", *UNSHARE, "sh", str(HERE / "bare.sh")]

    def in_turn() -> None:
        for record in records:
            words = [str(word) for word in (record.path, mount, deb, unit, *more)]
            run([*bare, *words], KERNEL_COMMAND_LINE=" ".join(masks.KERNEL_COMMAND_LINE))

    return measure(pair, lambda: run([*probe, *images, *options]), in_turn)


def warm(runs: int) -> Measured:
    """Compare the second probe of a daemon with a script that caches nothing."""
    pair = Pair(
        name="warm",
        ours="postroj pkgprobe that downloads nothing",
        limit="mount, boot, apt-get update and install, is-active, kill, by a script",
        target=1.0,
        runs=runs,
    )
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, architectures.of_this_host())
    with tempfile.TemporaryDirectory() as work:
        (mount := Path(work, "mount")).mkdir()
        deb = debs.build(Path(work), "bench", depends="redis-server")
        options = {"KERNEL_COMMAND_LINE": " ".join(masks.KERNEL_COMMAND_LINE)}
        probe = [POSTROJ, "--quiet", "pkgprobe", "--package", str(deb), "--image", IMAGE]
        probe += ["--no-discover", "--settle", "0", "--check-unit", "redis-server"]
        bare = ["unshare", "--mount", "sh", str(HERE / "bare.sh"), str(record.path), str(mount)]
        return measure(
            pair,
            lambda: run(probe),
            lambda: run([*bare, str(deb), "redis-server"], **options),
        )


BENCHMARKS = {
    "help": (start, 20),
    "cycle": (cycle, 20),
    "pull": (making, 3),
    "import": (importing, 5),
    "streams": (streaming, 9),
    "matrix": (matrix, 3),
    "life": (life, 3),
    "warm": (warm, 5),
}


if __name__ == "__main__":
    main(__doc__, BENCHMARKS)
