"""The part that dnf and zypper share: the questions to rpm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.managers.base import (
    LOCAL,
    PackageFiles,
    PackageManager,
    Query,
    facts,
    table,
    words,
)
from postroj.probe.managers.rpm import causes
from postroj.probe.package.formats import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame, PackageFacts

BOOKKEEPING = r"/var/lib/rpm|/usr/lib/sysimage"
ROW = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n"
BETWEEN = "configuration:"
"""A line between the list of all files and that of configuration files."""

FILES = f'rpm --query --list -- "$1"; echo {BETWEEN}; rpm --query --configfiles -- "$1"'
# rpm reports on stdout, too, that no package owns a file.
OWNER = 'name=$(rpm --query --queryformat="%{NAME}\\n" --file -- "$1") && echo "$name"'
ARCHITECTURES = "rpm --eval %_arch; rpm --showrc | sed -n 's/^compatible archs *://p'; echo noarch"


class Rpm(PackageManager):
    """A package manager on top of rpm.

    `purge` can only remove: rpm keeps changed configuration as `.rpmsave`. Packages of newer
    versions cannot be made: the digests of an rpm cover its version, and rpmbuild needs its spec.
    """

    tool: str
    """The name of the command in sentences."""
    format = Format.RPM
    saved = (".rpmsave", ".rpmnew", ".rpmorig")
    stays = LOCAL
    instead_of_upgrade = "`reinstall` runs the same scriptlets as an upgrade"

    def describe(self, path: str) -> Query[PackageFacts]:
        """Read the metadata of a package file, signed or not."""
        argv = ("rpm", "--query", "--nosignature", "--queryformat", ROW, "--package", path)
        return Query(argv=argv, read=facts)

    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        """List which of these packages are installed."""
        return Query(argv=("rpm", "--query", "--queryformat", ROW, *names), read=table)

    def everything(self) -> Query[tuple[PackageFacts, ...]]:
        """List all installed packages."""
        return Query(argv=("rpm", "--query", "--all", "--queryformat", ROW), read=table)

    def files(self, name: str) -> Query[PackageFiles]:
        """List the files of an installed package."""
        return Query(argv=("sh", "-c", FILES, "sh", name), read=_read_files)

    def owner(self, path: str) -> Query[str]:
        """Name the package that owns a file."""
        argv = ("sh", "-c", OWNER, "sh", path)
        return Query(argv=argv, read=lambda text: text.partition("\n")[0])

    def architectures(self) -> Query[tuple[str, ...]]:
        """List the architectures that can be installed."""
        return Query(argv=("sh", "-c", ARCHITECTURES), read=words)

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Explain why a command has failed, or what it has passed over."""
        return causes.blame(self.tool, status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Explain what was going on when the time was over."""
        return causes.blame_timeout(self.tool, output, names, seconds)


def _read_files(text: str) -> PackageFiles:
    every, _, configuration = text.partition(f"{BETWEEN}\n")
    paths = (
        tuple(line for line in part.splitlines() if line.startswith("/"))
        for part in (every, configuration)
    )
    return PackageFiles(files=next(paths), configuration=next(paths))
