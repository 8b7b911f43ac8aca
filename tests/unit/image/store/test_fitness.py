from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from postroj.errors import (
    DownloadError,
    HostError,
    ImageError,
    PostrojError,
    UsageError,
    VerificationError,
)
from postroj.image import architectures, importer, inspect, obtain, pull
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Simplestreams, Tarball
from postroj.image.importer import ImportRequest
from postroj.image.sources import Built
from postroj.image.store import fitness, store
from postroj.image.store.record import Provenance
from postroj.model import Manager, SourceKind, Verification
from tests.support.images import SIGNED, entry, put

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.catalog.entry import Source
    from postroj.image.sources import Order

HERE = architectures.of_this_host()


@pytest.fixture(autouse=True)
def no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTROJ_LOCK", raising=False)
    monkeypatch.delenv("POSTROJ_REQUIRE", raising=False)


@pytest.mark.parametrize(
    ("required", "satisfied"),
    [
        ("", list(Verification)),
        ("digest", [Verification.SIGNATURE, Verification.DIGEST]),
        ("signature", [Verification.SIGNATURE]),
    ],
)
def test_required_verification_is_satisfied_by_the_stronger_ones(
    required: str, satisfied: list[Verification], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_REQUIRE", required)
    assert [one for one in Verification if one.satisfies(fitness.required())] == satisfied


@pytest.mark.parametrize("value", ["none", "tls", "Signature", "x"])
def test_required_refuses_other_values(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_REQUIRE", value)
    with pytest.raises(UsageError, match=f"POSTROJ_REQUIRE is '{value}', not one of signature"):
        fitness.required()


SIGNED_SOURCE = Simplestreams(server="https://one.example", product="p", key="k")
UNSIGNED_SOURCE = Tarball(url="https://two.example/root.tar")


class Sources:
    """What `pull` builds from: the signed source is down, the other one works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[SourceKind] = []
        self.signed_is_down = True
        self.proved = Verification.TLS
        monkeypatch.setattr(pull, "_build", self.build)
        contents = SimpleNamespace(managers=(Manager.APT,))
        monkeypatch.setattr(inspect, "inspect_squashfs", lambda path: contents)

    def build(self, source: Source, order: Order) -> Built:
        self.tried.append(source.kind)
        if source is SIGNED_SOURCE and self.signed_is_down:
            message = "it is down"
            raise HostError(message)
        file = order.directory / "image.squashfs"
        file.write_bytes(b"hsqs")
        provenance = Provenance(
            source=source.kind,
            url="",
            build="",
            artifact="a" * 64,
            compression="",
            verification=self.proved,
        )
        return Built(file, provenance)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(monkeypatch)


def test_required_signature_forbids_a_weaker_fall_back(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = entry("both", SIGNED_SOURCE, UNSIGNED_SOURCE)
    monkeypatch.setenv("POSTROJ_REQUIRE", "signature")
    with pytest.raises(HostError, match="it is down"):
        pull.pull(both)
    assert sources.tried == [SourceKind.SIMPLESTREAMS]
    with pytest.raises(UsageError, match="has no source that is verified by 'signature'"):
        pull.pull(entry("weak", UNSIGNED_SOURCE))
    monkeypatch.delenv("POSTROJ_REQUIRE")
    assert pull.pull(both).record.verification is Verification.TLS


def test_required_signature_is_asked_of_the_proof_not_of_the_catalog(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.signed_is_down = False
    monkeypatch.setenv("POSTROJ_REQUIRE", "signature")
    with pytest.raises(VerificationError, match="'one' was verified by 'tls', but 'signature'"):
        pull.pull(entry("one", SIGNED_SOURCE))
    assert store.find("one", HERE) is None


def test_cached_image_that_is_verified_too_weakly_is_pulled_again(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = put("debian-trixie", architecture=HERE, **(SIGNED | {"verification": "tls"}))
    own = put("my-own", architecture=HERE)
    monkeypatch.setenv("POSTROJ_REQUIRE", "digest")
    with pytest.raises(ImageError, match="was verified by 'tls', but 'digest' is required"):
        obtain.find_cached("debian-trixie")
    sources.proved = Verification.SIGNATURE
    assert pull.pull(catalog.find("debian-trixie")).fresh
    assert obtain.find_or_pull("debian-trixie").sha256 == weak.sha256
    assert obtain.find_or_pull("my-own") == own  # imported by the user


def imported(
    source: str, sha256: str | None = None, *, allow_unverified: bool = False
) -> PostrojError:
    """Return why nothing was imported from a server that does not answer."""
    request = ImportRequest(
        name="mine",
        source=source,
        architecture=HERE,
        sha256=sha256,
        allow_unverified=allow_unverified,
    )
    with pytest.raises(PostrojError) as caught:
        importer.import_image(request)
    return caught.value


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/root.raw", "HTTP://127.0.0.1:9/root.raw"])
def test_import_over_http_needs_a_digest_or_an_option(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = imported(url)
    assert isinstance(error, UsageError)
    assert error.message.startswith(f"'{url}' comes over http, where anybody")
    monkeypatch.setattr("postroj.net.time.sleep", lambda seconds: None)
    assert isinstance(imported(url, allow_unverified=True), DownloadError)
    assert isinstance(imported(url, "0" * 64), DownloadError)


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:9/a", "https://127.0.0.1:9/a", "docker://127.0.0.1:9/a:1"]
)
def test_import_obeys_the_required_verification(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_REQUIRE", "digest")
    error = imported(source, allow_unverified=True)
    assert isinstance(error, VerificationError)
    assert error.message.endswith("but 'digest' is required")
