"""Compare guests with a kernel of their own: postroj --vm, debvm, autopkgtest-virt-qemu.

    sudo .venv/bin/python benchmarks/machines.py [--runs N] [--json] [--images FOLDER]

For each way into a fresh Debian 12, in turn, it measures

- the seconds from the command to the answer of the first command in the guest,
- the seconds of a second command in the running guest,
- the peak memory of all its processes: their proportional set sizes (PSS), and the tmpfs that only
  they see.

Where postroj has no KVM, the others do not see `/dev/kvm`. Each has two processors, and the memory
that it gives a guest by default. A container of postroj is measured beside them. The first round
warms up and does not count.

FOLDER keeps the images of the others; what is missing there is built before the measurements, by
debvm-create. It needs the packages debvm, autopkgtest, qemu-utils and e2fsprogs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pairs import POSTROJ, run

from postroj.image import pull
from postroj.image.catalog import catalog
from postroj.machine import acceleration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

IMAGE = "debian-bookworm"
SUITE = "bookworm"
NAME = "postroj-bench"
PROCESSORS = "2"
PATIENCE = "600"
"""Seconds in which a guest has to boot."""
PAUSE = 0.3
"""Seconds between two readings of the memory."""
SETUP = "/usr/share/autopkgtest/setup-commands/setup-testbed"
WITHOUT_KVM = ("bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--dev", "/dev", "--")
KERNEL = """\
[machine]
  kernel = "{folder}/vmlinuz"
  initrd = "{folder}/initrd"
  append = "root=LABEL=debvm rw console=ttyS0"
"""
"""qemu's options for the testbed of autopkgtest, whose image has no boot loader."""


@dataclass(frozen=True)
class Reading:
    """What one guest took."""

    first: float
    second: float
    memory: int


@dataclass(frozen=True)
class Measure:
    """A median, and the median, least and most of its ratios to `postroj run --vm`."""

    median: float
    ratio: float
    least: float
    most: float

    @classmethod
    def of(cls, theirs: Sequence[float], ours: Sequence[float]) -> Measure:
        """Compare the rounds of two ways."""
        ratios = [one / our for one, our in zip(theirs, ours, strict=True)]
        medians = statistics.median(theirs), statistics.median(ratios)
        return cls(*medians, min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.least:.2f}-{self.most:.2f})"


@dataclass(frozen=True)
class Row:
    """What a way into a guest takes."""

    name: str
    first: Measure
    second: Measure
    memory: Measure
    runs: int


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started, as far as they live."""
    yield pid
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from descendants(int(child))


def proportional(pid: int) -> int:
    """Return the bytes of memory of a process, with its share of what others use, too."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
    return 0


def tmpfs_of(pid: int) -> dict[int, int]:
    """Return the bytes in use on each tmpfs that a process sees, by device."""
    found = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            fields, _, rest = line.partition(" - ")
            _, _, numbers, _, point, *_ = fields.split()
            device = os.makedev(*(int(number) for number in numbers.split(":")))
            path = f"/proc/{pid}/root{point}"
            if rest.startswith("tmpfs ") and device not in found:
                with suppress(OSError):
                    if Path(path).stat().st_dev == device:
                        usage = os.statvfs(path)
                        found[device] = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    return found


def taken(pid: int) -> int:
    """Return the bytes of memory that a guest takes, from the process that has started it."""
    alive = list(descendants(pid))
    tmpfs: dict[int, int] = {}
    namespaces = set()
    for one in alive:
        with suppress(OSError):
            namespace = Path(f"/proc/{one}/ns/mnt").readlink()
            if namespace not in namespaces:
                namespaces.add(namespace)
                tmpfs |= tmpfs_of(one)
    for device in tmpfs_of(os.getpid()):
        tmpfs.pop(device, None)
    return sum(map(proportional, alive)) + sum(tmpfs.values())


