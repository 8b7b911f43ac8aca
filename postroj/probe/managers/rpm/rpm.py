"""What dnf and zypper have in common: the questions to rpm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.managers.base import PackageFiles, Query, facts, table, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import PackageFacts

LIST_ALL = "rpm --query --all --list"
PRINT_SCRIPTS = "rpm --query --all --scripts"
KEPT = (".rpmsave", ".rpmnew", ".rpmorig")
ROW = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n"
BETWEEN = "configuration:"
"""A line between all files and those of configuration."""

FILES = f'rpm --query --list -- "$1"; echo {BETWEEN}; rpm --query --configfiles -- "$1"'
ARCHITECTURES = "rpm --eval %_arch; rpm --showrc | sed -n 's/^compatible archs *://p'; echo noarch"


def newer(paths: Sequence[str], folder: str) -> None:
    """Nothing: the digests of an rpm cover its version, and rpmbuild wants its spec."""


def owner(path: str) -> Query[str]:
    """Ask for the package that has a file; rpm says on stdout that none has, too."""
    script = 'name=$(rpm --query --queryformat="%{NAME}\\n" --file -- "$1") && echo "$name"'
    return Query(argv=("sh", "-c", script, "sh", path), read=lambda text: text.partition("\n")[0])


def describe(path: str) -> Query[PackageFacts]:
    """Ask what a package file says of itself; who has signed it is not the question."""
    argv = ("rpm", "--query", "--nosignature", "--queryformat", ROW, "--package", path)
    return Query(argv=argv, read=facts)


def installed(names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
    """Ask which of these packages are installed."""
    return Query(argv=("rpm", "--query", "--queryformat", ROW, *names), read=table)


def files(name: str) -> Query[PackageFiles]:
    """Ask what files an installed package has."""
    return Query(argv=("sh", "-c", FILES, "sh", name), read=_read_files)


def _read_files(text: str) -> PackageFiles:
    every, _, configuration = text.partition(f"{BETWEEN}\n")
    paths = (
        tuple(line for line in part.splitlines() if line.startswith("/"))
        for part in (every, configuration)
    )
    return PackageFiles(files=next(paths), configuration=next(paths))


def architectures() -> Query[tuple[str, ...]]:
    """Ask which architectures can be installed."""
    return Query(argv=("sh", "-c", ARCHITECTURES), read=words)
