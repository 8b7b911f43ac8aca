"""Package files: turn what a user typed, a path or a URL, into a file that a guest can read."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from postroj import console, net, paths
from postroj.container.spec import Bind
from postroj.errors import DownloadError, PackageError, UsageError
from postroj.locking import Claim, sweep
from postroj.model import SHA256
from postroj.probe.managers import installers
from postroj.probe.package import metadata
from postroj.probe.package.formats import SUFFIX, Format, read
from postroj.probe.package.metadata import UNKNOWN, Metadata
from postroj.probe.package.relations import key, names_others
from postroj.urls import redacted
from postroj.verdict import Package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.model import Manager

GUEST_DIR = "/run/postroj/packages"
"""The read-only folder of package files in a guest, below a tmpfs so that it leaves no trace."""
OLDER_DIR = "/run/postroj/older"
"""The folder of packages to upgrade from, which may have the same file names."""
MOST_SHOWN = 256
"""Characters of a value of the metadata in a report."""


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A package under test."""

    path: Path
    format: Format
    folder: str = GUEST_DIR
    """Its folder in the guest."""
    relations: str = ""
    """The same for packages that name the same other packages; '' if that is not known."""
    names_others: bool = True
    """Whether it names other packages, so that it may need some."""
    metadata: Metadata = UNKNOWN
    digest: str = ""
    """Its SHA-256; '' if that is not known."""
    damage: PackageError | None = None
    """Why it cannot be installed anywhere; None if it is a whole package."""

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.name

    @property
    def guest_path(self) -> str:
        """Its path in the guest, with the suffix that package managers expect."""
        name = re.sub(r"[\x00-\x1f]", "_", self.name)
        suffix = SUFFIX[self.format]
        fine = name.endswith(suffix) or f"{suffix}." in name
        return f"{self.folder}/{name if fine else f'{name}{suffix}'}"

    def as_package(self) -> Package:
        """Convert it to what a report shows."""
        said = self.metadata
        return Package(
            file=self.name,
            name=said.name[:MOST_SHOWN],
            version=said.full_version[:MOST_SHOWN],
            architecture=said.stated_architecture[:MOST_SHOWN],
            sha256=self.digest,
        )


def downloads(prefix: str) -> Claim:
    """Make a folder for downloads, and sweep those of dead processes."""
    folder = paths.cache_dir() / "downloads"
    try:
        sweep(folder)
        return Claim.make(folder, prefix)
    except OSError:  # a cache that cannot be written is usable as well
        return Claim.make(paths.state_dir(), prefix)


def refuse_urls(packages: Sequence[str]) -> None:
    """Refuse packages that `--offline` cannot download.

    :raises UsageError: if one of the packages is a URL.
    """
    if url := next((text for text in packages if "://" in text), None):
        message = f"`--offline` downloads nothing, so '{redacted(url)}' is not available"
        raise UsageError(message, hint="download it yourself, and give the path of the file")


def fetch(
    packages: Sequence[str], digests: Sequence[str], folder: Path, option: str = "--package"
) -> list[Path]:
    """Return a local file for every package; URLs are downloaded into `folder`.

    `digests` pin the files, if there are any; `option` is the option that named the packages.

    :raises UsageError: if a file does not exist, or the digests are not one for each package.
    :raises DownloadError: if a download fails, or a file does not have its pinned digest.
    """
    if digests and len(digests) != len(packages):
        message = f"`--package` is given {len(packages)} and `--sha256` {len(digests)} times"
        raise UsageError(message, hint="one `--sha256` for each package, in the same order")
    if wrong := next((pin for pin in digests if not SHA256.fullmatch(pin.lower())), None):
        message = f"'{wrong}' is not a SHA-256 digest"
        raise UsageError(message, hint="it has 64 hexadecimal digits")
    pins: Sequence[str | None] = digests or [None] * len(packages)
    paths = [_fetch(text, pin, folder, option) for text, pin in zip(packages, pins, strict=True)]
    names = [path.name for path in paths]
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = f"two packages have the file name '{twice}'"
        raise UsageError(message)
    return paths


