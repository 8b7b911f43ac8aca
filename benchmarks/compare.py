"""Times of postroj beside the limit: the same work by bare tools, in turn, in one run.

    sudo .venv/bin/python benchmarks/compare.py [--runs N] [--json] [NAME...]

Prints medians and, pair by pair, ratios: these hold while the speed of a machine drifts. Nothing
here passes or fails.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container import nspawn
from postroj.image import catalog, mirror, pull, store
from postroj.image.sources import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
POSTROJ = str(Path(sys.executable).with_name("postroj"))
IMAGE = "debian-bookworm"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two ways to do the same: ours, and the limit; `target` is the ratio we promise."""

    name: str
    ours: str
    limit: str
    target: float
    runs: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Medians in seconds, and the ratios of each pair of runs."""

    name: str
    ours: float
    limit: float
    ratio: float
    least: float
    most: float
    target: float
    runs: int


def measure(pair: Pair, ours: Callable[[], None], limit: Callable[[], None]) -> Measured:
    """Run both in turn, once to warm up and then `runs` times."""
    times: list[tuple[float, float]] = []
    for _ in range(pair.runs + 1):
        times.append((_seconds(ours), _seconds(limit)))
    times = times[1:]
    ratios = [mine / bare for mine, bare in times]
    return Measured(
        name=pair.name,
        ours=statistics.median(mine for mine, _ in times),
        limit=statistics.median(bare for _, bare in times),
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        target=pair.target,
        runs=pair.runs,
    )


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run(argv: Sequence[str], **env: str) -> None:
    subprocess.run(
        argv,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


def cycle(runs: int) -> Measured:
    """A whole warm cycle: start, ready, one command, gone."""
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, pull.architecture())
    pair = Pair(
        name="cycle",
        ours="postroj run -- true",
        limit="mount, boot, wait for the notification, true, kill, by a script",
        target=1.5,
        runs=runs,
    )
    with tempfile.TemporaryDirectory() as work:
        bare = ["unshare", "--mount", "sh", str(HERE / "bare.sh"), str(record.path), work]
        options = " ".join(nspawn.KERNEL_COMMAND_LINE)
        return measure(
            pair,
            lambda: _run([POSTROJ, "--quiet", "run", "--image", IMAGE, "--", "true"]),
            lambda: _run(bare, KERNEL_COMMAND_LINE=options),
        )


def making(runs: int) -> Measured:
    """Making an image: `pull --force` beside mmdebstrap piped into the same squashfs tool."""
    pair = Pair(
        name="pull",
        ours="postroj pull --force",
        limit="mmdebstrap | tar2sqfs",
        target=1.15,
        runs=runs,
    )
    (source,) = catalog.find(IMAGE).sources
    plan = bootstrap.Plan(source=source, archives=mirror.archives(), allow_expired=False)
    with tempfile.TemporaryDirectory() as work:
        sources = " ".join(f"'{line}'" for line in plan.apt_sources())
        include = ",".join(source.packages)
        script = (
            f"mmdebstrap --variant=minbase --include={include} --format=tar"
            f" {plan.suite} - {sources}"
            f" | tar2sqfs -q -c {bootstrap.COMPRESSION} -f {work}/bare.squashfs"
        )
        return measure(
            pair,
            lambda: _run([POSTROJ, "--quiet", "pull", "--force", IMAGE], POSTROJ_CACHE_DIR=work),
            lambda: _run(["sh", "-c", script]),
        )


def start(runs: int) -> Measured:
    """How long it takes until help is on the screen."""
    pair = Pair(
        name="help",
        ours="postroj --help",
        limit="python -c 'import click'",
        target=2.0,
        runs=runs,
    )
    return measure(
        pair,
        lambda: _run([POSTROJ, "--help"]),
        lambda: _run([sys.executable, "-c", "import click"]),
    )


BENCHMARKS = {"help": (start, 20), "cycle": (cycle, 20), "pull": (making, 3)}


def main() -> None:
    """Measure what was asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    parser.add_argument("--runs", type=int, help="instead of each benchmark's own number")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # as pip does when it installs; a checkout that nobody imported yet has no byte-code
    compileall.compile_dir(Path(nspawn.__file__).parents[1], quiet=1)
    found = []
    for name in options.names or BENCHMARKS:
        benchmark, runs = BENCHMARKS[name]
        found.append(benchmark(options.runs or runs))
    if options.json:
        print(json.dumps([asdict(measured) for measured in found], indent=2))
        return
    print(f"{'':8} {'ours':>9} {'limit':>9} {'ratio':>7} {'(least-most)':>14} {'target':>7}  runs")
    for row in found:
        spread = f"({row.least:.2f}-{row.most:.2f})"
        print(
            f"{row.name:8} {row.ours:7.3f} s {row.limit:7.3f} s {row.ratio:7.2f} {spread:>14} "
            f"{row.target:7.2f}  {row.runs:4}"
        )


if __name__ == "__main__":
    main()
