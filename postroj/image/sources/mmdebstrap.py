"""Build the command line of mmdebstrap: suites, mirrors, keyring and hooks; explain its failure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from postroj.errors import ImageError, VerificationError
from postroj.image import architectures
from postroj.image.sources import causes, mirror
from postroj.image.sources.causes import Cause
from postroj.image.unpack.confine import TIED
from postroj.process import CONTAINED, last_lines
from postroj.urls import redacted, redacted_text, without_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroj.errors import PostrojError
    from postroj.image.catalog.entry import Bootstrap, Suite

# A fixed path, only in these namespaces: apt hands its folders to other users of the image if its
# own cannot reach them, so the image would depend on the location of the cache.
WORK = "/var/tmp"  # noqa: S108

ALLOW_EXPIRED = 'Acquire::Check-Valid-Until "false"'
"""Stays in the image on purpose, because guests install packages from the same mirror."""

# With a lock file the digest proves the image, so the option must not stay in it.
NOT_ALLOWED = 'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'
# Files that mmdebstrap copies from the host.
NO_TRACE = 'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf'
# Passwords of mirrors are not for the image, nor for our command line, which anybody can read.
LOGINS = "logins"
"""File of the working directory with `BootstrapPlan.auth_conf`."""
LOG_IN = f'install -m 600 {WORK}/{LOGINS} "$1"/etc/apt/auth.conf'
LOG_OUT = 'rm -f "$1"/etc/apt/auth.conf'
# apt does not report the key that it accepted. Therefore gpgv verifies the same files at the end. A
# missing key is not a failure, because apt requires only one good signature as well.
SIGNERS = (
    'for file in "$1"/var/lib/apt/lists/*InRelease; do '
    '{gpgv} --keyring {keyring} --status-fd 2 --output /dev/null "$file" || true; done'
)


MERGED_PACKAGE = "usr-is-merged"
MERGED = "/usr/share/mmdebstrap/hooks/merged-usr"
"""Makes the links of a merged `/usr` first, which the package requires, mmdebstrap(1)."""


@dataclass(frozen=True, kw_only=True)
class BootstrapPlan:
    """Everything that a bootstrap depends on."""

    source: Bootstrap
    packages: tuple[str, ...]
    architecture: str
    """As `uname -m` has it."""
    archives: Mapping[str, str]
    """URI of each archive for which there is a mirror."""
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
        """Return the lines of the image's sources.list; empty to use mmdebstrap's default.

        They have no passwords, which would get into guests and exported images.
        """
        if not self._uri(self.source.suites[0]):
            return []
        components = " ".join(self.source.components)
        return [
            f"deb {without_user(uri)} {suite.name} {components}"
            for suite in self.source.suites
            if (uri := self._uri(suite))
        ]

    def auth_conf(self) -> str:
        """Return the users and passwords of the mirrors as apt_auth.conf(5) has them."""
        mirrors = (urlsplit(uri) for uri in dict.fromkeys(map(self._uri, self.source.suites)))
        return "".join(
            f"machine {without_user(uri.geturl())}"
            f" login {unquote(uri.username)} password {unquote(uri.password or '')}\n"
            for uri in mirrors
            if uri.username
        )

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
            *([f"--hook-directory={MERGED}"] if MERGED_PACKAGE in self.packages else []),
            *(["--skip=check/qemu"] if foreign else []),  # its check needs a rare tool
            # The variant brings what is required, which includes apt on Debian, but not on Ubuntu.
            f"--include={','.join(('apt', *self.packages))}",
            f"--keyring={self.keyring}",
            *([f"--aptopt={ALLOW_EXPIRED}"] if self.allow_expired or self.pinned else []),
            *([f"--setup-hook={LOG_IN}"] if self.auth_conf() else []),
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
        if self.auth_conf():
            hooks.append(LOG_OUT)
        if self.pinned and not self.allow_expired:
            hooks.append(NOT_ALLOWED)
        if self.apt_sources():
            # Only now, because apt of the host would look for this file on the host.
            script = shlex.quote(f"s|^deb |deb [signed-by={self.source.keyring}] |")
            hooks.append(f'sed -i {script} "$1"/etc/apt/sources.list')
        return hooks


# Without root, the user's own and subordinate ids represent the ids of the image.
AS_ROOT = ("--user", "--map-auto", "--map-root-user")
AT_WORK = f'mount --bind "$0" {WORK}; exec "$@"'


CAUSES = (
    Cause(
        pattern=r"Release file for \S+ is expired",
        sentence="the mirror's Release file for '{name}' has expired",
        hint="`postroj pull --force --allow-expired {name}` accepts it, in its guests too",
    ),
    Cause(
        pattern=r"Release file for \S+ is not valid yet",
        sentence="the mirror's Release file for '{name}' is dated in the future",
        hint="the clock of this host is probably wrong: `date` shows it",
        kind=ImageError,
    ),
    Cause(
        pattern=r"BADSIG|NO_PUBKEY|EXPKEYSIG|REVKEYSIG|NODATA|NOSPLIT|is not signed|sqv returned",
        sentence="the mirror's Release file for '{name}' has no valid signature",
        hint="something between this host and the mirror changes files, or the keyring is too old",
        kind=VerificationError,
    ),
    Cause(
        pattern=r"Hash Sum mismatch|unexpected size",
        sentence="the mirror's files for '{name}' do not match its Release file",
        hint="mirrors are so while they are updated: try again in some minutes",
        kind=ImageError,
    ),
    Cause(
        pattern=r"does not have a Release file",
        sentence="the mirror has no suite for '{name}'",
        hint="`apt-get indextargets` shows the mirror of this host's apt, which is used",
    ),
    Cause(
        pattern=r"Failed to fetch \S+/pool/\S+ +404 ",
        sentence="the mirror no longer has the packages of '{name}' that it lists",
        hint="has the release ended? `postroj list-images` shows when",
    ),
    Cause(
        pattern=(
            r"Could not connect|Unable to connect|Could not resolve|Temporary failure resolving"
            r"|[Cc]onnection (?:failed|timed out|refused|reset)|Network is unreachable"
            r"|Failed to fetch|Could not wait for server"
        ),
        sentence="the mirror for '{name}' cannot be reached",
        hint="see whether `apt-get update` works on this host",
    ),
)


def failure(name: str, output: str) -> PostrojError:
    """Build the error for a bootstrap that failed; `output` is also of apt, dpkg and tar2sqfs."""
    output = redacted_text(output)
    lines = output.splitlines()
    known = causes.failure(CAUSES, output, {"name": name}, lambda cause: _evidence(lines, cause))
    message = f"the image '{name}' could not be bootstrapped"
    return known or ImageError(message, evidence=last_lines(output))


def _evidence(lines: Sequence[str], cause: Cause) -> str:
    """Return the lines that show a cause, the last few, each once."""
    shown = dict.fromkeys(line.strip() for line in lines if re.search(cause.pattern, line))
    errors = [line for line in shown if line.startswith(("E:", "W:"))]
    return "\n".join((errors or list(shown))[-5:])
