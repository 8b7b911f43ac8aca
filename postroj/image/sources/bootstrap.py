"""The source `bootstrap`: mmdebstrap's stream becomes a squashfs as it arrives.

Signatures are checked by apt, with the keyring of the distribution and no other.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, HostError, ImageError
from postroj.image import mirror, store
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.console import Progress
    from postroj.image.catalog import Bootstrap

log = logging.getLogger(__name__)

TOOLS = ("mmdebstrap", "tar2sqfs", "gpgv", "setpriv", "unshare")
COMPRESSION = "lz4"
"""Quick to boot from, and packing keeps up with mmdebstrap."""

ALLOW_EXPIRED = 'Acquire::Check-Valid-Until "false"'
"""It stays in the image on purpose: guests install packages from the same mirror."""

# mmdebstrap copies both from the host.
NO_TRACE = 'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf'
# apt does not tell which key it accepted. What it accepted is still there when this runs; a key
# that is not in the keyring is no failure, since apt asks for one good signature, too.
SIGNERS = (
    'for file in "$1"/var/lib/apt/lists/*InRelease; do '
    '{gpgv} --keyring {keyring} --status-fd 2 --output /dev/null "$file" || true; done'
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What mmdebstrap is asked for."""

    source: Bootstrap
    archives: Mapping[str, str]
    """URI of each archive that the host has a mirror of."""
    allow_expired: bool

    @property
    def suite(self) -> str:
        """The suite that is bootstrapped."""
        return self.source.suites[0].name

    def apt_sources(self) -> list[str]:
        """Return the lines of the image's sources.list; none leaves them to mmdebstrap."""
        if self.source.suites[0].archive not in self.archives:
            return []
        option = f"[signed-by={self.source.keyring}]"  # the image has it at the same place
        return [
            f"deb {option} {self.archives[suite.archive]} {suite.name} main"
            for suite in self.source.suites
            if suite.archive in self.archives
        ]

    def left_out(self) -> list[str]:
        """Say what is used instead of a mirror that the host does not have."""
        if not self.apt_sources():
            return ["apt of this host has no mirror of it, mmdebstrap's default is used"]
        return [
            f"without '{suite.name}', of which apt of this host has no mirror"
            for suite in self.source.suites
            if suite.archive not in self.archives
        ]

    def argv(self, tools: Mapping[str, str], *, root: bool) -> list[str]:
        """Return the command line that writes the image's tar to stdout."""
        keyring = shlex.quote(str(self.source.keyring))
        signers = SIGNERS.format(gpgv=shlex.quote(tools["gpgv"]), keyring=keyring)
        return [
            *TIED,
            tools["unshare"],
            *(() if root else AS_ROOT),
            *CONTAINED,
            tools["mmdebstrap"],
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(self.source.packages)}",
            f"--keyring={self.source.keyring}",
            *([f"--aptopt={ALLOW_EXPIRED}"] if self.allow_expired else []),
            f"--customize-hook={signers}",
            f"--customize-hook={NO_TRACE}",
            "--verbose",
            "--format=tar",
            self.suite,
            "-",
            *self.apt_sources(),
        ]


