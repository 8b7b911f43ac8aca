"""Which source an image is pulled from, and what is said if none works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.errors import DownloadError, HostError, UsageError, VerificationError
from postroj.image import architectures, pull
from postroj.image.catalog.entry import Bootstrap, Oci, Suite, Tarball
from postroj.image.pull import Request
from postroj.image.sources.mmdebstrap import failure
from postroj.image.store import lockfile
from postroj.image.store.lockfile import LockedImage
from tests.support.images import SIGNED, entry, put

if TYPE_CHECKING:
    from postroj.image.catalog.entry import Source
    from postroj.image.sources import Built, Order

MIRROR = Bootstrap(
    suites=(Suite(archive="debian", name="old"),),
    keyring=Path("/keyring.gpg"),
    keyring_package="keyring",
)
ARCHIVE = replace(MIRROR, mirrors={"debian": "http://snapshot.example/debian"})
TARBALL = Tarball(url="https://images.example/old.tar.xz")
OLD_TARBALL = replace(TARBALL, url="https://archive.example/old.tar.xz", archived=True)
OCI = Oci(reference="registry.example/old:1")
NO_TAR, NO_REGISTRY = "there is no tar", "the registry is gone"
TODAY = datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """The sources that were tried; all of them fail."""
    found: list[Source] = []

    def fail(source: Source, order: Order) -> Built:
        found.append(source)
        match source:
            case Bootstrap():
                raise failure(order.entry.name, "E: Release file for http://x is expired")
            case Tarball():
                raise HostError(NO_TAR)
            case _:
                raise DownloadError(NO_REGISTRY)

    monkeypatch.setattr(pull, "_build", fail)
    return found


@pytest.mark.parametrize(("days", "archived"), [(-1, True), (0, False), (300, False)])
def test_pull_tries_the_archive_only_after_the_end_of_a_release(
    days: int, archived: bool, tried: list[Source]
) -> None:
    old = entry("old", MIRROR, ARCHIVE, OCI, end_of_life=TODAY + timedelta(days=days))
    with pytest.raises(DownloadError, match="has expired"):
        pull.pull(old)
    assert tried == ([MIRROR, ARCHIVE, OCI] if archived else [MIRROR, OCI])


def test_pull_does_not_try_the_archive_of_a_release_without_an_end(tried: list[Source]) -> None:
    with pytest.raises(DownloadError):
        pull.pull(entry("old", MIRROR, ARCHIVE))
    assert tried == [MIRROR]


def lock(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock the image `old`, made from a source."""
    origin = SIGNED | {"source": source.kind, "archived": source.archived}
    path = tmp_path / "postroj.lock"
    record = put("old", architecture=architectures.of_this_host(), **origin)
    lockfile.write(path, [LockedImage.from_record(record)])
    monkeypatch.setenv("POSTROJ_LOCK", str(path))


@pytest.mark.parametrize("source", [MIRROR, ARCHIVE, TARBALL, OLD_TARBALL])
def test_pull_of_a_locked_image_tries_only_the_source_it_came_from(
    source: Source, tried: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(source, tmp_path, monkeypatch)
    sources = (MIRROR, ARCHIVE, TARBALL, OLD_TARBALL)
    old = entry("old", *sources, end_of_life=TODAY - timedelta(days=1))
    with pytest.raises((DownloadError, HostError)):
        pull.pull(old, Request(force=True))
    assert tried == [source]


def test_lock_file_does_not_select_an_archive_before_the_end_of_the_release(
    tried: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(ARCHIVE, tmp_path, monkeypatch)
    with pytest.raises(UsageError, match=r"names the source 'bootstrap \(archive\)'") as caught:
        pull.pull(entry("old", MIRROR, ARCHIVE, OCI, end_of_life=TODAY), Request(force=True))
    assert caught.value.evidence == "the catalog has bootstrap, oci"
    assert tried == []


def test_pull_reports_the_preferred_source_and_what_the_others_lacked(
    tried: list[Source], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DownloadError, match="Release file for 'old' has expired") as caught:
        pull.pull(entry("old", MIRROR, TARBALL, OCI))
    assert tried == [MIRROR, TARBALL, OCI]
    assert caught.value.evidence.splitlines()[1:] == [
        f"source tarball: {NO_TAR}",
        f"source oci: {NO_REGISTRY}",
    ]
    assert "--allow-expired" in caught.value.hint
    assert "old: trying source oci instead" in [line.message for line in caplog.records]


def test_pull_tries_no_other_source_after_a_failed_verification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Source] = []
    forged = "the signature is forged"

    def fail(source: Source, order: Order) -> Built:
        tried.append(source)
        raise VerificationError(forged)

    monkeypatch.setattr(pull, "_build", fail)
    with pytest.raises(VerificationError, match=forged):
        pull.pull(entry("old", MIRROR, TARBALL, OCI))
    assert tried == [MIRROR]
