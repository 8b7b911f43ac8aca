"""Read ahead the files that every boot reads first, while the guest is being prepared.

A squashfs that was just mounted has nothing in memory. The guest's manager would read it in small
pieces and wait for each; docs/explanation/benchmarks.rst has the time that this saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDERS = r"[^/]*(/usr(/lib(64|/[^/]*-linux-gnu[^/]*)?(/systemd)?)?)?"
"""The folders that are searched, as paths that begin with a layer."""

PROGRAMS = ("systemd", "systemd-journald", "systemd-logind", r"libsystemd-[^/]*\.so")
LIBRARIES = (
    *("c", "m", "crypto", "gcrypt", "systemd", "zstd"),
    *("pcre2-8", "mount", "blkid", "dbus-1"),
)
"""The largest libraries with which they are linked."""

FILES = rf".*/(systemd/({'|'.join(PROGRAMS)})|lib({'|'.join(LIBRARIES)})\.so[^/]*)"


LONGEST = 2
"""Seconds, since a file of an image may be of any size."""


def argv(layers: Sequence[str]) -> list[str]:
    """Return the command that reads these files of mounted layers, at the lowest priority.

    find(1) follows no link, which could lead out of the image.
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
