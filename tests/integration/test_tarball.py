"""Archives of publishers: what ties them, and what is refused, with a real web server and gpg."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import DownloadError, HostError, ImageError, UsageError, VerificationError
from postroj.image import pull
from postroj.image.architectures import of_this_host
from postroj.image.catalog.entry import Bootstrap, Suite, Tarball
from postroj.image.pull import Request
from postroj.image.store import lockfile, store
from postroj.image.store.lockfile import LockedImage
from postroj.model import Manager, SourceKind, Verification
from tests.support.images import entry
from tests.support.keys import Signer, signer
from tests.support.pgp import LONG_AGO
from tests.support.tars import COMPRESSIONS, tar
from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.image.store.record import Record

pytestmark = pytest.mark.integration

NAME = "some-1"
FILE = "some-rootfs-1.10.tar.xz"
ARCHIVE = COMPRESSIONS["xz"](tar(("etc/motd", {"data": b"hello"})))
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
GNU = f"{'0' * 64}  other.tar.xz\n{SHA256} *./{FILE}\n{'1' * 64}  some-rootfs-1.9.tar.xz\n"
BSD = f"# comment\nSHA256 (some-rootfs-1.9.tar.xz) = {'1' * 64}\nSHA256 ({FILE}) = {SHA256}\n"


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    with signer(tmp_path_factory.mktemp("keys")) as one:
        yield one


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    with signer(tmp_path_factory.mktemp("keys"), "Stranger") as one:
        yield one


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a publisher."""
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / FILE).write_bytes(ARCHIVE)
    return folder


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    with served(site) as base:
        yield base


def pulled(url: str, file: str = FILE, **special: Any) -> Record:
    for key in ("checksums", "signature"):
        if key in special:
            special[key] = f"{url}/{special[key]}"
    source = Tarball(url=f"{url}/{file}", **special)
    return pull.pull(entry(NAME, source)).record


def nothing_is_left() -> bool:
    partial = store.partial_dir()
    return not store.records() and [path.name for path in partial.iterdir()] == [".lock"]


def test_tarball_without_digest_or_signature_has_verification_none(url: str) -> None:
    record = pulled(url)
    assert (record.source, record.url) == (SourceKind.TARBALL, f"{url}/{FILE}")
    assert (record.verification, record.artifact) == (Verification.NONE, SHA256)
    assert record.prepared is None


def test_tarball_with_a_digest_in_the_catalog_has_verification_digest(url: str) -> None:
    assert pulled(url, sha256=SHA256).verification is Verification.DIGEST


@pytest.mark.parametrize("text", [GNU, BSD, SHA256])
def test_tarball_with_unsigned_checksums_has_verification_none(
    text: str, site: Path, url: str
) -> None:
    (site / "SUMS").write_text(text)
    assert pulled(url, checksums="SUMS").verification is Verification.NONE


@pytest.mark.parametrize("text", [GNU, BSD])
def test_tarball_is_the_newest_that_the_checksums_list(text: str, site: Path, url: str) -> None:
    (site / "SUMS").write_text(text)
    assert pulled(url, "some-rootfs-*.tar.xz", checksums="SUMS").url == f"{url}/{FILE}"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_tarball_behind_a_link_has_the_checksum_of_the_build_beside_it(
    algorithm: str, site: Path, url: str
) -> None:
    digest = hashlib.new(algorithm, ARCHIVE).hexdigest()
    sums = site / f"{FILE}.{algorithm}"
    sums.write_text(f"{digest}  some-rootfs-1.10.1-Build3.7.tar.xz\n")
    assert pulled(url, checksums=f"{FILE}.sha256").url == f"{url}/{FILE}"
    sums.write_text(sums.read_text().replace(digest, "0" * len(digest)))
    store.remove(NAME, of_this_host())
    with pytest.raises(VerificationError, match="does not have the expected digest"):
        pulled(url, checksums=f"{FILE}.sha256")


def test_tarball_must_match_signed_checksums(site: Path, url: str, publisher: Signer) -> None:
    (site / "SUMS").write_text(GNU)
    (site / "SUMS.asc").write_bytes(publisher.sign(GNU.encode(), "--detach-sign"))
    record = pulled(url, checksums="SUMS", signature="SUMS.asc", key=str(publisher.key))
    assert record.verification is Verification.SIGNATURE
    assert record.fingerprints == (publisher.fingerprint,)


def test_tarball_must_match_checksums_signed_inline(
    site: Path, url: str, publisher: Signer
) -> None:
    (site / "SUMS").write_bytes(publisher.sign(BSD.encode(), "--clear-sign"))
    record = pulled(url, checksums="SUMS", key=str(publisher.key))
    assert record.fingerprints == (publisher.fingerprint,)


