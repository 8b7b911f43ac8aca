"""The part that dnf and zypper share: the questions to rpm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.probe.managers.base import (
    LOCAL,
    PackageFiles,
    PackageManager,
    Query,
    Shipped,
    damage,
    facts,
    kind_of,
    missing,
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
CONTENT = r"[%{FILEMODES:perms}\t%{FILEDIGESTS}\t%{FILEFLAGS:fflags}\t%{FILENAMES}\n]"
QUICKLY = ("--nodeps", "--noscripts", "--nofiledigest", "--nomtime", "--nomode", "--nouser")
DAMAGED = (
    'rpm --query --file -- "$@" | sort -u'
    " | xargs --no-run-if-empty rpm --verify --nodeps --noscripts --nomtime --"
)
LOWER = "%{{lua: print(rpm.vercmp('{}', '{}'))}}"
VERSION = re.compile(r"[\w.+~^:-]+", re.ASCII)
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
    list_all = "rpm --query --all --list"

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

    def missing(self, names: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """List the files of installed packages that do not exist."""
        return Query(argv=("rpm", "--verify", *QUICKLY, "--", *names), read=missing)

    def damaged(self, paths: Sequence[str]) -> Query[dict[str, str]] | None:
        """List the files that are damaged in the packages that own `paths`."""
        return Query(argv=("sh", "-c", DAMAGED, "sh", *paths), read=damage)

    def shipped(self, path: str) -> Query[Shipped] | None:
        """List what a package file ships."""
        argv = ("rpm", "--query", "--nosignature", "--queryformat", CONTENT, "--package", path)
        return Query(argv=argv, read=_read_shipped)

    def is_lower(self, version: str, other: str) -> Query[bool] | None:
        """Ask whether a version sorts below another one, by rpm's own Lua."""
        is_safe = VERSION.fullmatch(version) and VERSION.fullmatch(other)
        argv = ("rpm", "--eval", LOWER.format(version, other)) if is_safe else ("true",)
        return Query(argv=argv, read=lambda text: text.strip() == "-1")

    def check(self, *, with_lists: bool) -> list[str] | None:
        """Read the database of rpm."""
        return ["rpm", "--query", "--all", "--queryformat", ""]

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Explain why a command has failed, or what it has passed over."""
        return causes.blame(self.tool, status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Explain what was going on when the time was over."""
        return causes.blame_timeout(self.tool, output, names, seconds)


def _read_shipped(text: str) -> Shipped:
    """Read lines of mode, digest, flags and path; of flags, `g` is a file that is not shipped."""
    rows = [row for line in text.splitlines() if len(row := line.split("\t", 3)) == 4]
    rows = [row for row in rows if "g" not in row[2]]
    return Shipped(
        kinds={path: kind_of(mode) for mode, _, _, path in rows},
        digests={path: digest for _, digest, _, path in rows if path.startswith("/etc/")},
        kept=frozenset(path for _, _, flags, path in rows if "n" in flags),
    )


def _read_files(text: str) -> PackageFiles:
    every, _, configuration = text.partition(f"{BETWEEN}\n")
    paths = (
        tuple(line for line in part.splitlines() if line.startswith("/"))
        for part in (every, configuration)
    )
    return PackageFiles(files=next(paths), configuration=next(paths))
