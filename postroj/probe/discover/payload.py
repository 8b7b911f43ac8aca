"""Classify the files of a package by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# The package chooses these names, so only those that systemd allows are accepted: no blanks, no
# control characters, nothing that a command could take for an option. systemd.unit(5)
UNIT = re.compile(
    r"(?:/usr)?/(?:lib|etc)/systemd/system/"
    r"(?P<name>[\w:.\\@][\w:.\\@-]*\.(?:service|socket|timer|path|mount|automount|swap|target))",
    re.ASCII,
)
SCRIPT = re.compile(r"/etc/(?:rc\.d/)?init\.d/(?P<name>\w[\w.+-]*)", re.ASCII)
PROGRAM = re.compile(r"(?:/usr(?:/local)?)?/(?:s?bin|games|libexec)/.+", re.DOTALL)
SYSUSERS = re.compile(r"/usr/lib/sysusers\.d/[^/\n]+\.conf")


@dataclass(frozen=True, kw_only=True)
class Payload:
    """The files of a package that concern a running system, by type."""

    units: tuple[str, ...] = ()
    """Names of units, including templates and aliases."""
    scripts: tuple[str, ...] = ()
    """Names of SysV scripts."""
    configuration: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    sysusers: tuple[str, ...] = ()
    """Files that declare users and groups."""


def classify(files: Sequence[str], configuration: Collection[str] = ()) -> Payload:
    """Classify the paths of a package; folders are left out.

    `configuration` are the paths that the package manager calls configuration files.
    """
    folders = {path.rpartition("/")[0] for path in files}
    leaves = sorted(set(files) - folders)
    units = (match["name"] for path in leaves if (match := UNIT.fullmatch(path)))
    scripts = (match["name"] for path in leaves if (match := SCRIPT.fullmatch(path)))
    return Payload(
        units=tuple(dict.fromkeys(units)),
        scripts=tuple(dict.fromkeys(scripts)),
        configuration=tuple(
            path for path in leaves if path.startswith("/etc/") or path in configuration
        ),
        programs=tuple(path for path in leaves if PROGRAM.fullmatch(path)),
        sysusers=tuple(path for path in leaves if SYSUSERS.fullmatch(path)),
    )


def declared(text: str) -> set[str]:
    """Return the names of the users and groups that a file of sysusers.d(5) declares."""
    lines = (line.split() for line in text.splitlines())
    return {words[1] for words in lines if len(words) > 1 and words[0].rstrip("!") in ("u", "g")}