def fetch_older(packages: Sequence[str], folder: Path) -> tuple[PackageFile, ...]:
    """Fetch the packages to upgrade from, which are not under test.

    :raises UsageError: if one of them is not a package.
    """
    (folder / "older").mkdir()
    paths = fetch(packages, (), folder / "older", "--upgrade-from")
    try:
        return tuple(recognise(path, OLDER_DIR) for path in paths)
    except PackageError as error:
        message = f"`--upgrade-from` cannot be used: {error.reason}"
        raise UsageError(message, hint=error.hint) from None


def _fetch(text: str, pin: str | None, folder: Path, option: str) -> Path:
    if "://" in text:
        try:
            name = urlsplit(text).path.rpartition("/")[2]
        except ValueError:
            message = f"'{redacted(text)}' is not a URL"
            raise UsageError(message) from None
        if not name.strip("."):
            name = "package"
        target = folder / name
        with console.progress(f"download {name}", unit="B") as progress:
            net.download(text, target, sha256=pin, progress=progress)
        return target
    path = Path(text).absolute()
    if not os.path.isfile(path):  # noqa: PTH113 also False for a name that is too long
        message = f"'{text}' is not a file"
        raise UsageError(message, hint=f"`{option}` takes a path or an http(s) URL")
    if pin is not None:
        digest = sha256(path)
        if digest != pin.lower():
            message = f"'{text}' is not the file that was pinned"
            raise DownloadError(
                message, evidence=f"expected SHA-256 {pin}\nreceived SHA-256 {digest}"
            )
    return path


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def recognise(path: Path, folder: str = GUEST_DIR) -> PackageFile:
    """Recognise a package by its bytes, and check that it is complete; guests see it in `folder`.

    :raises PackageError: if postroj does not know its format, or the file is cut off.
    :raises HostError: if this host lacks the tool that unpacks it.
    """
    found = read(path)
    return PackageFile(
        path=path,
        format=found.format,
        folder=folder,
        relations=key(found),
        names_others=names_others(found),
        metadata=metadata.read(found),
    )


def examine(path: Path) -> PackageFile:
    """Recognise a package under test as `recognise` does, and add its digest.

    One that is damaged is returned as well; its format is what its name says.

    :raises HostError: if this host lacks the tool that unpacks it.
    """
    try:
        file = recognise(path)
    except PackageError as error:
        formats = (form for form, suffix in SUFFIX.items() if suffix in path.name)
        file = PackageFile(path=path, format=next(formats, Format.DEB), damage=error)
    return replace(file, digest=sha256(path))


def binds(packages: Sequence[PackageFile]) -> tuple[Bind, ...]:
    """Return the mounts by which a guest sees package files."""
    return tuple(
        Bind(source=file.path, target=file.guest_path, read_only=True) for file in packages
    )


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """The package files for one image: those that its package manager installs.

    Thus the .deb and .rpm files of a project can be given together.
    """

    packages: tuple[PackageFile, ...]
    older: tuple[PackageFile, ...]
    unfit: str
    """The reason why nothing can be tested: a file for other package managers; '' if all fit."""


def fitting(
    packages: Sequence[PackageFile], older: Sequence[PackageFile], manager: Manager | None
) -> Fitting:
    """Choose the files that a package manager installs; all files if it installs none of them."""
    packages, older = _installable(packages, manager), _installable(older, manager)
    return Fitting(
        packages=tuple(packages), older=tuple(older), unfit=_unfit([*packages, *older], manager)
    )


def _installable(files: Sequence[PackageFile], manager: Manager | None) -> Sequence[PackageFile]:
    return [file for file in files if manager in installers(file.format)] or files


def _unfit(files: Sequence[PackageFile], manager: Manager | None) -> str:
    """Name the first file that the package manager does not install; '' if it installs all."""
    for file in files:
        able = installers(file.format)
        if manager not in able:
            has = f"'{manager}'" if manager else "no package manager that postroj knows"
            return f"'{file.name}' is for {' or '.join(able)}, the guest has {has}"
    return ""
