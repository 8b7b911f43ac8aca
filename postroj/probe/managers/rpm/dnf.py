"""dnf 4 and 5, their predecessor yum, and microdnf: Fedora, RHEL and their family."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        options = ["--assumeyes", "--setopt=localpkg_gpgcheck=0", "--setopt=skip_if_unavailable=0"]
        options += [] if self.recommends else ["--setopt=install_weak_deps=0"]
        # Otherwise dnf downloads expired lists; only `refresh` should.
        options += [] if "makecache" in words else ["--setopt=*.metadata_expire=-1"]
        return ["sh", "-c", f'{CHOOSE}; exec $tool "$@"', "sh", *options, *words]
