"""What every boot reads of its image first, read while the guest is being prepared.

A squashfs that was just mounted has nothing in memory, and is read in small pieces, each of which
the guest's manager would wait for: docs/explanation/benchmarks.rst has what that is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDERS = r"[^/]*(/usr(/lib(64|/[^/]*-linux-gnu[^/]*)?(/systemd)?)?)?"
"""Those that are looked into: a path from a layer on."""

PROGRAMS = ("systemd", "systemd-journald", "systemd-logind", r"libsystemd-[^/]*\.so")
LIBRARIES = (
    *("c", "m", "crypto", "gcrypt", "systemd", "zstd"),
    *("pcre2-8", "mount", "blkid", "dbus-1"),
)
"""The largest of what they are linked with."""

FILES = rf".*/(systemd/({'|'.join(PROGRAMS)})|lib({'|'.join(LIBRARIES)})\.so[^/]*)"


LONGEST = 2
"""Seconds, as a file of an image may be as large as it says."""


def argv(layers: Sequence[str]) -> list[str]:
    """Return what reads these files of mounted layers, at the lowest priority.

    find(1) follows no link there: where one leads to is not the image's to say.
    """
    return [
        *(
            "timeout",
            str(LONGEST),
            "nice",
            "-n",
            "19",
            "find",
            "-P",
            *layers,
            "-regextype",
            "posix-extended",
        ),
        *("-type", "d", "!", "-regex", FOLDERS, "-prune", "-o"),
        *("-type", "f", "-regex", FILES, "-exec", "cat", "{}", "+"),
    ]
