"""zypper: openSUSE and SLES."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from postroj.probe.managers.base import PackageFacts, Query, Solution
from postroj.probe.managers.rpm.rpm import BOOKKEEPING, Rpm

if TYPE_CHECKING:
    from collections.abc import Sequence

DOWNLOAD = (
    'set -e; zypper --non-interactive --no-refresh --pkg-cache-dir "$1" download "$2";'
    ' find "$1" -mindepth 2 -name \'*.rpm\' -exec mv -t "$1" {} +'
)
"""zypper makes a folder for each repository."""


PART = re.compile(r"<to-(?P<verb>[a-z-]+)>(?P<rows>.*?)</to-(?P=verb)>", re.DOTALL)
ROW = re.compile(r'<solvable type="package" (?P<fields>[^>]*)>')
FIELD = re.compile(r'([a-z-]+)="([^"]*)"')
BRINGS = ("install", "upgrade", "downgrade", "reinstall")


def read_summary(text: str) -> Solution:
    """Read the summary of an installation, part by part: zypper's xml/xmlout.rnc has its form."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in PART.finditer(text):
        rows = [dict(FIELD.findall(row["fields"])) for row in ROW.finditer(part["rows"])]
        found.setdefault(part["verb"], []).extend(rows)
    return Solution(
        installs=tuple(
            PackageFacts(
                name=row.get("name", ""),
                version=row.get("edition", ""),
                architecture=row.get("arch", ""),
            )
            for verb in BRINGS
            for row in found.get(verb, ())
        ),
        removes=tuple(row.get("name", "") for row in found.get("remove", ())),
    )


class Zypper(Rpm):
    """The commands of zypper."""

    tool = "zypper"
    environment = MappingProxyType(
        {
            "LC_ALL": "C.UTF-8",
            # Seconds, see zypp.conf.
            "ZYPP_LOCK_TIMEOUT": "60",
        }
    )
    cache = ("/var/cache/zypp/packages",)
    logs = ("/var/log/zypper.log", "/var/log/zypp/history")
    bookkeeping = BOOKKEEPING + r"|/var/lib/zypp|/var/log/(zypp|zypper\.log)"

    def refresh(self) -> list[str]:
        """Download the package lists; fail if one is not available."""
        return ["zypper", "--non-interactive", "refresh"]

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install as `zypper install ./foo.rpm` does.

        A file needs no signature, but packages from a repository do.
        """
        return self._install(*paths)

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Download what `install` would."""
        return self._install("--download-only", *paths)

    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        """Simulate `install`."""
        argv = self._install("--dry-run", *paths)
        return Query(argv=(argv[0], "--xmlout", *argv[1:]), read=read_summary)

    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        """Install exactly these."""
        return self._install(*(f"{f.name}.{f.architecture}={f.version}" for f in wanted))

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install the versions that are installed."""
        return self._install("--force", *paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install older versions."""
        return self._install("--oldpackage", *paths)

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove; dependencies stay."""
        return ["zypper", "--non-interactive", "--no-refresh", "remove", *names]

    def download(self, name: str, folder: str) -> list[str]:
        """Download a package."""
        return ["sh", "-c", DOWNLOAD, "sh", folder, name]

    def _install(self, *words: str) -> list[str]:
        options = ["--auto-agree-with-licenses", "--allow-unsigned-rpm"]
        options += [] if self.recommends else ["--no-recommends"]
        return ["zypper", "--non-interactive", "--no-refresh", "install", *options, *words]
