"""Measure the memory of `postroj import` and its tools, for archives of two sizes.

    sudo .venv/bin/python benchmarks/memory.py

Nothing passes or fails; the goal is less than 150 MB for any size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import material

POSTROJ = str(Path(sys.executable).with_name("postroj"))


def resident(pid: int) -> int:
    """Return the bytes of a process and its descendants; shared pages count for each of them."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return own + sum(resident(int(child)) for child in children)


def peak(archive: Path, cache: Path) -> int:
    """Import an archive; return the peak of its memory in bytes."""
    argv = [POSTROJ, "--quiet", "import", "--force", "bench", str(archive)]
    env = {**os.environ, "POSTROJ_CACHE_DIR": str(cache)}
    child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
    most = 0
    while child.poll() is None:
        most = max(most, resident(child.pid))
        time.sleep(0.01)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv)
    return most


def main() -> None:
    """Measure both sizes and print a line for each."""
    for megabytes in (60, 400):
        with tempfile.TemporaryDirectory() as work:
            archive = material.archive(Path(work), megabytes)
            most = peak(archive, Path(work) / "cache")
            size = archive.stat().st_size
            print(f"archive of {size / 1e6:4.0f} MB: at most {most / 1e6:4.0f} MB of memory")


if __name__ == "__main__":
    main()
