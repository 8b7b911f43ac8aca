"""Build the command line of mmdebstrap: suites, mirrors, keyring and hooks."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.image import architectures
from postroj.image.sources import mirror
from postroj.image.unpack.confine import TIED
from postroj.process import CONTAINED
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroj.image.catalog.entry import Bootstrap, Suite

ALLOW_EXPIRED = 'Acquire::Check-Valid-Until "false"'
"""Stays in the image on purpose, because guests install packages from the same mirror."""

# With a lock file the digest proves the image, so the option must not stay in it.
NOT_ALLOWED = 'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'
# Files that mmdebstrap copies from the host.
NO_TRACE = 'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf'
# apt does not report the key that it accepted. Therefore gpgv verifies the same files at the end. A
# missing key is not a failure, because apt requires only one good signature as well.
SIGNERS = (
    'for file in "$1"/var/lib/apt/lists/*InRelease; do '
    '{gpgv} --keyring {keyring} --status-fd 2 --output /dev/null "$file" || true; done'
)


@dataclass(frozen=True, kw_only=True)
class BootstrapPlan:
    """Everything that a bootstrap depends on."""

    source: Bootstrap
    packages: tuple[str, ...]
    architecture: str
    """As `uname -m` has it."""
    archives: Mapping[str, str]
    """URI of each archive for which the host has a mirror."""
    keyring: Path
    """A copy of the keyring that apt's own user can read."""
    allow_expired: bool
    pinned: bool = False
    """Whether the result is compared with a digest, which makes expired Release files harmless."""

    @property
    def suite(self) -> str:
        """The suite to bootstrap."""
        return self.source.suites[0].name

    def _uri(self, suite: Suite) -> str:
        """Return the mirror of a suite; '' if unknown."""
        archive = mirror.archive_for(suite.archive, self.architecture)
        return self.archives.get(archive) or mirror.DEFAULTS.get(archive, "")

    def apt_sources(self) -> list[str]:
        """Return the lines of the image's sources.list; empty to use mmdebstrap's default."""
        if not self._uri(self.source.suites[0]):
            return []
        components = " ".join(self.source.components)
        return [
            f"deb {uri} {suite.name} {components}"
            for suite in self.source.suites
            if (uri := self._uri(suite))
        ]

    def mirrors(self) -> tuple[str, ...]:
        """Return the archives of the image's sources.list in the form of a record."""
        if not self.apt_sources():
            return ()
        used = {
            mirror.archive_for(suite.archive, self.architecture): uri
            for suite in self.source.suites
            if (uri := self._uri(suite))
        }
        return tuple(f"{name}={redacted(uri)}" for name, uri in sorted(used.items()))

    def substitutions(self) -> list[str]:
        """Describe what replaces the mirrors that the host does not have."""
        suites = self.source.suites
        first = mirror.archive_for(suites[0].archive, self.architecture)
        if first not in self.archives:
            default = mirror.DEFAULTS.get(first, "mmdebstrap's default")
            return [f"apt of this host has no mirror of it, using {default}"]
        return [
            f"without '{suite.name}', since apt of this host has no mirror of it"
            for suite in suites
            if not self._uri(suite)
        ]

    def argv(
        self, tools: Mapping[str, str], scratch: Path, *, root: bool, foreign: bool = False
    ) -> list[str]:
        """Return the command line that works in `scratch` and writes the image's tar to stdout.

        `foreign` programs run through qemu-user; the caller has checked that it is registered.
        """
        return [
            *TIED,
            tools["unshare"],
            *(() if root else AS_ROOT),
            *CONTAINED[1:],
            *("sh", "-euc", AT_WORK, str(scratch)),
            tools["mmdebstrap"],
            "--mode=root",
            "--variant=minbase",
            f"--architectures={architectures.DEBIAN[self.architecture]}",
            *(["--skip=check/qemu"] if foreign else []),  # its check needs a rare tool
            f"--include={','.join(self.packages)}",
            f"--keyring={self.keyring}",
            *([f"--aptopt={ALLOW_EXPIRED}"] if self.allow_expired or self.pinned else []),
            *(f"--customize-hook={hook}" for hook in self._hooks(tools)),
            "--verbose",
            "--format=tar",
            self.suite,
            "-",
            *self.apt_sources(),
        ]

    def _hooks(self, tools: Mapping[str, str]) -> list[str]:
        """Return the shell commands to run on the image's tree at the end."""
        keyring = shlex.quote(str(self.keyring))
        hooks = [SIGNERS.format(gpgv=shlex.quote(tools["gpgv"]), keyring=keyring), NO_TRACE]
        if self.pinned and not self.allow_expired:
            hooks.append(NOT_ALLOWED)
        if self.apt_sources():
            # Only now, because apt of the host would look for this file on the host.
            script = shlex.quote(f"s|^deb |deb [signed-by={self.source.keyring}] |")
            hooks.append(f'sed -i {script} "$1"/etc/apt/sources.list')
        return hooks


# Without root, the user's own and subordinate ids represent the ids of the image.
AS_ROOT = ("--user", "--map-auto", "--map-root-user")
# A fixed path, only in these namespaces: apt hands its folders to other users of the image if its
# own cannot reach them, so the image would depend on the location of the cache.
WORK = "/var/tmp"  # noqa: S108
AT_WORK = f'mount --bind "$0" {WORK}; exec "$@"'
