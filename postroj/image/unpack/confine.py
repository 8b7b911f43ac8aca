"""Run a tool on untrusted bytes with no rights but to read and write its descriptors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MEMORY = 1 << 30
"""Bytes of memory for a tool that unpacks archives; a decompression bomb needs more."""
NOBODY = 65534

TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""Prefix of a command line: kills the tool when the thread that started it ends."""


def confined(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs a tool without privileges."""
    limits = ["prlimit", f"--data={MOST_MEMORY}", "--core=0", "--"]
    ours = [*TIED[:-1], "--no-new-privs"]
    if os.geteuid() == 0:
        ours += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        ours += ["--bounding-set=-all", "--inh-caps=-all"]
    return [*ours, "--", *limits, *argv]
