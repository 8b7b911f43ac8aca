"""dnf 4 and 5, their predecessor yum, and microdnf: Fedora, RHEL and their family."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from postroj.probe.managers.rpm import causes, rpm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroj.probe.managers.base import Blame

CHOOSE = "for tool in dnf dnf5 microdnf yum; do command -v $tool >/dev/null && break; done"
"""dnf is a link to dnf5 where that is the default, yum one to dnf since EL8."""

DOWNLOAD = (
    f"{CHOOSE}; if $tool download --help >/dev/null 2>&1;"
    ' then exec $tool "$1" download --destdir="$2" "$3";'
    ' else exec $tool "$1" install --downloadonly --downloaddir="$2" "$3"; fi'
)
"""The command `download` of dnf 4 is a plugin, which an image may lack."""


class Dnf:
    """The commands and the failures of dnf, as `base.PackageManager` asks."""

    environment: Mapping[str, str] = MappingProxyType({"LC_ALL": "C.UTF-8"})
    purges_later = False
    kept: tuple[str, ...] = rpm.KEPT
    cache: tuple[str, ...] = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum")
    list_all = rpm.LIST_ALL
    print_scripts = rpm.PRINT_SCRIPTS
    logs: tuple[str, ...] = (
        *("/var/log/dnf.log", "/var/log/dnf.rpm.log"),
        *("/var/log/dnf5.log", "/var/log/yum.log"),
    )
    diverts = False

    newer = staticmethod(rpm.newer)
    describe = staticmethod(rpm.describe)
    installed = staticmethod(rpm.installed)
    files = staticmethod(rpm.files)
    owner = staticmethod(rpm.owner)
    architectures = staticmethod(rpm.architectures)

    def refresh(self) -> list[str]:
        """Fetch the package lists; one that cannot be had is a failure."""
        return self._do("makecache")

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install as `dnf install ./foo.rpm` does, recommended packages too.

        A file needs no signature (`localpkg_gpgcheck` is off unless an image turns it on), what
        comes from a repository does.
        """
        return self._do("install", *paths)

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Fetch what `install` would."""
        return self._do("install", "--downloadonly", *paths)

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install what is installed in that version."""
        return self._do("reinstall", *paths)

    def upgrade(self, paths: Sequence[str]) -> list[str]:
        """Install newer versions."""
        return self._do("upgrade", *paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install older versions."""
        return self._do("downgrade", *paths)

    def exchange(self, paths: Sequence[str]) -> None:
        """Leave it to the other commands."""

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove; what was a dependency stays, as with the other managers."""
        return self._do("--setopt=clean_requirements_on_remove=0", "remove", *names)

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove: rpm knows no more, it keeps changed configuration as `.rpmsave`."""
        return self.remove(names)

    def download(self, name: str, folder: str) -> list[str]:
        """Fetch a package."""
        return ["sh", "-c", DOWNLOAD, "sh", "--assumeyes", folder, name]

    def _do(self, *words: str) -> list[str]:
        options = ["--assumeyes", "--setopt=localpkg_gpgcheck=0", "--setopt=skip_if_unavailable=0"]
        # it would fetch lists that are older than their repository says, and only `refresh` is to
        options += [] if "makecache" in words else ["--setopt=*.metadata_expire=-1"]
        return ["sh", "-c", f'{CHOOSE}; exec $tool "$@"', "sh", *options, *words]

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Say why a command has failed, or what it has passed over."""
        return causes.blame("dnf", status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Say what was going on when the time was over."""
        return causes.blame_timeout("dnf", output, names, seconds)
