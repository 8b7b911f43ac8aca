"""Records of the catalog: an image and its sources. Nothing here reads files or downloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from postroj.image import architectures
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from postroj.model import Manager


def _of_connection(url: str) -> Verification:
    """Return what the connection to a URL proves."""
    return Verification.TLS if url.startswith("https:") else Verification.NONE


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One suite of an archive."""

    archive: str
    """The archive of the distribution: `debian`, `debian-security`."""
    name: str


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A source: packages of a mirror."""

    kind: ClassVar[SourceKind] = SourceKind.BOOTSTRAP
    verification: ClassVar[Verification] = Verification.SIGNATURE
    suites: tuple[Suite, ...]
    components: tuple[str, ...] = ("main",)
    keyring: Path
    """File of the host; if it is missing, the one of its name in `image/trust/keys/` is used."""
    keyring_package: str
    mirrors: Mapping[str, str] = field(default_factory=dict, hash=False)
    """URI by archive, of a copy that stays as it was when the release ended. Empty to use the
    mirrors of the host."""
    architectures: tuple[str, ...] = ()

    @property
    def archived(self) -> bool:
        """Whether it is the archive of a release that has ended."""
        return bool(self.mirrors)


@dataclass(frozen=True, kw_only=True)
class Simplestreams:
    """A source: the newest build of a product on a simplestreams server."""

    kind: ClassVar[SourceKind] = SourceKind.SIMPLESTREAMS
    archived: ClassVar[bool] = False
    server: str
    """URL above `streams/v1/index.json`, without a trailing slash."""
    product: str
    """As `debian:trixie:{debian_arch}:default`."""
    key: str = ""
    """File in `image/trust/keys/`, or path of a file, with the key that signs the index; '' if
    unsigned."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """How strongly the index is verified: unsigned digests are worth as much as TLS."""
        return Verification.SIGNATURE if self.key else _of_connection(self.server)


@dataclass(frozen=True, kw_only=True)
class Tarball:
    """A source: an archive that its publisher offers for download."""

    kind: ClassVar[SourceKind] = SourceKind.TARBALL
    url: str
    """May contain `{arch}`, `{debian_arch}`, `{oci_arch}`, and in the file name a `*` for
    what only the checksum file contains."""
    sha256: str = ""
    """Known in advance; '' if the publisher replaces the file."""
    checksums: str = ""
    """URL of a checksum file."""
    signature: str = ""
    """URL of a detached signature on the checksums, or on the archive if there are none."""
    key: str = ""
    """As in `Simplestreams`; with `checksums` but no `signature`, the checksums are signed inline.
    """
    subtree: str = ""
    """Folder of the archive that becomes the root, as `root.x86_64`."""
    archived: bool = False
    """As of `Bootstrap`."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """How strongly the archive is verified."""
        if self.key:
            return Verification.SIGNATURE
        return Verification.DIGEST if self.sha256 else _of_connection(self.url)


@dataclass(frozen=True, kw_only=True)
class Oci:
    """A source: an image in a container registry."""

    kind: ClassVar[SourceKind] = SourceKind.OCI
    archived: ClassVar[bool] = False
    reference: str
    """As `quay.io/centos/centos:stream9`; may end in `@sha256:...`."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """How strongly the image is verified: a tag is worth as much as TLS."""
        return Verification.DIGEST if "@sha256:" in self.reference else Verification.TLS


Source = Bootstrap | Simplestreams | Tarball | Oci
"""Any kind of source."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image, or a known name for which there is none, with the reason."""

    name: str
    distribution: str
    release: str
    version: str
    """'' if the release has none."""
    title: str
    aliases: tuple[str, ...]
    end_of_life: date | None
    architectures: tuple[str, ...]
    manager: Manager | None
    """None if postroj does not know it."""
    systemd: int | None
    packages: tuple[str, ...]
    """Packages that make the image bootable."""
    repositories: tuple[str, ...]
    """Shell commands that point the image's package manager to repositories which still carry its
    release."""
    sources: tuple[Source, ...]
    """In order of preference; empty if `unbootable`."""
    unbootable: str
    """Why it cannot be booted; '' if it can."""

    def sources_for(self, architecture: str) -> list[Source]:
        """Return the sources for an architecture, in order of preference."""
        return [
            source
            for source in self.sources
            if architecture in (source.architectures or self.architectures)
        ]

    def has_ended(self, today: date) -> bool:
        """Whether it no longer gets updates."""
        return self.end_of_life is not None and self.end_of_life < today

    def is_due(self, source: Source, today: date) -> bool:
        """Whether a source counts: an archive does only once the release has ended."""
        return not source.archived or self.has_ended(today)

    def is_supported(self, architecture: str, today: date) -> bool:
        """Whether it boots on an architecture and still gets updates."""
        bootable = not self.unbootable and bool(self.sources_for(architecture))
        return bootable and not self.has_ended(today)


def expand(template: str, architecture: str) -> str:
    """Fill the names of an architecture into a URL or product."""
    names = {
        "{arch}": architecture,
        "{debian_arch}": architectures.DEBIAN.get(architecture, architecture),
        "{oci_arch}": architectures.OCI.get(architecture, architecture),
    }
    for placeholder, name in names.items():
        template = template.replace(placeholder, name)
    return template


def imported_entry(name: str, architecture: str, source: Source) -> Entry:
    """Return an entry for an image that the user imports."""
    return Entry(
        name=name,
        distribution="",
        release="",
        version="",
        title=name,
        aliases=(),
        end_of_life=None,
        architectures=(architecture,),
        manager=None,
        systemd=None,
        packages=(),
        repositories=(),
        sources=(source,),
        unbootable="",
    )
