"""Check what of the catalog still holds: fetch checksums, indexes and manifests, but no image.

What a pull would download must be named, proved and there. All of it is asked as a pull asks it, so
that a wrong entry is found before somebody pulls it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar, cast

from postroj import net
from postroj.console import Silence
from postroj.errors import HostError, ImageError, PostrojError
from postroj.http_errors import UnreachableError
from postroj.image import architectures
from postroj.image.catalog.entry import Bootstrap, Oci, Simplestreams, Tarball, expand
from postroj.image.sources import (
    Order,
    bootstrap,
    mirror,
    oci,
    release_file,
    simplestreams,
    skopeo,
    tarball,
)
from postroj.image.sources.reference import parse_reference
from postroj.image.trust import verify
from postroj.image.unpack import manifest
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from postroj.console import Progress
    from postroj.image.catalog.entry import Entry, Source, Suite
    from postroj.model import SourceKind, Verification

RELEASE_LIMIT = 4 << 20
"""Largest Release file, in bytes."""

T = TypeVar("T")


class State(StrEnum):
    """What is known of one source of an image."""

    HOLDS = "holds"
    BROKEN = "broken"
    """The publisher lacks what the catalog names, or has not signed it."""
    UNKNOWN = "unknown"
    """It could not be asked: a server, the network or this host was in the way."""
    SKIPPED = "skipped"
    """The archive of a release that has not ended; once it has, the source that has an archive."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found out about one source of an image, for one architecture."""

    image: str
    source: SourceKind
    archived: bool
    """Whether the source is the archive of a release that has ended."""
    architecture: str
    verification: Verification
    """How strongly the source is verified, according to the catalog."""
    state: State
    url: str
    """What a pull would download, without secrets; '' if that is not known."""
    reason: str
    """Why it does not hold, in one sentence; '' if it does."""
    evidence: str


def check(
    entries: Sequence[Entry], progress: Progress, architecture: str = ""
) -> Iterator[Finding]:
    """Check all sources of images, by default for all of their architectures."""
    wanted = [
        (entry, source, machine)
        for entry in entries
        for source in entry.sources
        for machine in source.architectures or entry.architectures
        if architecture in ("", machine)
    ]
    with TemporaryDirectory(prefix="postroj-") as directory:
        publishers = _Publishers(Path(directory))
        for done, (entry, source, machine) in enumerate(wanted):
            progress.describe(entry.name)
            progress.reach(done, len(wanted))
            yield _finding(entry, source, machine, publishers)


def _finding(entry: Entry, source: Source, architecture: str, publishers: _Publishers) -> Finding:
    state, url, reason, evidence = State.HOLDS, "", "", ""
    if why := _why_skipped(entry, source):
        state, reason = State.SKIPPED, why
    else:
        try:
            url = publishers.locate(source, entry, architecture)
        except PostrojError as error:
            lacking = isinstance(error, HostError | UnreachableError)
            state = State.UNKNOWN if lacking else State.BROKEN
            reason, evidence = error.message, error.evidence
    return Finding(
        image=entry.name,
        source=source.kind,
        archived=source.archived,
        architecture=architecture,
        verification=source.verification,
        state=state,
        url=redacted(url),
        reason=reason,
        evidence=evidence,
    )


def _why_skipped(entry: Entry, source: Source) -> str:
    """Return why a source does not count today; '' if it does."""
    today = datetime.now(UTC).date()
    if not entry.is_due(source, today):
        return f"counts after {entry.end_of_life}"
    twins = (other for other in entry.sources if other.kind is source.kind and other.archived)
    if entry.has_ended(today) and not source.archived and any(twins):
        return f"ended on {entry.end_of_life}, the archive counts"
    return ""


