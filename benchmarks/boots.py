"""Compare boots of postroj with a bare script, podman and lxc: alone, eight at once, idle.

    sudo .venv/bin/python benchmarks/boots.py [--runs N] [--json] [NAME...]

See `pairs` for the output. The physical limit known today is the bare script with an unpacked
directory and the host's network. podman and lxc are measured if they are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pairs import POSTROJ, Pair, main, measure, run

from postroj.container.boot import masks
from postroj.container.network import pasta
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.image import architectures, pull
from postroj.image.catalog import catalog
from postroj.image.store import store
from postroj.prepare import obtain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pairs import Measured

HERE = Path(__file__).parent
IMAGE = "debian-bookworm"
EIGHT = 8
READINGS = 7
SETTLED = 3.0
"""Seconds until the kernel has reclaimed the memory of guests that are gone."""
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
STATE = "systemctl is-system-running --wait"


@contextmanager
def unpacked() -> Iterator[Path]:
    """Unpack the image into a temporary directory."""
    record = store.require(IMAGE, architectures.of_this_host())
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work, "tree")
        tree.mkdir()
        run(["sh", "-c", f"sqfs2tar {record.path} | tar -x --numeric-owner -p -C {tree}"])
        yield tree


def bare(image: Path, *, private: bool) -> subprocess.Popen[str]:
    """Start the bare script, which prints when its guest is ready and then ends it."""
    env = {**os.environ, "KERNEL_COMMAND_LINE": " ".join(masks.KERNEL_COMMAND_LINE)}
    if private:
        env["PASTA"] = " ".join(pasta.pasta_argv(""))
    argv = [*UNSHARE, "sh", str(HERE / "bare.sh"), str(image), "/mnt"]  # each has its own mounts
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env
    )


def until_ready(child: subprocess.Popen[str]) -> None:
    """Wait until a bare guest is ready."""
    assert child.stdout
    if child.stdout.readline() != "ready\n":
        raise RuntimeError(child.args)


def until_gone(child: subprocess.Popen[str]) -> None:
    """Wait for the end of a bare guest."""
    child.communicate()
    if child.returncode:
        raise RuntimeError(child.args)


class Timed:
    """Boot in a way whose end is not measured."""

    def __init__(self, start: Callable[[ExitStack], object]) -> None:
        self._start = start
        self._stack = ExitStack()

    def __call__(self) -> None:
        """Boot."""
        self._start(self._stack)

    def end(self) -> None:
        """End the guest."""
        self._stack.close()


def boot(runs: int, *, directory: bool) -> Measured:
    """Measure a boot until the guest is ready, with equal layers and network or at the limit."""
    with ExitStack() as stack:
        image = stack.enter_context(obtain(IMAGE))
        record = store.require(IMAGE, architectures.of_this_host())
        lower = stack.enter_context(unpacked()) if directory else record.path
        spec = GuestSpec(layers=image.layers)

        def start_bare(stack: ExitStack) -> None:
            child = bare(lower, private=not directory)
            stack.callback(until_gone, child)
            until_ready(child)

        ours = Timed(lambda stack: stack.enter_context(start_guest(spec)))
        limit = Timed(start_bare)
        pair = Pair(
            name="limit" if directory else "boot",
            ours="a guest from nothing to ready, in a process that runs",
            limit="the bare script, unpacked, on the host's network"
            if directory
            else "the bare script with the same layers and network",
            target=1.3 if directory else 1.1,
            runs=runs,
        )

        def end() -> None:
            ours.end()
            limit.end()

        return measure(pair, ours, limit, after=end)


def cycle(runs: int) -> Measured:
    """Compare the whole warm cycle with the physical limit."""
    with unpacked() as tree:
        pair = Pair(
            name="cycle",
            ours="postroj run -- true",
            limit="the bare script, unpacked, on the host's network",
            target=1.6,
            runs=runs,
        )
        return measure(pair, _cycle, lambda: until_gone(bare(tree, private=False)))


def _cycle() -> None:
    run([POSTROJ, "--quiet", "run", "--image", IMAGE, "--", "true"])


def eight(runs: int) -> Measured:
    """Measure eight guests at once, from nothing until they are gone."""
    record = store.require(IMAGE, architectures.of_this_host())
    with obtain(IMAGE) as image, ThreadPoolExecutor(EIGHT) as pool:
        spec = GuestSpec(layers=image.layers)

        def one(_: int) -> None:
            with start_guest(spec) as guest:
                guest.run(["true"])

        def ours() -> None:
            list(pool.map(one, range(EIGHT)))

        def limit() -> None:
            for child in [bare(record.path, private=True) for _ in range(EIGHT)]:
                until_gone(child)

        pair = Pair(
            name="eight",
            ours="eight guests at once, a command in each, in a process that runs",
            limit="eight bare scripts at once, the same layers and network",
            target=1.2,
            runs=runs,
        )
        return measure(pair, ours, limit)


def podman(runs: int) -> Measured:
    """Compare the whole warm cycle with that of podman, with the same files."""
    with unpacked() as tree:
        run(["sh", "-c", f"tar -c -C {tree} . | podman import - postroj-bench"])
        script = (
            "name=$(podman run --detach --rm --systemd=always postroj-bench /sbin/init) &&"
            f" podman exec $name {STATE}; podman exec $name true && podman kill $name"
        )
        pair = Pair(
            name="podman",
            ours="postroj run -- true",
            limit="podman run --systemd=always, wait, exec, kill",
            target=0.65,
            runs=runs,
        )
        try:
            return measure(pair, _cycle, partial(run, ["sh", "-c", script]))
        finally:
            run(["podman", "image", "rm", "--force", "postroj-bench"])


def lxc(runs: int) -> Measured:
    """Compare the whole warm cycle with that of lxc, with the same files and its own overlay."""
    with unpacked() as tree, tempfile.TemporaryDirectory() as work:
        upper = Path(work, "upper")
        config = Path(work, "config")
        config.write_text(
            f"lxc.rootfs.path = overlayfs:{tree}:{upper}\nlxc.net.0.type = empty\n"
            "lxc.include = /usr/share/lxc/config/common.conf\n"
        )
        name = f"--name=postroj-bench --lxcpath={work}"
        script = (
            f"mkdir {upper}; lxc-start {name} --rcfile={config} &&"
            f" while ! lxc-attach {name} -- {STATE}; do :; done;"
            f" lxc-attach {name} -- true && lxc-stop {name} --kill; rm -rf {upper}"
        )
        pair = Pair(
            name="lxc",
            ours="postroj run -- true",
            limit="lxc-start, wait, attach, stop",
            runs=runs,
        )
        return measure(pair, _cycle, partial(run, ["sh", "-c", script]))


def idle() -> None:
    """Print the memory of an idle guest, measured several times with eight of them."""
    with obtain(IMAGE) as image:
        spec = GuestSpec(layers=image.layers)
        with start_guest(spec):  # what all share is in memory then
            pass
        taken = sorted(_taken(spec) / EIGHT / 1e6 for _ in range(READINGS))
    text = f"{median(taken):.0f} MB a guest ({taken[0]:.0f}-{taken[-1]:.0f})"
    print(f"idle: {text}, target 40", file=sys.stderr)


def _taken(spec: GuestSpec) -> int:
    """Return the bytes of host memory that eight idle guests use."""
    with ExitStack() as stack:
        time.sleep(SETTLED)
        before = _available()
        for _ in range(EIGHT):
            stack.enter_context(start_guest(spec))
        time.sleep(SETTLED)
        return before - _available()


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


BENCHMARKS: dict[str, tuple[Callable[[int], Measured], int]] = {
    "boot": (partial(boot, directory=False), 20),
    "limit": (partial(boot, directory=True), 20),
    "cycle": (cycle, 20),
    "eight": (eight, 5),
    **({"podman": (podman, 10)} if shutil.which("podman") else {}),
    **({"lxc": (lxc, 10)} if shutil.which("lxc-start") else {}),
}

if __name__ == "__main__":
    pull.pull(catalog.find(IMAGE))
    main(__doc__, BENCHMARKS)
    idle()
