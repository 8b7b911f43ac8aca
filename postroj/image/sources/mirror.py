"""Ask the host's apt for its mirrors and proxies, instead of parsing its files."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

from postroj import process
from postroj.errors import CommandError, UsageError
from postroj.image import architectures
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

log = logging.getLogger(__name__)

FORMAT = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(LABEL)"
ARCHIVES = {
    ("Debian", "Debian"): "debian",
    ("Debian", "Debian-Security"): "debian-security",
    ("Ubuntu", "Ubuntu"): "ubuntu",
}
"""Name of an archive by Origin and Label of its Release files."""

DEFAULTS = {
    "ubuntu": "http://archive.ubuntu.com/ubuntu",
    "ubuntu-ports": "http://ports.ubuntu.com/ubuntu-ports",
}
"""Mirrors for hosts without one. mmdebstrap has a default for Debian, and for releases of Ubuntu
that are older than itself."""

PATH = re.compile(r"(?:/[A-Za-z0-9._~+-]+)*")
"""Of a mirror in a lock file; it becomes part of a line of sources.list, so it has no blanks."""

NOT_PORTS = ("x86_64", "i686")
"""Architectures of Ubuntu's main archive; its ports archive has all others."""


class Target(NamedTuple):
    """An index that apt knows."""

    uri: str
    release: str
    origin: str
    label: str


def archive_for(archive: str, architecture: str) -> str:
    """Return the archive with an architecture; Ubuntu splits one name into two archives."""
    ports = archive == "ubuntu" and architecture not in NOT_PORTS
    return "ubuntu-ports" if ports else archive


def archives(wanted: Collection[str]) -> dict[str, str]:
    """Return the URI of each wanted archive for which the host's apt has a mirror.

    Empty if apt has none or fails.
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
        log.warning("apt of this host does not report its mirrors, using the defaults")
        log.debug("%s", error.evidence)
        return {}
    return {archive: uri for archive, uri in known.items() if archive in wanted}


def narrowed(known: Mapping[str, str], pinned: Sequence[str]) -> dict[str, str]:
    """Return the mirrors of this host, at the dates that a lock file pins.

    A snapshot mirror has the date in its path. So a pinned mirror may differ from the host's in its
    path, but not in its server.

    :raises UsageError: if this host has no mirror on that server.
    """
    found = dict(known)
    for archive, _, uri in (text.partition("=") for text in pinned):
        own = urlsplit(known.get(archive) or DEFAULTS.get(archive, ""))
        wanted = urlsplit(uri)
        if _server(own) != _server(wanted) or not PATH.fullmatch(wanted.path):
            message = f"the lock file names a mirror of '{archive}' that this host does not have"
            hint = "add it to the apt sources of this host, or use `--ignore-lock`"
            raise UsageError(message, evidence=redacted(uri), hint=hint)
        found[archive] = own._replace(path=wanted.path).geturl()
    return found


def _server(url: SplitResult) -> str:
    """Return scheme, host and port of a URL."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _index_targets(*options: str) -> str:
    argv = ["apt-get", "indextargets", *options, "--format", FORMAT, "Created-By: Packages"]
    return process.run(argv).text


def parse(text: str) -> list[Target]:
    """Parse apt's index targets; skip those that a guest cannot reach, such as files and CDs."""
    targets = []
    for line in text.splitlines():
        uri, release, origin, label = line.split("\t")
        if re.match(r"https?://", uri):
            targets.append(Target(uri.rstrip("/"), release, origin, label))
    return targets


def by_origin(targets: list[Target], host: str = "") -> dict[str, str]:
    """Return the first mirror of each archive, by Origin and Label of the Release files.

    `host` is the architecture of this host, which tells Ubuntu's two archives apart.
    """
    known: dict[str, str] = {}
    for target in targets:
        archive = ARCHIVES.get((target.origin, target.label))
        # Ubuntu's security server has the same origin, but only the security suites.
        if archive and not (archive == "ubuntu" and target.release.endswith("-security")):
            known.setdefault(archive_for(archive, host or architectures.of_this_host()), target.uri)
    return known


def by_path(targets: list[Target]) -> dict[str, str]:
    """Return mirrors by the last part of their path, for a host whose apt has no lists yet.

    Third parties use such paths as well; an archive with an updates suite is the distribution's
    own.
    """
    known: dict[str, str] = {}
    for target in sorted(targets, key=lambda target: not target.release.endswith("-updates")):
        archive = target.uri.rpartition("/")[2]
        if archive in DEFAULTS and not target.release.endswith("-updates"):
            continue  # for Ubuntu, require the updates suite because it has many third parties
        if archive in {*ARCHIVES.values(), *DEFAULTS}:
            known.setdefault(archive, target.uri)
    return known


def proxies() -> dict[str, str]:
    """Return the proxies of apt's configuration as environment variables.

    Passed to mmdebstrap as apt options, they would remain in the image.
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