@dataclass
class _Publishers:
    """Asks publishers, each question once."""

    directory: Path
    """For temporary files."""
    _known: dict[Hashable, object] = field(default_factory=dict)
    """Answers by question, errors too."""

    def _once(self, question: Hashable, ask: Callable[[], T]) -> T:
        if question not in self._known:
            try:
                self._known[question] = ask()
            except PostrojError as error:
                self._known[question] = error
        answer = self._known[question]
        if isinstance(answer, PostrojError):
            raise answer
        return cast("T", answer)

    def locate(self, source: Source, entry: Entry, architecture: str) -> str:
        """Return the URL of what a pull would download.

        :raises PostrojError: if it is not there, is not proved, or cannot be asked for.
        """
        match source:
            case Bootstrap():
                for suite in source.suites:
                    self._check_suite(suite, source, architecture)
                first = source.suites[0]
                return f"{self._uri(first, source, architecture)}/dists/{first.name}"
            case Simplestreams():
                return self._file_of_index(source, self._order(entry, architecture))
            case Tarball():
                proof = tarball.find_proof(source, self._order(entry, architecture))
                net.head(proof.url, allow_downgrade=proof.proves_content)
                return proof.url
            case Oci():
                return self._image_of_registry(source, architecture)

    def _order(self, entry: Entry, architecture: str) -> Order:
        return Order(
            entry=entry, architecture=architecture, directory=self.directory, progress=Silence()
        )

    def _uri(self, suite: Suite, source: Bootstrap, architecture: str) -> str:
        """Return the mirror that a bootstrap would use for a suite."""
        archive = mirror.archive_for(suite.archive, architecture)
        here = source.mirrors or self._once(archive, lambda: mirror.archives([archive]))
        if uri := here.get(archive) or mirror.DEFAULTS.get(archive):
            return uri
        message = f"apt of this host has no mirror of '{archive}'"
        raise HostError(message, hint="`apt-get indextargets` shows those that it has")

    def _check_suite(self, suite: Suite, source: Bootstrap, architecture: str) -> None:
        url = f"{self._uri(suite, source, architecture)}/dists/{suite.name}/InRelease"
        fields = self._once((url, source.keyring), lambda: self._release(url, source))
        release_file.check(
            fields,
            f"'{redacted(url)}'",
            architectures.DEBIAN[architecture],
            source.components,
            allow_expired=source.archived,
        )

    def _release(self, url: str, source: Bootstrap) -> dict[str, str]:
        """Return the fields of a Release file that the keys of a source have signed."""
        keyrings = bootstrap.keyrings_for(source)
        key = self.directory / "keyring"
        key.write_bytes(b"".join(map(Path.read_bytes, keyrings)))
        data = net.fetch_small(url, limit=RELEASE_LIMIT, allow_downgrade=True)
        signed = verify.check_signature(data, None, str(key), name=f"'{redacted(url)}'")
        return release_file.parse(signed.text.decode(errors="replace"))

    def _file_of_index(self, source: Simplestreams, order: Order) -> str:
        def read() -> simplestreams.Index:
            index = simplestreams.Index(source, allow_expired=False)
            index.read(simplestreams.INDEX)
            return index

        index = self._once((source.server, source.key), read)
        items = index.items(expand(source.product, order.architecture))
        item = simplestreams.choose(items, source, order)
        size = net.head(item.url, allow_downgrade=True)
        if size not in (0, item.size):
            message = f"'{redacted(item.url)}' does not have the size that the index states"
            raise ImageError(message, evidence=f"expected {item.size} bytes, it has {size}")
        return item.url

    def _image_of_registry(self, source: Oci, architecture: str) -> str:
        wanted = parse_reference(source.reference)
        digest, document = self._once(wanted, lambda: oci.fetch_manifest(wanted, self.directory))
        if manifest.is_index(document):
            return wanted.at(manifest.choose(document, architecture).digest).url
        manifest.parse_manifest(document)
        config = self._once(
            wanted.at(digest), lambda: skopeo.inspect(wanted, self.directory, config=True)
        )
        manifest.check_platform(manifest.parse_json(config), architecture)
        return wanted.at(digest).url
