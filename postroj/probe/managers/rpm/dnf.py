"""dnf 4 and 5, their predecessor yum, and microdnf: Fedora, RHEL and their family."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.probe.managers.base import PackageFacts, Query, Solution
from postroj.probe.managers.rpm.rpm import BOOKKEEPING, Rpm

if TYPE_CHECKING:
    from collections.abc import Sequence

CHOOSE = "for tool in dnf dnf5 microdnf yum; do command -v $tool >/dev/null && break; done"
"""dnf is a link to dnf5 where that is the default, yum one to dnf since EL8."""

DOWNLOAD = (
    f"{CHOOSE}; if $tool download --help >/dev/null 2>&1;"
    ' then exec $tool "$1" download --destdir="$2" "$3";'
    ' else exec $tool "$1" install --downloadonly --downloaddir="$2" "$3"; fi'
)
"""An image may lack the command `download`, which is a plugin of dnf 4."""


HEADING = re.compile(r"^(?P<verb>[A-Z][a-z]+)(?: [a-z ]+)?:$")
BRINGS = ("Installing", "Upgrading", "Downgrading", "Reinstalling")


def read_table(text: str) -> Solution:
    """Read dnf's table: rows of name, architecture, version, repository, size and its unit.

    dnf 4 breaks rows with long names, so words are counted and not lines. dnf 5 tells below a row
    what it replaces.
    """
    words: dict[str, list[str]] = {}
    verb = ""
    for line in text.splitlines():
        if heading := HEADING.fullmatch(line.strip()):
            verb = heading["verb"]
        elif not line.startswith(" "):
            verb = ""
        elif verb and not line.lstrip().startswith("replacing "):
            words.setdefault(verb, []).extend(line.split())
    rows = {verb: [some[i : i + 6] for i in range(0, len(some), 6)] for verb, some in words.items()}
    return Solution(
        installs=tuple(
            PackageFacts(name=row[0], version=row[2], architecture=row[1])
            for verb in BRINGS
            for row in rows.get(verb, ())
            if len(row) == 6
        ),
        removes=tuple(row[0] for row in rows.get("Removing", ())),
    )


class Dnf(Rpm):
    """The commands of dnf."""

    tool = "dnf"
    cache = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum")
    logs = (
        *("/var/log/dnf.log", "/var/log/dnf.rpm.log"),
        *("/var/log/dnf5.log", "/var/log/yum.log"),
    )
    bookkeeping = BOOKKEEPING + r"|/var/lib/(dnf|yum)|/var/log/(dnf.*|hawkey\.log|yum\.log)"

    def refresh(self) -> list[str]:
        """Download the package lists; fail if one is not available."""
        return self._do("makecache")

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install as `dnf install ./foo.rpm` does.

        A file needs no signature (`localpkg_gpgcheck` is off unless an image turns it on), but
        packages from a repository do.
        """
        return self._do("install", *paths)

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Download what `install` would."""
        return self._do("install", "--downloadonly", *paths)

    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        """Let dnf show its table of changes, and answer no; it ends with 1 then."""
        return Query(argv=tuple(self._do("install", "--assumeno", *paths)), read=read_table)

    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        """Install exactly these."""
        return self._do("install", *(f"{f.name}-{f.version}.{f.architecture}" for f in wanted))

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install the versions that are installed."""
        return self._do("reinstall", *paths)

    def upgrade(self, paths: Sequence[str]) -> list[str]:
        """Install newer versions."""
        return self._do("upgrade", *paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install older versions."""
        return self._do("downgrade", *paths)

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove; dependencies stay, as with the other managers."""
        return self._do("--setopt=clean_requirements_on_remove=0", "remove", *names)

    def download(self, name: str, folder: str) -> list[str]:
        """Download a package."""
        return ["sh", "-c", DOWNLOAD, "sh", "--assumeyes", folder, name]

    def _do(self, *words: str) -> list[str]:
        options = [] if "--assumeno" in words else ["--assumeyes"]
        options += ["--setopt=localpkg_gpgcheck=0", "--setopt=skip_if_unavailable=0"]
        options += [] if self.recommends else ["--setopt=install_weak_deps=0"]
        # Otherwise dnf downloads expired lists; only `refresh` should.
        options += [] if "makecache" in words else ["--setopt=*.metadata_expire=-1"]
        return ["sh", "-c", f'{CHOOSE}; exec $tool "$@"', "sh", *options, *words]
