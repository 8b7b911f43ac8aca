"""Boot machines of ARM64 and of this host in turn: what works, and how long it takes.

    sudo .venv/bin/python benchmarks/foreign_machine.py [--runs N] [--arch ARCH]

For both architectures it measures the seconds of

- the first command, for which the layers are made, as in an empty cache but for the images,
- a fresh guest from the command to the first answer,
- a second command in the running guest, and
- a reboot.

It raises an error if a guest does not do what it should. The images are those of the user's cache.
qemu-user has to be registered with the kernel, and the package of the other qemu installed:
`postroj doctor --arch ARCH`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairs import POSTROJ

from postroj import paths
from postroj.image import architectures

IMAGE = "debian-bookworm"
NAME = "postroj-foreign"
STATUS = 7
SCRIPT = f"""
set -e
uname -m
cd /tmp
apt-get update -qq
apt-get download -qq hello
test -s hello_*.deb
exit {STATUS}
"""


def postroj(*words: str, status: int = 0) -> tuple[str, float]:
    """Return the output of a command, and its seconds; raise unless it ends with `status`."""
    began = time.perf_counter()
    done = subprocess.run(
        [POSTROJ, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != status:
        raise RuntimeError(words, done.returncode, done.stdout)
    return done.stdout, time.perf_counter() - began


def measured(architecture: str) -> dict[str, float]:
    """Return the seconds of each thing that one guest does."""
    here = ("--vm", "--arch", architecture, "--image", IMAGE)
    found = {}
    output, found["fresh guest"] = postroj("run", *here, "--", "uname", "-m")
    assert output.strip() == architecture, output
    postroj("run", *here, "--detach", "--name", NAME)
    try:
        _, found["second command"] = postroj("exec", NAME, "--", "true")
        output, _ = postroj("exec", NAME, "--", "sh", "-c", SCRIPT, status=STATUS)
        assert output.strip() == architecture, output
        _, found["reboot"] = postroj("restart", NAME)
        postroj("exec", NAME, "--", "true")
    finally:
        postroj("stop", NAME)
    return found


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--arch", default="arm64")
    options = parser.parse_args()
    both = (architectures.of_this_host(), architectures.machine(options.arch))
    found: dict[str, list[dict[str, float]]] = {one: [] for one in both}
    images = paths.cache_dir() / "images"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        cache = Path(folder, "cache")
        shutil.copytree(images, cache / "images", copy_function=os.link)
        os.environ["POSTROJ_CACHE_DIR"] = str(cache)
        first = {
            one: postroj("run", "--vm", "--arch", one, "--image", IMAGE, "--", "true")[1]
            for one in both
        }
        for _ in range(options.runs):
            for one in both:
                found[one].append(measured(one))
                print(one, found[one][-1], file=sys.stderr)
    print(f"{'':24} {both[0]:>10} {both[1]:>10}  ratio")
    show("first, with its layers", *(first[one] for one in both))
    for name in found[both[0]][0]:
        show(name, *(statistics.median(run[name] for run in found[one]) for one in both))


def show(name: str, ours: float, theirs: float) -> None:
    """Print a line of the table."""
    print(f"{name:24} {ours:8.1f} s {theirs:8.1f} s  {theirs / ours:5.2f}")


if __name__ == "__main__":
    main()
