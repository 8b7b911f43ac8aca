"""Compare what autopkgtest finds in guests of postroj with what it finds without any testbed.

    sudo .venv/bin/python benchmarks/testbed_results.py FILE.dsc...

Each source package is tested twice: with the server `postroj`, and with the server `null`, which
runs the tests where autopkgtest runs. That is a fresh guest, too, since tests install packages and
stop services; but there autopkgtest itself is installed, and all that it needs. One line is printed
for each package, and one for each test whose results differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from postroj.autopkgtest.testbed import SETUP
from postroj.image import pull
from postroj.image.catalog import catalog

IMAGE, BED = "debian-bookworm", "testbed-results"
AUTOPKGTEST = ("autopkgtest", "--no-built-binaries")
ANYWHERE = "--ignore-restrictions=isolation-container,breaks-testbed"
"""What `null` does not promise, and a fresh guest does."""
INSTALL = "apt-get -qq update; apt-get -qq -y --no-install-recommends install autopkgtest"
SOURCES = "/opt/sources"
PROGRAMS = Path(sys.executable).parent


def postroj(*argv: object, stdin: str = "") -> str:
    """Run postroj, and return what it has printed."""
    done = subprocess.run(
        [PROGRAMS / "postroj", *map(str, argv)],
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def make_bed() -> None:
    """Make an image that has autopkgtest."""
    name = postroj("run", "--detach", "--image", IMAGE).strip()
    try:
        script = f"export DEBIAN_FRONTEND=noninteractive\n{SETUP.read_text()}\n{INSTALL}\n"
        postroj("exec", name, "sh", "-e", stdin=script)
        postroj("commit", name, BED)
    finally:
        postroj("stop", name)


def results(summary: str) -> dict[str, str]:
    """Return the result of each test, by its name."""
    rows = [line.split(None, 2) for line in summary.splitlines() if line.strip()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def in_postroj(package: Path) -> dict[str, str]:
    """Test a source package in guests of postroj."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder, "summary")
        argv = [*AUTOPKGTEST, f"--summary-file={summary}", str(package), "--", "postroj", IMAGE]
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        subprocess.run(
            argv, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, check=False
        )
        return results(summary.read_text())


def in_nothing(package: Path) -> dict[str, str]:
    """Test a source package by the server `null`, in a guest."""
    argv = [
        *AUTOPKGTEST,
        ANYWHERE,
        "--summary-file=/tmp/summary",
        f"{SOURCES}/{package.name}",
        "--",
        "null",
    ]
    script = f"{' '.join(argv)} >/dev/null 2>&1 || true; cat /tmp/summary"
    bind = f"{package.parent}:{SOURCES}"
    return results(postroj("run", "--image", BED, "--bind-ro", bind, "--", "sh", "-c", script))


def main(packages: list[str]) -> None:
    """Compare, and print."""
    pull.pull(catalog.find(IMAGE))
    make_bed()
    try:
        for path in map(Path, packages):
            ours, others = in_postroj(path.absolute()), in_nothing(path.absolute())
            same = sum(ours.get(name) == result for name, result in others.items())
            print(f"{path.name}: {same} of {len({*ours, *others})} the same", flush=True)
            for name in sorted({*ours, *others}):
                if ours.get(name) != others.get(name):
                    print(f"  {name}: {ours.get(name)}, without testbed {others.get(name)}")
    finally:
        postroj("remove", BED)


if __name__ == "__main__":
    main(sys.argv[1:])