def test_tarball_must_match_its_own_signature(site: Path, url: str, publisher: Signer) -> None:
    (site / "archive.sig").write_bytes(publisher.sign(ARCHIVE, "--detach-sign"))
    record = pulled(url, signature="archive.sig", key=str(publisher.key))
    assert record.verification is Verification.SIGNATURE
    assert record.fingerprints == (publisher.fingerprint,)


def test_tarball_in_a_lock_file_still_needs_its_signature(
    site: Path, url: str, publisher: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "SUMS").write_bytes(publisher.sign(BSD.encode(), "--clear-sign"))
    lock = site.parent / "postroj.lock"
    lockfile.write(lock, [LockedImage.from_record(pulled(url))])
    monkeypatch.setenv("POSTROJ_LOCK", str(lock))
    store.remove(NAME, of_this_host())
    signed = {"checksums": "SUMS", "key": str(publisher.key)}
    assert pulled(url, "some-rootfs-*.tar.xz", **signed).verification is Verification.SIGNATURE
    store.remove(NAME, of_this_host())
    (site / "SUMS").write_text(BSD)
    with pytest.raises(VerificationError, match="is not signed"):
        pulled(url, "some-rootfs-*.tar.xz", **signed)


@pytest.mark.parametrize("signed", ["archive", "checksums"])
def test_tarball_signed_before_the_cached_one_is_refused(
    signed: str, site: Path, url: str, publisher: Signer
) -> None:
    fingerprint = publisher.gpg.key(f"Old {signed}", LONG_AGO)
    key = site / "old.asc"
    key.write_bytes(publisher.gpg.export(fingerprint, armour=True))
    data = ARCHIVE if signed == "archive" else BSD.encode()

    def sign(*options: str) -> None:
        signature = publisher.gpg.detach(data, fingerprint, *options)
        (site / "file.sig").write_bytes(signature)

    def again(*, force: bool = True) -> Record:
        sums = "" if signed == "archive" else f"{url}/SUMS"
        source = Tarball(
            url=f"{url}/{FILE}", signature=f"{url}/file.sig", key=str(key), checksums=sums
        )
        return pull.pull(entry(NAME, source), Request(force=force)).record

    (site / "SUMS").write_text(BSD)
    sign("--faked-system-time=20220202T000000!")
    record = again()
    assert record.signed == 1_643_760_000
    sign("--faked-system-time=20220201T000000!")
    with pytest.raises(VerificationError, match="was signed before the cached 'some-1'") as caught:
        again()
    assert caught.value.evidence == (
        "signed 2022-02-01 00:00:00 UTC, the cached one 2022-02-02 00:00:00 UTC"
    )
    assert store.require(NAME, of_this_host()) == record
    sign()
    assert again().artifact == record.artifact
    store.remove(NAME, of_this_host())
    sign("--faked-system-time=20220201T000000!")
    assert again().artifact == record.artifact


