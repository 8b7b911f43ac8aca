"""Source `bootstrap`: pack the tar stream of mmdebstrap into a squashfs as it arrives.

apt verifies the signatures, with only the distribution's keyring.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import (
    CommandError,
    CommandTimeout,
    DownloadError,
    HostError,
    ImageError,
    UsageError,
)
from postroj.image import architectures, emulation
from postroj.image.sources import Built, mirror
from postroj.image.sources.mmdebstrap import AS_ROOT, LOGINS, WORK, BootstrapPlan, failure
from postroj.image.sources.pipeline import pipeline
from postroj.image.store.record import Provenance
from postroj.image.trust.keyring import KEYS
from postroj.image.unpack import pack
from postroj.image.unpack.confine import TIED
from postroj.model import SourceKind, Verification
from postroj.process import last_lines
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.console import Progress
    from postroj.image.catalog.entry import Bootstrap
    from postroj.image.sources import Order

log = logging.getLogger(__name__)

RETIRED = "debian-archive-removed-keys.gpg"
"""Keys of Debian releases that have ended, beside the keyring of those that have not."""
LONGEST = 7200.0
"""Seconds of a bootstrap: apt gives up on a server that is silent, but not on one that is slow."""

TOOLS = ("mmdebstrap", "tar2sqfs", "gpgv", "setpriv", "unshare")


def build(source: Bootstrap, order: Order) -> Built:
    """Build an image from the packages of a mirror.

    :raises UsageError: if a lock file wants another mirror, or expired Release files.
    :raises HostError: if a tool, the keyring, or emulation of the architecture is missing.
    :raises DownloadError: if the mirror cannot be reached, or is too slow.
    :raises ImageError: if mirror or disk fail.
    """
    name, directory, pinned = order.entry.name, order.directory, order.pinned
    emulation.require(order.architecture)
    tools = _tool_paths()
    keyrings = keyrings_for(source)
    root = os.geteuid() == 0
    wanted = {mirror.archive_for(suite.archive, order.architecture) for suite in source.suites}
    known = source.mirrors or mirror.archives(wanted)
    epoch = pinned.epoch if pinned and pinned.epoch else int(time.time())
    target = directory / "image.squashfs"
    watch = OutputParser(order.progress)
    packer = [*TIED, tools["tar2sqfs"], "-q", "-c", pack.COMPRESSION, "-f", str(target)]
    try:
        with _scratch(directory, root=root) as scratch:
            (scratch / keyrings[0].name).write_bytes(b"".join(map(Path.read_bytes, keyrings)))
            (scratch / keyrings[0].name).chmod(0o644)
            plan = BootstrapPlan(
                source=source,
                packages=order.entry.packages,
                architecture=order.architecture,
                archives=mirror.narrowed(known, pinned.mirrors if pinned else ()),
                keyring=Path(WORK, keyrings[0].name),
                allow_expired=allows_expired(source, order),
                pinned=pinned is not None,
            )
            (scratch / LOGINS).touch(mode=0o600, exist_ok=False)
            (scratch / LOGINS).write_text(plan.auth_conf(), "utf-8")
            for line in plan.substitutions():
                log.info("%s: %s", name, line)
            foreign = order.architecture != architectures.of_this_host()
            argv = plan.argv(tools, scratch, root=root, foreign=foreign)
            env = mirror.proxies() | {"TMPDIR": WORK, "SOURCE_DATE_EPOCH": str(epoch)}
            pipeline(argv, packer, on_line=watch, timeout=LONGEST, env=env)
    except CommandTimeout as error:
        message = f"the mirror for '{name}' is too slow"
        evidence = f"no image after {LONGEST / 3600:.0f} hours\n{last_lines(error.output)}"
        raise DownloadError(message, evidence=evidence, hint="use another mirror") from None
    except CommandError as error:
        raise failure(name, error.output) from None
    if not watch.fingerprints:
        message = f"the signatures on the Release files for '{name}' could not be confirmed"
        raise ImageError(message, evidence=redacted(watch.url))
    provenance = Provenance(
        source=SourceKind.BOOTSTRAP,
        url=redacted(watch.url),
        build=plan.suite,
        artifact="",
        compression=pack.COMPRESSION,
        verification=Verification.SIGNATURE,
        fingerprints=tuple(sorted(watch.fingerprints)),
        archived=source.archived,
        allow_expired=plan.allow_expired,
        epoch=epoch,
        mirrors=plan.mirrors(),
    )
    return Built(target, provenance)


def allows_expired(source: Bootstrap, order: Order) -> bool:
    """Whether the image accepts expired Release files; a lock file cannot decide that alone.

    :raises UsageError: if only the lock file wants it.
    """
    # The Release files of an archive are never signed again, so they expire.
    allowed = order.allow_expired or source.archived
    if order.pinned is None:
        return allowed
    if order.pinned.allow_expired and not allowed:
        name = order.entry.name
        message = f"the locked image '{name}' accepts expired Release files"
        raise UsageError(message, hint=f"`postroj pull --allow-expired {name}` allows that")
    return order.pinned.allow_expired


def _tool_paths() -> dict[str, str]:
    """Return the paths of the tools that a bootstrap needs."""
    # Without root, mmdebstrap works in a user namespace, whose ids newuidmap maps.
    names = TOOLS if os.geteuid() == 0 else (*TOOLS, "newuidmap")
    return {name: process.tool(name) for name in names}


def keyrings_for(source: Bootstrap) -> list[Path]:
    """Return the keyring of the host, or else the one that postroj ships.

    The keys of an archive may be retired already, so the keyring of those counts there, too.

    :raises HostError: if there is neither.
    """
    retired = source.keyring.with_name(RETIRED)
    for keyring in (source.keyring, KEYS / source.keyring.name):
        if keyring.exists():
            return [keyring, retired] if source.mirrors and retired.exists() else [keyring]
    message = f"the keyring '{source.keyring}' is not on this host"
    hint = f"install the package '{source.keyring_package}'"
    raise HostError(message, hint=hint)


@contextmanager
def _scratch(directory: Path, *, root: bool) -> Iterator[Path]:
    """Yield a working directory for mmdebstrap that the ids of its user namespace can reach."""
    if root:
        directory.chmod(0o755)  # independent of the umask: apt's own user works in it
        yield directory
        return
    scratch = Path(mkdtemp(prefix="postroj-"))
    try:
        scratch.chmod(0o755)
        yield scratch
    finally:
        # After an interruption it contains files of subordinate ids, which we cannot delete
        # ourselves.
        process.run(["unshare", *AS_ROOT, "rm", "-rf", "--", str(scratch)], ok=(0, 1))


STAGES = (
    # Prefix of mmdebstrap's message, our description, percentage at the begin, percentage at the
    # end.
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
class OutputParser:
    """Parses mmdebstrap's output: progress, the mirror, the keys that signed."""

    progress: Progress
    share: float = 0
    url: str = ""
    fingerprints: set[str] = field(default_factory=set)
    _span: tuple[int, int] = (0, 2)
    _packages: int = 0
    _done: int = 0

    def __call__(self, line: str) -> None:
        """Parse one line."""
        if line.startswith("I: "):
            self._begin_stage(line[3:])
        elif match := re.search(r" (\d+) newly installed", line):
            # apt prints three lines a package: when it downloads, unpacks and sets it up.
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

    def _begin_stage(self, message: str) -> None:
        for prefix, description, begin, end in STAGES:
            if message.startswith(prefix):
                self._span, self._packages, self._done = (begin, end), 0, 0
                self.progress.describe(description)
