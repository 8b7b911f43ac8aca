"""Settings of the kernel that outlive a reboot, sysctl.d(5)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = Path("/etc/sysctl.d/99-zz-postroj.conf")
"""Read after all others at a boot: the last file with a setting wins."""
FIRST_LINE = "# Written by postroj doctor --fix"


def lasting(wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the command with which root writes settings to `FILE`, and loads it.

    Settings that we wrote there before are kept. Return () if the file is not ours.
    """
    try:
        written = FILE.read_text().splitlines()
    except FileNotFoundError:
        written = [FIRST_LINE]
    except (OSError, UnicodeDecodeError):
        written = []
    if written[:1] != [FIRST_LINE]:
        return ()
    file = shlex.quote(str(FILE))
    script = f'printf "%s\\n" "$@" >{file} && sysctl -p {file}'
    return ("sh", "-c", script, "sh", *dict.fromkeys((*written, *wanted)))
