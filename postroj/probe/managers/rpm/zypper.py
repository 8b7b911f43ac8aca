"""zypper: openSUSE and SLES."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from postroj.probe.managers.rpm import causes, rpm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroj.probe.managers.base import Blame

DOWNLOAD = (
    'set -e; zypper --non-interactive --no-refresh --pkg-cache-dir "$1" download "$2";'
    ' find "$1" -mindepth 2 -name \'*.rpm\' -exec mv -t "$1" {} +'
)
"""zypper keeps a folder for each repository."""


class Zypper:
    """The commands and the failures of zypper, as `base.PackageManager` asks."""

    environment: Mapping[str, str] = MappingProxyType(
        {
            "LC_ALL": "C.UTF-8",
            # seconds, libzypp(zypp.conf)
            "ZYPP_LOCK_TIMEOUT": "60",
        }
    )
    purges_later = False
    kept: tuple[str, ...] = rpm.KEPT
    cache: tuple[str, ...] = ("/var/cache/zypp/packages",)
    list_all = rpm.LIST_ALL
    print_scripts = rpm.PRINT_SCRIPTS
    logs: tuple[str, ...] = ("/var/log/zypper.log", "/var/log/zypp/history")
    diverts = False

    newer = staticmethod(rpm.newer)
    describe = staticmethod(rpm.describe)
    installed = staticmethod(rpm.installed)
    files = staticmethod(rpm.files)
    owner = staticmethod(rpm.owner)
    architectures = staticmethod(rpm.architectures)

    def refresh(self) -> list[str]:
        """Fetch the package lists; one that cannot be had is a failure."""
        return ["zypper", "--non-interactive", "refresh"]

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install as `zypper install ./foo.rpm` does, recommended packages too.

        A file needs no signature, what comes from a repository does.
        """
        return self._install(*paths)

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Fetch what `install` would."""
        return self._install("--download-only", *paths)

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install what is installed in that version."""
        return self._install("--force", *paths)

    def upgrade(self, paths: Sequence[str]) -> list[str]:
        """Install newer versions."""
        return self._install(*paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install older versions."""
        return self._install("--oldpackage", *paths)

    def exchange(self, paths: Sequence[str]) -> None:
        """Leave it to the other commands."""

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove; what was a dependency stays."""
        return ["zypper", "--non-interactive", "--no-refresh", "remove", *names]

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove: rpm knows no more, it keeps changed configuration as `.rpmsave`."""
        return self.remove(names)

    def download(self, name: str, folder: str) -> list[str]:
        """Fetch a package."""
        return ["sh", "-c", DOWNLOAD, "sh", folder, name]

    def _install(self, *words: str) -> list[str]:
        options = ["--auto-agree-with-licenses", "--allow-unsigned-rpm"]
        return ["zypper", "--non-interactive", "--no-refresh", "install", *options, *words]

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Say why a command has failed, or what it has passed over."""
        return causes.blame("zypper", status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Say what was going on when the time was over."""
        return causes.blame_timeout("zypper", output, names, seconds)
