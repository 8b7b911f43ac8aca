"""Measure pairs of times: postroj, and the same work by bare tools, in turn, in one run.

It prints medians and the ratios of the pairs, which stay valid while the speed of a machine drifts.
Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import postroj

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

POSTROJ = str(Path(sys.executable).with_name("postroj"))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two ways to do the same work; `target` is the promised ratio, if any."""

    name: str
    ours: str
    limit: str
    runs: int
    target: float = math.nan
    at_once: float = 1.0
    """How much faster the limit would be if it ran in parallel what it runs in turn."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Medians in seconds and the ratio of each pair of runs."""

    name: str
    ours: float
    limit: float
    ratio: float
    least: float
    most: float
    target: float
    runs: int


def measure(
    pair: Pair,
    ours: Callable[[], None],
    limit: Callable[[], None],
    after: Callable[[], None] = lambda: None,
) -> Measured:
    """Run both in turn, once to warm up and then `runs` times; do not time `after`."""
    times: list[tuple[float, float]] = []
    for _ in range(pair.runs + 1):
        mine = _seconds(ours)
        after()
        times.append((mine, _seconds(limit) / pair.at_once))
        after()
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


def run(argv: Sequence[str], **env: str) -> None:
    """Run a command silently with additional variables; raise unless it succeeds."""
    subprocess.run(
        argv,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


def main(
    description: str | None, benchmarks: Mapping[str, tuple[Callable[[int], Measured], int]]
) -> None:
    """Measure what the command line names and print a table.

    `benchmarks` are by name, each with a number of runs.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", choices=[[], *benchmarks], default=[])
    parser.add_argument("--runs", type=int, help="instead of each benchmark's own number")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # as pip does when it installs; a checkout that nobody imported yet has no byte-code
    compileall.compile_dir(Path(postroj.__file__).parent, quiet=1)
    found = []
    for name in options.names or benchmarks:
        benchmark, runs = benchmarks[name]
        found.append(benchmark(options.runs or runs))
    if options.json:
        print(json.dumps([asdict(measured) for measured in found], indent=2))
        return
    print(f"{'':9} {'ours':>9} {'limit':>9} {'ratio':>7} {'(least-most)':>14} {'target':>7}  runs")
    for row in found:
        spread = f"({row.least:.2f}-{row.most:.2f})"
        print(
            f"{row.name:9} {row.ours:7.3f} s {row.limit:7.3f} s {row.ratio:7.2f} {spread:>14} "
            f"{row.target:7.2f}  {row.runs:4}"
        )
