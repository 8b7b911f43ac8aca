"""Run a tool on untrusted bytes with no rights but to read and write its descriptors.

bwrap gives it namespaces of its own: no network, no process and no IPC of the host, and of the
host's files only programs and libraries, read-only. Where bwrap is missing or may not do that, the
tool is left with what setpriv can take from it, and a warning says so once.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger(__name__)

MOST_MEMORY = 1 << 30
"""Bytes of memory for a tool that unpacks archives; a decompression bomb needs more."""
NOBODY = 65534

TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""Prefix of a command line: kills the tool when the thread that started it ends."""
AS_NOBODY = (
    *(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all"),
)
LARGEST_FILE = 64 << 20
"""Bytes of a file that a tool may write which reads and writes pipes: what it complains of."""
LIMITS = ("prlimit", f"--data={MOST_MEMORY}", "--core=0")

FENCE = ("bwrap", "--die-with-parent", "--unshare-net", "--unshare-pid", "--unshare-ipc")
WITHOUT_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--")
"""Prefix for users whom somebody has given capabilities: bwrap refuses those."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/gnu")
"""Folders of programs and libraries, those of them that a host has."""
SETTINGS = ("/etc/alternatives", "/etc/crypto-policies", "/etc/ld.so.cache")
"""What programs are started by: the choice of one, which algorithms count, where libraries are."""

TRIAL_TIMEOUT = 30.0
_ONCE = Lock()


def confined(argv: Sequence[str], *, writes: bool = False) -> list[str]:
    """Return the command line that runs a tool without privileges.

    Paths in it must lead through `/proc/self/fd`. It ends with the tool's status, and with the
    thread that started it. `writes` is whether its result is a file.

    :raises HostError: if the tool is not installed.
    """
    program = process.tool(argv[0])
    with _ONCE:
        fence = _fence(program) if _can_fence() else []
    return [*fence, *_unprivileged(argv, writes=writes)]


def _unprivileged(argv: Sequence[str], *, writes: bool = False) -> list[str]:
    nobody = AS_NOBODY if os.geteuid() == 0 else ()
    size = () if writes else (f"--fsize={LARGEST_FILE}",)
    return [*TIED[:-1], "--no-new-privs", *nobody, "--", *LIMITS, *size, "--", *argv]


def _fence(program: str) -> list[str]:
    """Return the prefix that gives a program namespaces and a view of the host's files."""
    prefixes = [*dict.fromkeys(_prefixes(program))]
    # a folder that bwrap makes only on the way to another one is closed to others
    passed = ["/etc", *(str(above) for one in prefixes for above in reversed(one.parents[:-1]))]
    shown = (*SYSTEM, *SETTINGS, *map(str, prefixes))
    view = [word for path in passed for word in ("--dir", path)]
    view += [word for path in shown for word in ("--ro-bind-try", path, path)]
    first = () if os.geteuid() == 0 else WITHOUT_CAPABILITIES
    return [*first, *FENCE, "--proc", "/proc", *view, "--remount-ro", "/", "--"]


def _prefixes(program: str) -> Iterator[Path]:
    """Yield where a program outside of the system's folders is installed, with its libraries."""
    for path in (Path(program), Path(program).resolve()):
        if not any(path.is_relative_to(folder) for folder in SYSTEM):
            folder = path.parent
            # ~/bin is no installation of its own
            deep = folder.name in ("bin", "sbin") and str(folder.parent) != os.environ.get("HOME")
            yield folder.parent if deep else folder


@cache
def _can_fence() -> bool:
    """Try the namespaces; warn if this host has none for us."""
    try:
        process.tool(FENCE[0])
        argv = [*_fence(process.tool("true")), *_unprivileged(["true"])]
        process.run(argv, timeout=TRIAL_TIMEOUT)
    except (CommandError, HostError) as error:
        why = process.last_lines(error.evidence, 1) or error.message
        why = "; ".join(filter(None, (why, error.hint)))
        log.warning("archives are unpacked with this host's files and network in reach: %s", why)
        return False
    return True