@dataclass
class Watch:
    """Reads the memory of a guest until it is left, and knows the peak."""

    pid: int
    peak: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Read the memory meanwhile."""
        reader = threading.Thread(target=self._read)
        reader.start()
        try:
            yield
        finally:
            self._over.set()
            reader.join()

    def _read(self) -> None:
        while not self._over.wait(PAUSE):
            self.peak = max(self.peak, taken(self.pid))


def started(stack: ExitStack, argv: Sequence[str], log: Path) -> subprocess.Popen[str]:
    """Start a command with pipes, and end it with all its processes when the stack is left."""
    stderr = stack.enter_context(log.open("w"))
    work = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "TMPDIR": work},  # killed, they leave files
    )
    stack.callback(_end, child)
    return child


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin
    with suppress(OSError):
        child.stdin.close()
    for pid in reversed(list(descendants(child.pid))):
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    child.wait()


def line_of(child: subprocess.Popen[str]) -> str:
    """Wait for a line of a command's output."""
    assert child.stdout
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(child.args)
    return line.strip()


def say(child: subprocess.Popen[str], line: str) -> None:
    """Write a line to a command's stdin."""
    assert child.stdin
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def measured(
    child: subprocess.Popen[str],
    first: Callable[[], None],
    second: Callable[[], None],
    began: float,
) -> Reading:
    """Measure a guest that a command is starting."""
    watch = Watch(child.pid)
    with watch.running():
        first()
        ready = time.perf_counter()
        second()
        done = time.perf_counter()
    return Reading(ready - began, done - ready, watch.peak)


def postroj(log: Path, *options: str) -> Reading:
    """Measure a guest of postroj."""
    words = ["run", *options, "--name", NAME, "--image", IMAGE, "--", "sh", "-c", "echo; exec cat"]
    with ExitStack() as stack:
        began = time.perf_counter()
        child = started(stack, [POSTROJ, *words], log)

        def first() -> None:
            assert child.stdout
            if child.stdout.readline() != "\n":
                raise RuntimeError(log.read_text())

        reading = measured(child, first, lambda: run([POSTROJ, "exec", NAME, "--", "true"]), began)
        assert child.stdin
        child.stdin.close()  # the guest's cat ends, and the guest with it
        child.wait()
        return reading


def debvm(log: Path, folder: Path, before: Sequence[str]) -> Reading:
    """Measure debvm as its manual shows it: run, wait for ssh, ssh."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    argv = ["debvm-run", "-i", str(folder / "debvm.ext4"), "-s", port]
    argv += ["--", "-snapshot", "-smp", PROCESSORS]
    ssh = ["ssh", "-F", "none", "-i", str(folder / "key"), "-p", port, "-o", "BatchMode=yes"]
    ssh += ["-o", "NoHostAuthenticationForLocalhost=yes", "root@127.0.0.1", "true"]
    with ExitStack() as stack:
        began = time.perf_counter()
        child = started(stack, [*before, *argv], log)
        console = threading.Thread(target=lambda: child.stdout and child.stdout.read())
        console.start()
        stack.callback(console.join)

        def first() -> None:
            run(["debvm-waitssh", "-t", PATIENCE, port])
            run(ssh)

        reading = measured(child, first, lambda: run(ssh), began)
        _end(child)
        return reading


def autopkgtest(log: Path, folder: Path, before: Sequence[str]) -> Reading:
    """Measure autopkgtest-virt-qemu by its protocol, as autopkgtest does."""
    argv = ["autopkgtest-virt-qemu", f"--cpus={PROCESSORS}", f"--timeout-reboot={PATIENCE}"]
    argv += [f"--qemu-options=-readconfig {folder}/kernel.conf", str(folder / "testbed.ext4")]
    with ExitStack() as stack:
        began = time.perf_counter()
        child = started(stack, [*before, *argv], log)
        way: list[str] = []

        def told(command: str) -> str:
            say(child, command)
            status, _, rest = line_of(child).partition(" ")
            if status != "ok":
                raise RuntimeError(log.read_text())
            return rest

        def first() -> None:
            if line_of(child) != "ok":
                raise RuntimeError(log.read_text())
            told("open")
            way.extend(
                unquote(word) for word in told("print-execute-command").split()[0].split(",")
            )
            run([*way, "true"])

        reading = measured(child, first, lambda: run([*way, "true"]), began)
        say(child, "quit")
        child.wait()
        return reading


def build(folder: Path) -> None:
    """Build the images of the others that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    key, image, testbed = folder / "key", folder / "debvm.ext4", folder / "testbed.ext4"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    if not image.exists():
        run(["debvm-create", "-k", f"{key}.pub", "-o", f"{image}.new", "-r", SUITE])
        Path(f"{image}.new").rename(image)
    if not testbed.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            # the cloud kernel of debvm has no 9P, by which autopkgtest shares a folder
            options = ["--include=linux-image-amd64,python3", f'--customize-hook={SETUP} "$1"']
            create = ["debvm-create", "-o", f"{work}/tar", "-r", SUITE, "--skip=ext4,autologin"]
            run([*create, "--", *options], AUTOPKGTEST_KEEP_APT_SOURCES="yes")
            tree = Path(work, "tree")
            tree.mkdir()
            run(["tar", "-xpf", f"{work}/tar", "--numeric-owner", "-C", str(tree)])
            for name in ("vmlinuz", "initrd.img"):
                (path,) = (tree / "boot").glob(f"{name}-*")
                (folder / name.removesuffix(".img")).write_bytes(path.read_bytes())
            new = f"{testbed}.new"
            run(["mke2fs", "-q", "-t", "ext4", "-L", "debvm", "-d", str(tree), new, "4G"])
        Path(new).rename(testbed)
    (folder / "kernel.conf").write_text(KERNEL.format(folder=folder))


