"""Which source an image is pulled from, and what is said if none works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.errors import DownloadError, HostError
from postroj.image import pull
from postroj.image.catalog.entry import Bootstrap, Oci, Suite, Tarball
from postroj.image.sources.mmdebstrap import failure
from tests.support.images import entry

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
