"""The command line of mmdebstrap: which suites of which mirror, checked with which keys."""

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
"""It stays in the image on purpose: guests install packages from the same mirror."""

# Where a lock file holds the image to its digest it does not matter, and is not to stay.
NOT_ALLOWED = 'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'
# mmdebstrap copies both from the host.
NO_TRACE = 'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf'
# apt does not tell which key it accepted. What it accepted is still there when this runs; a key
# that is not in the keyring is no failure, since apt asks for one good signature, too.
SIGNERS = (
    'for file in "$1"/var/lib/apt/lists/*InRelease; do '
    '{gpgv} --keyring {keyring} --status-fd 2 --output /dev/null "$file" || true; done'
)


@dataclass(frozen=True, kw_only=True)
class BootstrapPlan:
    """What mmdebstrap is asked for."""

    source: Bootstrap
    packages: tuple[str, ...]
    architecture: str
    """As `uname -m` has it."""
    archives: Mapping[str, str]
    """URI of each archive that the host has a mirror of."""
    keyring: Path
    """A copy of the keyring where apt can read it, whoever it runs as."""
    allow_expired: bool
    pinned: bool = False
    """Whether the result is compared with a digest, so that expired Release files do no harm."""

    @property
    def suite(self) -> str:
        """The suite that is bootstrapped."""
        return self.source.suites[0].name

    def _uri(self, suite: Suite) -> str:
        """Return the mirror of a suite, '' if it is not known."""
        archive = mirror.archive_for(suite.archive, self.architecture)
        return self.archives.get(archive) or mirror.DEFAULTS.get(archive, "")

    def apt_sources(self) -> list[str]:
        """Return the lines of the image's sources.list; none leaves them to mmdebstrap."""
        if not self._uri(self.source.suites[0]):
            return []
        components = " ".join(self.source.components)
        return [
            f"deb {uri} {suite.name} {components}"
            for suite in self.source.suites
            if (uri := self._uri(suite))
        ]

    def mirrors(self) -> tuple[str, ...]:
        """Return the archives of the image's sources.list, as a record has them."""
        if not self.apt_sources():
            return ()
        used = {
            mirror.archive_for(suite.archive, self.architecture): uri
            for suite in self.source.suites
            if (uri := self._uri(suite))
        }
        return tuple(f"{name}={redacted(uri)}" for name, uri in sorted(used.items()))

    def left_out(self) -> list[str]:
        """Say what is used instead of a mirror that the host does not have."""
        suites = self.source.suites
        first = mirror.archive_for(suites[0].archive, self.architecture)
        if first not in self.archives:
            default = mirror.DEFAULTS.get(first, "mmdebstrap's default")
            return [f"apt of this host has no mirror of it, {default} is used"]
        return [
            f"without '{suite.name}', of which apt of this host has no mirror"
            for suite in suites
            if not self._uri(suite)
        ]

    def argv(
        self, tools: Mapping[str, str], scratch: Path, *, root: bool, foreign: bool = False
    ) -> list[str]:
        """Return the command line that writes the image's tar to stdout, and works in `scratch`.

        `foreign` programs run through qemu-user, which must have been seen to.
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
            *(["--skip=check/qemu"] if foreign else []),  # it takes a tool that few hosts have
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
        """Return what is done in the image's tree at the end, as shell commands."""
        keyring = shlex.quote(str(self.keyring))
        hooks = [SIGNERS.format(gpgv=shlex.quote(tools["gpgv"]), keyring=keyring), NO_TRACE]
        if self.pinned and not self.allow_expired:
            hooks.append(NOT_ALLOWED)
        if self.apt_sources():
            # not before: apt of the host would look for this file on the host
            script = shlex.quote(f"s|^deb |deb [signed-by={self.source.keyring}] |")
            hooks.append(f'sed -i {script} "$1"/etc/apt/sources.list')
        return hooks


# Without root, the user and the subordinate ids of the user stand in for those of the image.
AS_ROOT = ("--user", "--map-auto", "--map-root-user")
# What is made must not depend on where the cache is: apt gives its folders to other users of the
# image where its own has no way to them. Only in these namespaces the folder has this name.
WORK = "/var/tmp"  # noqa: S108
AT_WORK = f'mount --bind "$0" {WORK}; exec "$@"'
