"""Which mirror and which proxy the host's own apt uses: apt is asked, its files are not read."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from postroj import process
from postroj.errors import CommandError
from postroj.image import architectures

if TYPE_CHECKING:
    from collections.abc import Collection

log = logging.getLogger(__name__)

FORMAT = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(LABEL)"
ARCHIVES = {
    ("Debian", "Debian"): "debian",
    ("Debian", "Debian-Security"): "debian-security",
    ("Ubuntu", "Ubuntu"): "ubuntu",
}
"""An archive, by Origin and Label of its Release files."""

DEFAULTS = {
    "ubuntu": "http://archive.ubuntu.com/ubuntu",
    "ubuntu-ports": "http://ports.ubuntu.com/ubuntu-ports",
}
"""Mirrors for hosts that have none. Debian's is known to mmdebstrap, which knows no release of
Ubuntu that is newer than itself."""

NOT_PORTS = ("x86_64", "i686")
"""Architectures of Ubuntu's main archive; all others are in its ports."""


class Target(NamedTuple):
    """One index that apt knows of."""

    uri: str
    release: str
    origin: str
    label: str


def archive_for(archive: str, architecture: str) -> str:
    """Return the archive that really has an architecture: Ubuntu has two for one name."""
    ports = archive == "ubuntu" and architecture not in NOT_PORTS
    return "ubuntu-ports" if ports else archive


def archives(wanted: Collection[str]) -> dict[str, str]:
    """Return the URI of each wanted archive that apt of this host has a mirror of.

    Empty when apt has none, or when it is ill.
    """
    try:
        fetched = parse(_index_targets())
        known = by_origin(fetched)
        if not set(wanted) <= set(known):
            foreign = {target.uri for target in fetched}
            others = [
                target
                for target in parse(_index_targets("--no-release-info"))
                if target.uri not in foreign
            ]
            known = {**by_path(others), **known}
    except CommandError as error:
        log.warning("apt of this host does not tell its mirror, a default one is used")
        log.debug("%s", error.evidence)
        return {}
    return {archive: uri for archive, uri in known.items() if archive in wanted}


def _index_targets(*options: str) -> str:
    argv = ["apt-get", "indextargets", *options, "--format", FORMAT, "Created-By: Packages"]
    return process.run(argv).text


def parse(text: str) -> list[Target]:
    """Read what apt says, and keep what a guest could use, too: http and https."""
    targets = []
    for line in text.splitlines():
        uri, release, origin, label = line.split("\t")
        if re.match(r"https?://", uri):
            targets.append(Target(uri.rstrip("/"), release, origin, label))
    return targets


def by_origin(targets: list[Target], host: str = "") -> dict[str, str]:
    """Return the archives that say themselves what they are; the first mirror of each.

    `host` is the architecture of this host, which tells Ubuntu's two archives apart.
    """
    known: dict[str, str] = {}
    for target in targets:
        archive = ARCHIVES.get((target.origin, target.label))
        # Ubuntu's server for security updates says that it is Ubuntu, and has nothing else
        if archive and not (archive == "ubuntu" and target.release.endswith("-security")):
            known.setdefault(archive_for(archive, host or architectures.of_this_host()), target.uri)
    return known


def by_path(targets: list[Target]) -> dict[str, str]:
    """Return the archives that look like one, for a host that has not fetched its lists yet.

    The packages of third parties lie below such paths, too; what has a suite of updates is the
    distribution's own.
    """
    known: dict[str, str] = {}
    for target in sorted(targets, key=lambda target: not target.release.endswith("-updates")):
        archive = target.uri.rpartition("/")[2]
        if archive in DEFAULTS and not target.release.endswith("-updates"):
            continue  # a mirror of Ubuntu has them, its many third parties do not
        if archive in {*ARCHIVES.values(), *DEFAULTS}:
            known.setdefault(archive, target.uri)
    return known


def proxies() -> dict[str, str]:
    """Return the proxies that apt is configured to use, as variables of the environment.

    They must not be given to mmdebstrap as apt options, since these stay in the image.
    """
    argv = ["apt-config", "dump", "--format", "%f\t%v%n"]
    text = process.run([*argv, "Acquire::http::Proxy", "Acquire::https::Proxy"]).text
    found = {}
    for line in text.splitlines():
        option, _, value = line.partition("\t")
        match = re.fullmatch(r"Acquire::(https?)::Proxy", option)
        if match and value not in ("", "DIRECT"):
            found[f"{match[1]}_proxy"] = value
    return found
