"""What the catalog says of an image: records, and nothing that reads or fetches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from postroj.image import architectures
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from postroj.model import Manager


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One suite of an archive."""

    archive: str
    """Which archive of the distribution: `debian`, `debian-security`."""
    name: str


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A source: built from the packages of a mirror."""

    kind: ClassVar[SourceKind] = SourceKind.BOOTSTRAP
    verification: ClassVar[Verification] = Verification.SIGNATURE
    suites: tuple[Suite, ...]
    components: tuple[str, ...] = ("main",)
    keyring: Path
    """File of the host; one of its name in `image/keys/` stands in where it is missing."""
    keyring_package: str
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Simplestreams:
    """A source: the newest version of a product of an index."""

    kind: ClassVar[SourceKind] = SourceKind.SIMPLESTREAMS
    server: str
    """URL below which `streams/v1/index.json` lies, without a slash at its end."""
    product: str
    """As `debian:trixie:{debian_arch}:default`."""
    key: str = ""
    """File in `image/keys/` that signs the index, or the path of one; '' if none is known."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """Digests of an index that nobody signed are worth what TLS is worth."""
        return Verification.SIGNATURE if self.key else Verification.TLS


@dataclass(frozen=True, kw_only=True)
class Tarball:
    """A source: an archive that its publisher offers."""

    kind: ClassVar[SourceKind] = SourceKind.TARBALL
    url: str
    """May hold `{arch}`, `{debian_arch}`, `{oci_arch}`, and, in its file name, `*` for what the
    checksum file tells."""
    sha256: str = ""
    """Known beforehand; '' if the publisher changes the file in place."""
    checksums: str = ""
    """URL of a file of checksums."""
    signature: str = ""
    """URL of a detached signature of the checksums, or of the archive if there are none."""
    key: str = ""
    """As in `Simplestreams`; with `checksums` and no `signature`, these are signed inline."""
    subtree: str = ""
    """Folder of the archive that is the root, as `root.x86_64`."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """How strongly the archive is tied to its publisher."""
        if self.key:
            return Verification.SIGNATURE
        return Verification.DIGEST if self.sha256 else Verification.TLS


@dataclass(frozen=True, kw_only=True)
class Oci:
    """A source: an image of a registry."""

    kind: ClassVar[SourceKind] = SourceKind.OCI
    reference: str
    """As `quay.io/centos/centos:stream9`; may end in `@sha256:...`."""
    architectures: tuple[str, ...] = ()

    @property
    def verification(self) -> Verification:
        """A tag is worth what TLS is worth."""
        return Verification.DIGEST if "@sha256:" in self.reference else Verification.TLS


Source = Bootstrap | Simplestreams | Tarball | Oci
"""All kinds of sources."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image that could be had, or a name that is answered with why it cannot be."""

    name: str
    distribution: str
    release: str
    version: str
    """'' where the release has none."""
    title: str
    aliases: tuple[str, ...]
    end_of_life: date | None
    architectures: tuple[str, ...]
    manager: Manager | None
    """None where it is one that postroj does not know."""
    systemd: int | None
    packages: tuple[str, ...]
    """What must be installed so that it boots."""
    repositories: tuple[str, ...]
    """Shell commands, run in the image, that lead its package manager to repositories which still
    have its release."""
    sources: tuple[Source, ...]
    """In the order of preference; none if it is `unbootable`."""
    unbootable: str
    """Why it cannot be booted, '' if it can."""

    def sources_for(self, architecture: str) -> list[Source]:
        """Return the sources that have it for an architecture, in the order of preference."""
        return [
            source
            for source in self.sources
            if architecture in (source.architectures or self.architectures)
        ]

    def is_supported(self, architecture: str, today: date) -> bool:
        """Whether it boots there, and its distribution still mends it."""
        alive = self.end_of_life is None or self.end_of_life >= today
        return alive and not self.unbootable and bool(self.sources_for(architecture))


def expand(template: str, architecture: str) -> str:
    """Fill the names of an architecture into a URL or a product."""
    names = {
        "{arch}": architecture,
        "{debian_arch}": architectures.DEBIAN.get(architecture, architecture),
        "{oci_arch}": architectures.OCI.get(architecture, architecture),
    }
    for placeholder, name in names.items():
        template = template.replace(placeholder, name)
    return template


def imported_entry(name: str, architecture: str, source: Source) -> Entry:
    """Return an entry for what the user brings, of which no catalog knows anything."""
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
