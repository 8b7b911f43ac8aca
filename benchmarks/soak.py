"""Boot many guests: is each one ready, do boots become slower, is anything left?

    sudo .venv/bin/python benchmarks/soak.py [--boots N] [--minutes N] [--commands]

Four releases of Debian alternate, two guests at once, in one process, or with `--commands` each by
its own `postroj run`. Nothing passes or fails. The goal is 300 of 300, the same time at the end
as at the beginning, and nothing left.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from pairs import POSTROJ

from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import PostrojError
from postroj.prepare import obtain
from tests.support.cli import eventually, host_state

if TYPE_CHECKING:
    from postroj.model import Image

IMAGES = ("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid")
AT_ONCE = 2


@dataclass(frozen=True)
class Boot:
    """The result of one boot."""

    image: str
    seconds: float
    failure: str


def in_process(image: Image) -> str:
    """Boot and run a command; return the error, or an empty text."""
    try:
        with start_guest(GuestSpec(layers=image.layers, image=image.name)) as guest:
            guest.run(["true"], timeout=60)
    except PostrojError as error:
        return f"{error.message}\n{error.evidence}"
    return ""


def by_command(image: Image) -> str:
    """Boot with `postroj run`; return the error, or an empty text."""
    argv = [POSTROJ, "--quiet", "run", "--image", image.name, "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def main() -> None:
    """Boot the given number of times, or for the given time, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boots", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--commands", action="store_true")
    options = parser.parse_args()
    boot = by_command if options.commands else in_process
    end = time.monotonic() + options.minutes * 60
    numbers, lock = count(), threading.Lock()
    boots: list[Boot] = []
    with ExitStack() as stack:
        images = [stack.enter_context(obtain(name)) for name in IMAGES]
        before = host_state()

        def go_on() -> None:
            while time.monotonic() < end:
                with lock:
                    number = next(numbers)
                if number >= options.boots:
                    return
                image = images[number % len(images)]
                began = time.monotonic()
                failure = boot(image)
                boots.append(Boot(image.name, time.monotonic() - began, failure))
                if failure:
                    print(f"boot {number} of {image.name}: {failure}", file=sys.stderr)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for future in [pool.submit(go_on) for _ in range(AT_ONCE)]:
                future.result()
        eventually(lambda: host_state() <= before, seconds=5)
        left = host_state() - before
    print_results(boots, left)


def print_results(boots: list[Boot], left: set[str]) -> None:
    """Print a line for each image, and one for all."""
    ready = sum(not boot.failure for boot in boots)
    for name in IMAGES:
        times = [boot.seconds for boot in boots if boot.image == name]
        if times:
            median, most = statistics.median(times), max(times)
            print(f"{name:16} {len(times):4} boots  median {median:.2f} s  most {most:.2f} s")
    times = [boot.seconds for boot in boots]
    fifth = max(1, len(times) // 5)
    growth = statistics.median(times[-fifth:]) / statistics.median(times[:fifth])
    print(
        f"ready {ready} of {len(boots)}, last fifth / first fifth {growth:.2f}, left: {len(left)}"
    )
    for trace in sorted(left):
        print(f"  {trace}")


if __name__ == "__main__":
    main()
