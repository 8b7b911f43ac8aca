"""postroj as its users run it: a program with an exit status, stdout and stderr."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

POSTROJ = [sys.executable, "-m", "postroj"]

DEFAULT_IMAGE = "debian-trixie"

NO_REPOSITORIES = ("--setup", ": > /etc/apt/sources.list")
"""Options of a probe that needs no other package; else apt reads 60 MB of lists at each step."""

MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
"""A process is charged with the memory of who forks it, getrusage(2): so a small one does."""

TOOLS = (
    *(
        b"systemd-nspawn",
        b"pasta",
        b"pasta.avx2",
        b"passt",
        b"passt.avx2",
        b"mmdebstrap",
        b"tar2sqfs",
    ),
    *(b"qemu-system-x86_64", b"qemu-system-aarch64"),
)


def postroj(*argv: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run postroj with arguments and return what came out, as text."""
    options = {"stdin": subprocess.DEVNULL, "timeout": 300} | options
    return subprocess.run(
        [*POSTROJ, *map(str, argv)], check=False, capture_output=True, text=True, **options
    )


def measured(peak: Path, *argv: object) -> list[str]:
    """Return a command that runs postroj, and writes its peak of memory in KiB to a file."""
    return [sys.executable, "-c", MEASURE, str(peak), *POSTROJ, *map(str, argv)]


def start(*argv: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start postroj in a process group of its own."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
    words = [*POSTROJ, *map(str, argv)]
    return cast("subprocess.Popen[bytes]", subprocess.Popen(words, process_group=0, **options))


def eventually(question: Callable[[], object], seconds: float = 10) -> bool:
    """Whether the answer becomes yes in time."""
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def host_state(name: str = "postroj") -> set[str]:
    """What of postroj is on this host: processes, mounts, loop devices, namespaces, groups."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    loops = Path("/sys/block").glob("loop*/loop/backing_file")
    found = {f"mount {line.split()[4]}" for line in mounts if name in line}
    found |= {f"loop {path.read_text().strip()}" for path in loops if path.exists()}
    found |= {f"netns {path.name}" for path in Path("/run/netns").glob(f"{name}*")}
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found |= {f"cgroup {folder}/{child}" for child in names if child.startswith(f"{name}-")}
    for argv in all_argv():
        if argv.partition(b"\0")[0].rpartition(b"/")[2] in TOOLS:
            found.add(f"process {argv.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def all_argv() -> list[bytes]:
    """Command lines of all processes, their words ended by NUL."""
    return [*argv_by_pid().values()]


def argv_by_pid() -> dict[int, bytes]:
    """The same, by PID."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found[int(path.parent.name)] = path.read_bytes()
    return found
