"""Find the packages that a build has left, and sort out what is not to be probed."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.probe.package.formats import NotProbed
from postroj.probe.package.package_file import examine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from postroj.probe.package.package_file import PackageFile

PACKAGE = re.compile(r".+\.(?:deb|ddeb|rpm|pkg\.tar(?:\.\w+)?)")
"""File names of packages."""
INSTALLER = ".udeb"
"""Suffix of packages of Debian's installer."""
CHANGES = ".changes"
"""Suffix of a file that lists what a build of a Debian source package has made."""

NOT_A_PACKAGE = "not a package"
DEBUG_SYMBOLS = "debug symbols"


LeftOut = defaultdict[str, list[str]]
"""Names of files that are not probed, by reason."""


def collect(
    places: Iterable[Path], downloads: Iterable[Path], architecture: str, left_out: LeftOut
) -> list[PackageFile]:
    """Return the packages to probe in files, folders and .changes files, each once.

    `downloads` are taken for packages whatever their names. Other files, source packages, debug
    symbols and packages for another architecture than `architecture` (as `uname -m` has it) are
    added to `left_out`.

    :raises UsageError: if a place does not exist, or a file that a .changes file lists.
    """
    paths = [*downloads, *(path for place in places for path in _find(place, left_out))]
    each: dict[str, Path] = {}
    for path in paths:
        each.setdefault(os.path.realpath(path), path.absolute())
    files = (_recognise(path, architecture, left_out) for path in each.values())
    return [file for file in files if file]


def expand(texts: Iterable[str], hint: str = "build the packages first") -> Iterator[Path]:
    """Yield the files and folders that paths and patterns name; `hint` is for who names none.

    :raises UsageError: if one does not exist, or a pattern matches none.
    """
    for text in texts:
        if os.path.lexists(text):
            yield Path(text)
            continue
        matches = sorted(glob(text, recursive=True))  # noqa: PTH207 absolute patterns, too
        if not matches:
            message = f"'{text}' is not a file or folder, and matches none"
            raise UsageError(message, hint=hint)
        yield from map(Path, matches)


def needed(place: Path) -> Iterator[Path]:
    """Yield the files to read for a file or folder that `expand` has yielded.

    :raises UsageError: if a file is missing that a .changes file lists.
    """
    if place.is_dir():
        yield from _in_folder(place)
        return
    yield place
    if place.suffix == CHANGES and place.is_file():
        yield from _in_changes(place)


def _find(place: Path, left_out: LeftOut) -> Sequence[Path]:
    """Return the packages at a place, and record what else there is."""
    if place.is_dir():
        if not (packages := list(_in_folder(place))):
            left_out["no package in it"].append(f"{place}/")
        return packages
    if not place.is_file():
        message = f"'{place}' is not a file or folder"
        raise UsageError(message)
    if place.suffix == CHANGES:
        return _in_changes(place)
    if place.suffix == INSTALLER:
        left_out["for Debian's installer"].append(place.name)
    elif PACKAGE.fullmatch(place.name):
        return [place]
    else:
        left_out[NOT_A_PACKAGE].append(place.name)
    return []


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield the packages in a folder and below it, but not in hidden folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if PACKAGE.fullmatch(name))


def _in_changes(file: Path) -> list[Path]:
    """Return the packages that a .changes file lists, deb-changes(5); they lie beside it.

    :raises UsageError: if one of them is missing.
    """
    text = file.read_text("utf-8", errors="replace")
    [listed] = re.findall(r"^Files:[^\n]*\n((?:[ \t]+.*\n?)*)", text, re.MULTILINE)[:1] or [""]
    names = [line.split()[-1] for line in listed.splitlines() if line.strip()]
    packages = [file.parent / os.path.basename(one) for one in names if PACKAGE.fullmatch(one)]  # noqa: PTH119
    for path in packages:
        if not path.is_file():
            message = f"'{file.name}' lists '{path.name}', which does not lie beside it"
            raise UsageError(message, hint="`dcmd` of devscripts copies all files of a build")
    return packages


def _recognise(path: Path, architecture: str, left_out: LeftOut) -> PackageFile | None:
    """Return a package, or None if it is left out."""
    file = examine(path)
    if isinstance(file.damage, NotProbed):
        left_out[file.damage.message.removeprefix(f"'{path.name}' is ")].append(path.name)
        return None
    about = file.metadata
    if about.is_debug:
        left_out[DEBUG_SYMBOLS].append(path.name)
    elif about.architecture not in ("", architecture):
        left_out[f"for {about.architecture}"].append(path.name)
    else:
        return file
    return None
