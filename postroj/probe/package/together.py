"""Divide packages into those that have to be installed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.probe.package.metadata import Need
    from postroj.probe.package.package_file import PackageFile


def divide(files: Sequence[PackageFile]) -> list[tuple[PackageFile, ...]]:
    """Return sets of packages, each of which is installed in one transaction.

    A package is in a set with those of `files` that it needs, directly or not, behind it. One that
    another package needs is in no set of its own. A package may be in several sets, as a library of
    two programs is.
    """
    closures = {file.path: _closure(file, files) for file in files}
    order = {file.path: place for place, file in enumerate(files)}

    def is_brought(file: PackageFile) -> bool:
        """Whether another set has a package; of those that need each other, the first has one."""
        return any(
            file in closures[other.path]
            and (other not in closures[file.path] or order[other.path] < order[file.path])
            for other in files
            if other is not file
        )

    return [closures[file.path] for file in files if not is_brought(file)]


def _closure(file: PackageFile, files: Sequence[PackageFile]) -> tuple[PackageFile, ...]:
    """Return a package, and behind it all that it needs of `files`."""
    found = [file]
    for one in found:  # it grows
        found.extend(other for other in _needed(one, files) if other not in found)
    return tuple(found)


def _needed(file: PackageFile, files: Sequence[PackageFile]) -> Iterator[PackageFile]:
    others = [other for other in files if other.format is file.format and other is not file]
    for alternatives in file.metadata.needs:
        for need in alternatives:
            if need.name in file.metadata.provides:
                break
            if fits := [other for other in others if _satisfies(other, need)]:
                # of several versions that of the same build
                same = [one for one in fits if one.metadata.version == file.metadata.version]
                yield (same or fits)[-1]
                break


def _satisfies(file: PackageFile, need: Need) -> bool:
    if need.name not in file.metadata.provides:
        return False
    version = file.metadata.version
    return need.version in ("", version) or version.startswith(f"{need.version}-")