def has_kvm(log: Path) -> bool:
    """Return whether postroj found KVM, from what it printed when it started a guest."""
    return acceleration.NOTE.partition("%")[0] not in log.read_text()


def table(readings: dict[str, list[Reading]]) -> list[Row]:
    """Return a row for each way; the first one is what the others are compared with."""
    ours = next(iter(readings.values()))
    return [
        Row(
            name=name,
            first=Measure.of([one.first for one in theirs], [one.first for one in ours]),
            second=Measure.of([one.second for one in theirs], [one.second for one in ours]),
            memory=Measure.of([one.memory for one in theirs], [one.memory for one in ours]),
            runs=len(theirs),
        )
        for name, theirs in readings.items()
    ]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=Path, default=Path("/var/tmp/postroj-machines"))
    options = parser.parse_args()
    folder = options.images.absolute()
    build(folder)
    pull.pull(catalog.find(IMAGE))
    log = folder / "log"
    postroj(log, "--vm", f"--cpus={PROCESSORS}")  # makes the layers, tries KVM
    kvm = has_kvm(log)
    before = () if kvm else WITHOUT_KVM
    ways: dict[str, Callable[[], Reading]] = {
        "postroj run --vm": lambda: postroj(log, "--vm", f"--cpus={PROCESSORS}"),
        "debvm": lambda: debvm(log, folder, before),
        "autopkgtest-virt-qemu": lambda: autopkgtest(log, folder, before),
        "postroj run": lambda: postroj(log),
    }
    readings: dict[str, list[Reading]] = {name: [] for name in ways}
    for _ in range(options.runs + 1):
        for name, way in ways.items():
            readings[name].append(way())
            print(f"{name}: {readings[name][-1]}", file=sys.stderr)
    rows = table({name: found[1:] for name, found in readings.items()})
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(f"acceleration: {'KVM' if kvm else 'none (TCG)'}; ratios are to the first line")
    print(f"{'':22} {'first':>26} {'second':>26} {'memory':>26}  runs")
    for row in rows:
        first, second, memory = row.first, row.second, row.memory
        seconds = f"{first.median:7.2f} s {first!s:>16} {second.median:7.2f} s {second!s:>16}"
        size = f"{memory.median / 1e6:6.0f} MB {memory!s:>16}"
        print(f"{row.name:22} {seconds} {size}  {row.runs:4}")


if __name__ == "__main__":
    main()