# The death of the thread that started it kills the tool. Pulls run in the main thread.
TIED = ("setpriv", "--pdeathsig", "KILL", "--")
# Without root, the user and the subordinate ids of the user stand in for those of the image.
AS_ROOT = ("--user", "--map-auto", "--map-root-user")
# With process and mount namespaces of its own nothing that mmdebstrap started or mounted outlives
# it, however it ends; unshare passes a death of its own on to what it started.
CONTAINED = (
    *("--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
)


def build(
    source: Bootstrap, name: str, directory: Path, *, allow_expired: bool, progress: Progress
) -> tuple[Path, store.Provenance]:
    """Make the image of that name in a directory; its squashfs file, and where it is from.

    :raises HostError: if this host lacks a tool or the keyring.
    :raises ImageError: if the mirror, the network or the disk is to blame.
    """
    tools = _needed(source)
    root = os.geteuid() == 0
    plan = Plan(source=source, archives=mirror.archives(), allow_expired=allow_expired)
    for line in plan.left_out():
        log.info("%s: %s", name, line)
    target = directory / "image.squashfs"
    watch = Watch(progress)
    packer = [*TIED, tools["tar2sqfs"], "-q", "-c", COMPRESSION, "-f", str(target)]
    try:
        with _scratch(directory, root=root) as scratch:
            argv = plan.argv(tools, root=root)
            env = mirror.proxies() | {"TMPDIR": str(scratch)}
            process.pipeline(argv, packer, on_line=watch, env=env)
    except CommandError as error:
        raise failure(name, error.output) from None
    if not watch.fingerprints:
        message = f"the signatures on the Release files for '{name}' could not be confirmed"
        raise ImageError(message, evidence=mirror.redact(watch.url))
    return target, store.Provenance(
        source=SourceKind.BOOTSTRAP,
        url=mirror.redact(watch.url),
        suite=plan.suite,
        compression=COMPRESSION,
        verification=Verification.SIGNATURE,
        fingerprints=tuple(sorted(watch.fingerprints)),
        allow_expired=allow_expired,
    )


def _needed(source: Bootstrap) -> dict[str, str]:
    """Return the paths of the tools that a bootstrap takes."""
    # without root mmdebstrap works in a user namespace, whose ids this maps
    names = TOOLS if os.geteuid() == 0 else (*TOOLS, "newuidmap")
    tools = {name: process.tool(name) for name in names}
    if not source.keyring.exists():
        message = f"the keyring '{source.keyring}' is not on this host"
        hint = f"install the package '{source.keyring_package}', `sudo postroj doctor --fix` does"
        raise HostError(message, hint=hint)
    return tools


@contextmanager
def _scratch(directory: Path, *, root: bool) -> Iterator[Path]:
    """Have a place for mmdebstrap to work in: our directory, unless its ids have no way there."""
    if root:
        yield directory
        return
    scratch = Path(mkdtemp(prefix="postroj-"))
    try:
        scratch.chmod(0o755)
        yield scratch
    finally:
        # after an interruption there are files of the subordinate ids, not ours to delete
        process.run(["unshare", *AS_ROOT, "rm", "-rf", "--", str(scratch)], ok=(0, 1))


STAGES = (
    # mmdebstrap says, we say, per cent at its begin, per cent at its end: by the clock
    ("running apt-get update", "package lists", 2, 15),
    ("downloading packages", "download", 15, 22),
    ("extracting archives", "unpack", 22, 36),
    ("installing essential packages", "essential packages", 36, 60),
    ("installing remaining packages", "remaining packages", 60, 88),
    ("running --customize-hook", "signatures", 88, 90),
    ("cleaning package lists", "clean up", 90, 91),
    ("creating tarball", "pack", 91, 97),
    ("removing tempdir", "clean up", 97, 100),
)


@dataclass
class Watch:
    """Reads along with mmdebstrap: how far it is, its mirror, the keys that signed."""

    progress: Progress
    share: float = 0
    url: str = ""
    fingerprints: set[str] = field(default_factory=set)
    _span: tuple[int, int] = (0, 2)
    _packages: int = 0
    _done: int = 0

    def __call__(self, line: str) -> None:
        """Take one line."""
        if line.startswith("I: "):
            self._begin_stage(line[3:])
        elif match := re.search(r" (\d+) newly installed", line):
            # of each package we hear that it comes, is unpacked, is set up
            self._packages = 3 * int(match[1])
        elif re.match(r"Get:|Unpacking |Setting up ", line):
            self._done += 1
        elif line.startswith("[GNUPG:] VALIDSIG "):
            self.fingerprints.add(line.split()[-1])
        if not self.url and (match := re.match(r"Get:\d+ (\S+) \S+ (?:In)?Release ", line)):
            self.url = match[1]
        begin, end = self._span
        done = min(1, self._done / self._packages) if self._packages else 0
        self.share = max(self.share, begin + (end - begin) * done)
        self.progress.reach(self.share, 100)

    def _begin_stage(self, said: str) -> None:
        for prefix, description, begin, end in STAGES:
            if said.startswith(prefix):
                self._span, self._packages, self._done = (begin, end), 0, 0
                self.progress.describe(description)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A reason for which mmdebstrap fails, and what its output looks like then."""

    pattern: str
    message: str
    hint: str


DISK_FULL = Cause(
    # tar2sqfs says nothing more exact when it cannot write
    pattern=r"No space left on device|enough free space in|Disk quota exceeded|: I/O error\.$",
    message="",
    hint="",
)
CAUSES = (
    DISK_FULL,
    Cause(
        pattern=r"Release file for \S+ is expired",
        message="the mirror's Release file for '{name}' has expired",
        hint="`postroj pull --force --allow-expired {name}` accepts it, in its guests too",
    ),
    Cause(
        pattern=r"Release file for \S+ is not valid yet",
        message="the mirror's Release file for '{name}' is dated in the future",
        hint="the clock of this host is probably wrong: `date` shows it",
    ),
    Cause(
        pattern=r"BADSIG|NO_PUBKEY|EXPKEYSIG|REVKEYSIG|NODATA|NOSPLIT|is not signed|sqv returned",
        message="the mirror's Release file for '{name}' has no valid signature",
        hint="something between this host and the mirror changes files, or the keyring is too old",
    ),
    Cause(
        pattern=r"Hash Sum mismatch|unexpected size",
        message="the mirror's files for '{name}' do not match its Release file",
        hint="mirrors are so while they are updated: try again in some minutes",
    ),
    Cause(
        pattern=r"does not have a Release file",
        message="the mirror has no suite for '{name}'",
        hint="`apt-get indextargets` shows the mirror of this host's apt, which is used",
    ),
    Cause(
        pattern=(
            r"Could not connect|Unable to connect|Could not resolve|Temporary failure resolving"
            r"|[Cc]onnection (?:failed|timed out|refused|reset)|Network is unreachable"
            r"|Failed to fetch|Could not wait for server"
        ),
        message="the mirror for '{name}' cannot be reached",
        hint="see whether `apt-get update` works on this host",
    ),
)


def classify(output: str) -> Cause | None:
    """Return the reason that the output of mmdebstrap and tar2sqfs shows, if it is a known one."""
    for cause in CAUSES:
        if re.search(cause.pattern, output, re.MULTILINE):
            return cause
    return None


def failure(name: str, output: str) -> ImageError:
    """Build the error for a bootstrap that failed."""
    output = mirror.redact(output)
    cause = classify(output)
    if cause is None:
        message = f"the image '{name}' could not be bootstrapped"
        return ImageError(message, evidence=process.last_lines(output))
    evidence = _evidence(output.splitlines(), cause.pattern)
    if cause is DISK_FULL:
        return store.disk_full(evidence)
    message, hint = (text.format(name=name) for text in (cause.message, cause.hint))
    return ImageError(message, evidence=evidence, hint=hint)


def _evidence(lines: Sequence[str], pattern: str) -> str:
    """Return the lines that show a reason, the last few, each once."""
    shown = dict.fromkeys(line.strip() for line in lines if re.search(pattern, line))
    errors = [line for line in shown if line.startswith(("E:", "W:"))]
    return "\n".join((errors or list(shown))[-5:])