class TestRefused:
    """Each ends in one sentence, and nothing is left."""

    def test_pull_refuses_another_digest(self, url: str) -> None:
        with pytest.raises(VerificationError, match="does not have the expected digest") as caught:
            pulled(url, sha256="0" * 64)
        assert f"received SHA-256 {SHA256}" in caught.value.evidence
        assert nothing_is_left()

    def test_pull_refuses_other_bytes_than_the_checksums_say(self, site: Path, url: str) -> None:
        (site / "SUMS").write_text(GNU.replace(SHA256, "2" * 64))
        with pytest.raises(VerificationError, match="does not have the expected digest"):
            pulled(url, checksums="SUMS")
        assert nothing_is_left()

    def test_pull_refuses_a_page_in_place_of_the_archive(self, site: Path, url: str) -> None:
        (site / FILE).write_bytes(b"<html>please log in</html>")
        with pytest.raises(VerificationError, match="does not have the expected digest"):
            pulled(url, sha256=SHA256)
        with pytest.raises(ImageError, match="it is not a tar archive"):
            pulled(url)
        assert nothing_is_left()

    def test_pull_refuses_a_file_that_the_checksums_do_not_list(self, site: Path, url: str) -> None:
        (site / "SUMS").write_text("")
        with pytest.raises(VerificationError, match=f"does not list the file '{FILE}'"):
            pulled(url, checksums="SUMS")

    def test_pull_refuses_checksums_changed_after_signing(
        self, site: Path, url: str, publisher: Signer
    ) -> None:
        signed = publisher.sign(BSD.encode(), "--clear-sign")
        (site / "SUMS").write_bytes(signed.replace(b"# comment", b"# Comment"))
        with pytest.raises(VerificationError, match="is not what its publisher signed"):
            pulled(url, checksums="SUMS", key=str(publisher.key))
        assert nothing_is_left()

    def test_pull_ignores_lines_around_the_signed_text(
        self, site: Path, url: str, publisher: Signer
    ) -> None:
        """What a stranger puts before or behind it does not count."""
        evil = BSD.replace(SHA256, "3" * 64).encode()
        signed = publisher.sign(b"SHA256 (x) = " + b"4" * 64 + b"\n", "--clear-sign")
        (site / "SUMS").write_bytes(signed + b"\n" + evil)
        with pytest.raises(VerificationError, match="does not list the file"):
            pulled(url, checksums="SUMS", key=str(publisher.key))
        assert nothing_is_left()

    def test_pull_refuses_checksums_without_a_signature(
        self, site: Path, url: str, publisher: Signer
    ) -> None:
        (site / "SUMS").write_text(BSD)
        with pytest.raises(VerificationError, match="is not signed"):
            pulled(url, checksums="SUMS", key=str(publisher.key))

    def test_pull_refuses_a_missing_signature(
        self, site: Path, url: str, publisher: Signer
    ) -> None:
        (site / "SUMS").write_text(GNU)
        with pytest.raises(DownloadError, match="does not exist"):
            pulled(url, checksums="SUMS", signature="none", key=str(publisher.key))

    def test_pull_refuses_a_signature_of_somebody_else(
        self, site: Path, url: str, publisher: Signer, stranger: Signer
    ) -> None:
        (site / "SUMS").write_bytes(stranger.sign(BSD.encode(), "--clear-sign"))
        with pytest.raises(VerificationError, match="is signed by an unknown key"):
            pulled(url, checksums="SUMS", key=str(publisher.key))

    def test_pull_refuses_an_archive_changed_after_signing(
        self, site: Path, url: str, publisher: Signer
    ) -> None:
        other = COMPRESSIONS["xz"](tar(("etc/motd", {"data": b"evil!"})))
        (site / "archive.sig").write_bytes(publisher.sign(other, "--detach-sign"))
        with pytest.raises(VerificationError, match="is not what its publisher signed"):
            pulled(url, signature="archive.sig", key=str(publisher.key))
        assert nothing_is_left()


def test_pull_refuses_an_image_without_the_package_manager_of_its_entry(url: str) -> None:
    source = Tarball(url=f"{url}/{FILE}")
    with pytest.raises(ImageError, match="the image 'some-1' has no dnf") as caught:
        pull.pull(entry(NAME, source, manager=Manager.DNF))
    assert caught.value.evidence.endswith("package managers in it: apt")
    assert nothing_is_left()


def test_pull_takes_an_image_with_two_package_managers(site: Path, url: str) -> None:
    (site / FILE).write_bytes(tar(("usr/bin/zypper", {"data": b""})))
    some = entry(NAME, Tarball(url=f"{url}/{FILE}"), manager=Manager.ZYPPER)
    assert pull.pull(some).record.manager is Manager.ZYPPER


class TestSeveralSources:
    """The first that can be used here wins; a failed proof ends it."""

    LACKING = Bootstrap(
        suites=(Suite(archive="none", name="none"),),
        keyring=Path("/nonexistent/keyring"),
        keyring_package="none",
    )

    def test_pull_falls_back_to_the_next_source(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        missing = Tarball(url=f"{url}/missing.tar")
        good = Tarball(url=f"{url}/{FILE}")
        record = pull.pull(entry(NAME, self.LACKING, missing, good)).record
        assert record.url == f"{url}/{FILE}"
        said = [line.message for line in caplog.records]
        assert any("source bootstrap: the keyring" in line for line in said)
        assert f"{NAME}: trying source tarball instead" in said

    def test_pull_reports_the_failure_of_the_last_source(self, url: str) -> None:
        with pytest.raises(DownloadError, match="does not exist"):
            pull.pull(entry(NAME, Tarball(url=f"{url}/missing.tar")))

    def test_pull_does_not_fall_back_after_a_failed_verification(self, url: str) -> None:
        forged = Tarball(url=f"{url}/{FILE}", sha256="0" * 64)
        with pytest.raises(VerificationError, match="does not have the expected digest"):
            pull.pull(entry(NAME, forged, Tarball(url=f"{url}/{FILE}")))
        assert nothing_is_left()

    def test_pull_uses_only_the_kind_of_source_that_was_requested(self, url: str) -> None:
        some = entry(NAME, self.LACKING, Tarball(url=f"{url}/{FILE}"))
        with pytest.raises(HostError, match=r"the keyring .* is not on this host"):
            pull.pull(some, Request(kind=SourceKind.BOOTSTRAP))
        with pytest.raises(UsageError, match="has no source of the kind 'oci'"):
            pull.pull(some, Request(kind=SourceKind.OCI))
        record = pull.pull(some, Request(kind=SourceKind.TARBALL)).record
        assert record.source is SourceKind.TARBALL
