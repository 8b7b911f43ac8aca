from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import ImageError, UsageError, VerificationError
from postroj.image import architectures, inspect, obtain, pull
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Tarball
from postroj.image.pull import Request
from postroj.image.sources import Built
from postroj.image.store import lockfile, store
from postroj.image.store.lockfile import LockedImage
from postroj.image.store.record import Provenance
from postroj.model import Manager, SourceKind, Verification
from tests.support.images import entry, put
from tests.support.tars import tar
from tests.support.web import Quiet, served

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.sources import Order

BOOTSTRAPPED = Provenance(
    source=SourceKind.BOOTSTRAP,
    url="http://mirror.example/debian",
    build="trixie",
    artifact="",
    compression="lz4",
    verification=Verification.SIGNATURE,
    fingerprints=("A" * 40, "B" * 40),
    allow_expired=True,
    epoch=1_700_000_000,
    mirrors=("debian=http://mirror.example/debian",),
)
FETCHED = Provenance(
    source=SourceKind.TARBALL,
    url='http://mirror.example/"odd"\\é.tar',
    build="",
    artifact="c" * 64,
    compression="lz4",
    verification=Verification.TLS,
)
TRIXIE = LockedImage(
    name="debian-trixie", architecture="x86_64", sha256="d" * 64, provenance=BOOTSTRAPPED
)
OTHER = LockedImage(name="other", architecture="aarch64", sha256="e" * 64, provenance=FETCHED)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("POSTROJ_LOCK", raising=False)
    monkeypatch.setattr(architectures, "of_this_host", lambda: "x86_64")
    return folder


def test_load_reads_what_write_wrote(here: Path) -> None:
    lockfile.write(here / "postroj.lock", [OTHER, TRIXIE])
    assert lockfile.load(here / "postroj.lock") == [TRIXIE, OTHER]
    assert [path.name for path in here.iterdir()] == ["postroj.lock"]


def test_dump_does_not_depend_on_the_order() -> None:
    text = lockfile.dump([OTHER, TRIXIE])
    assert text == lockfile.dump([TRIXIE, OTHER])
    assert text.startswith("# Exact images, written by `postroj lock`.")
    assert "\nschema = 1\n\n[[image]]\nname = " in text
    assert 'fingerprints = [\n    "AAAA' in text
    (trixie, other) = tomllib.loads(text)["image"]
    assert trixie["epoch"] == 1_700_000_000
    assert other["url"] == FETCHED.url
    assert "epoch" not in other
    assert tomllib.loads(lockfile.dump([])) == {"schema": 1}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("schema = 1", "schema = 2", "its schema is 2, not 1"),
        ("schema = 1", "", "its schema is None, not 1"),
        ("[[image]]", "[[image", ""),
        ("[[image]]", "[image]", ""),
        ('sha256 = "d', 'sha256 = "../d', "is not a SHA-256"),
        ('source = "bootstrap"', 'source = "magic"', "'magic'"),
        ('artifact = ""\n', "", ""),
        ('artifact = ""', 'artifact = "../x"', "is not a SHA-256"),
    ],
)
def test_load_refuses_a_damaged_file(old: str, new: str, why: str, here: Path) -> None:
    path = here / "postroj.lock"
    path.write_text(lockfile.dump([TRIXIE]).replace(old, new))
    with pytest.raises(UsageError, match="lock file") as caught:
        lockfile.load(path)
    assert why in caught.value.evidence
    assert caught.value.hint == "`postroj lock` rewrites it"


def test_load_refuses_a_missing_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lockfile.find("debian-trixie", "x86_64") is None
    monkeypatch.setenv("POSTROJ_LOCK", "elsewhere.lock")
    with pytest.raises(UsageError, match=r"project/elsewhere\.lock' cannot be read"):
        lockfile.find("debian-trixie", "x86_64")


def test_lock_file_in_effect(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lockfile.write(here / "postroj.lock", [TRIXIE])
    lockfile.write(here / "another.lock", [OTHER])
    assert lockfile.find("debian-trixie", "x86_64") == TRIXIE
    assert lockfile.find("debian-trixie", "aarch64") is None
    assert lockfile.find("other", "aarch64") is None
    monkeypatch.setenv("POSTROJ_LOCK", "another.lock")
    assert lockfile.find("other", "aarch64") == OTHER
    monkeypatch.setenv("POSTROJ_LOCK", "")
    assert lockfile.find("debian-trixie", "x86_64") is None


def test_find_refuses_a_file_of_another_user(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "postroj.lock"
    lockfile.write(path, [TRIXIE])
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert lockfile.find("debian-trixie", "x86_64") == TRIXIE
    for method in ("lstat", "stat"):  # so the folder is that user's, too
        real = getattr(type(path), method)

        def of_another(self: Path, real: Any = real, **how: Any) -> Any:
            return os.stat_result((*real(self, **how)[:4], 4711, *real(self, **how)[5:]))

        monkeypatch.setattr(type(path), method, of_another)
    with pytest.raises(UsageError, match="belongs to another user"):
        lockfile.find("debian-trixie", "x86_64")
    monkeypatch.setenv("SUDO_UID", "4711")
    assert lockfile.find("debian-trixie", "x86_64") == TRIXIE
    monkeypatch.delenv("SUDO_UID")
    monkeypatch.setenv("POSTROJ_LOCK", str(path))
    assert lockfile.find("debian-trixie", "x86_64") == TRIXIE


def test_find_selects_by_name_and_architecture() -> None:
    assert TRIXIE.matches("", "d" * 64)
    assert not TRIXIE.matches("", "f" * 64)
    assert OTHER.matches("c" * 64, "f" * 64)
    assert not OTHER.matches("", "e" * 64)
    TRIXIE.check(BOOTSTRAPPED, "d" * 64)
    with pytest.raises(VerificationError, match="the mirror of 'debian-trixie' has moved on") as no:
        TRIXIE.check(BOOTSTRAPPED, "f" * 64)
    assert "snapshot mirror (of 2023-11-14 or later)" in no.value.hint
    assert no.value.evidence.splitlines() == [
        f"locked: {'d' * 64}, http://mirror.example/debian",
        f"now:    {'f' * 64}, http://mirror.example/debian",
    ]
    with pytest.raises(VerificationError, match="'other' is no longer the image in the lock file"):
        OTHER.check(BOOTSTRAPPED, "e" * 64)


class Source:
    """Makes images of the content it has, and remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.content = b"hsqs one"
        self.orders: list[Order] = []
        monkeypatch.setattr(pull, "_build", self.build)
        contents = SimpleNamespace(managers=(Manager.APT,))
        monkeypatch.setattr(inspect, "inspect_squashfs", lambda path: contents)

    def build(self, source: object, order: Order) -> Built:
        self.orders.append(order)
        file = order.directory / "image.squashfs"
        file.write_bytes(self.content)
        return Built(file, BOOTSTRAPPED)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(monkeypatch)


def lock(here: Path) -> LockedImage:
    locked = LockedImage.from_record(store.require("debian-trixie", "x86_64"))
    lockfile.write(here / "postroj.lock", [locked])
    return locked


def test_pull_reproduces_the_locked_image(here: Path, source: Source) -> None:
    trixie = catalog.find("debian-trixie")
    assert pull.pull(trixie).fresh
    locked = lock(here)
    assert not pull.pull(trixie).fresh
    assert pull.pull(trixie, Request(force=True)).fresh
    assert [order.pinned for order in source.orders] == [None, locked.provenance]


def test_pull_replaces_a_cached_image_that_is_not_locked(here: Path, source: Source) -> None:
    trixie = catalog.find("debian-trixie")
    first = pull.pull(trixie).record
    lock(here)
    put("debian-trixie", b"hsqs another")
    assert obtain.find_or_pull("debian-13").sha256 == first.sha256
    assert len(source.orders) == 2


def test_image_of_a_lock_file_is_not_used_without_it(
    here: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull.pull(catalog.find("debian-trixie"))
    lock(here)
    put("debian-trixie", b"hsqs another")
    old = obtain.find_or_pull("debian-trixie")
    assert old.locked
    assert obtain.find_cached("debian-trixie") == old
    monkeypatch.setenv("POSTROJ_LOCK", "")
    with pytest.raises(ImageError, match="was pulled for a lock file that is not in effect"):
        obtain.find_cached("debian-trixie")
    source.content = b"hsqs current"
    current = obtain.find_or_pull("debian-trixie")
    assert not current.locked
    assert current.sha256 != old.sha256


def test_use_refuses_a_replacement_that_is_for_a_lock_file_alone(
    here: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull.pull(catalog.find("debian-trixie"))
    lock(here)
    image = put("debian-trixie", b"hsqs another").as_image()
    assert pull.pull(catalog.find("debian-trixie")).record.locked  # by another process, meanwhile
    monkeypatch.setenv("POSTROJ_LOCK", "")
    with pytest.raises(ImageError, match="was pulled for a lock file"), store.use(image):
        pass


def test_image_that_a_lock_file_records_stays_in_use_without_it(
    here: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pull.pull(catalog.find("debian-trixie")).record
    lock(here)
    assert obtain.find_or_pull("debian-trixie") == record
    monkeypatch.setenv("POSTROJ_LOCK", "")
    assert obtain.find_or_pull("debian-trixie") == record


def test_check_explains_a_mirror_that_has_moved_on(
    here: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    trixie = catalog.find("debian-trixie")
    pull.pull(trixie)
    lock(here)
    source.content = b"hsqs two"
    before = store.require("debian-trixie", "x86_64")
    with pytest.raises(VerificationError, match="has moved on"):
        pull.pull(trixie, Request(force=True))
    assert store.require("debian-trixie", "x86_64") == before
    monkeypatch.setenv("POSTROJ_LOCK", "")
    after = pull.pull(trixie, Request(force=True)).record
    assert after.sha256 != before.sha256


def test_pull_refuses_another_source_than_the_locked_one(here: Path, source: Source) -> None:
    trixie = catalog.find("debian-trixie")
    pull.pull(trixie)
    lock(here)
    with pytest.raises(UsageError, match="names the source 'bootstrap' for 'debian-trixie'"):
        pull.pull(trixie, Request(kind=SourceKind.OCI))


def test_imported_image_that_differs_from_the_locked_one(here: Path) -> None:
    record = put("my-own", b"hsqs")
    lockfile.write(here / "postroj.lock", [LockedImage.from_record(record)])
    assert obtain.find_or_pull("my-own") == record
    put("my-own", b"hsqs other")
    with pytest.raises(VerificationError, match="the imported image 'my-own' is not the one"):
        obtain.find_or_pull("my-own")


class Redirecting(Quiet):
    """Sends everybody to a mirror with a signed URL."""

    def do_GET(self) -> None:
        if "?" in self.path:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", f"/mirror{self.path}?sig=SECRET")
        self.end_headers()


def test_lock_file_has_the_url_of_the_catalog_not_that_of_a_redirect(
    here: Path, tmp_path: Path
) -> None:
    (tmp_path / "web" / "mirror").mkdir(parents=True)
    (tmp_path / "web" / "mirror" / "root.tar").write_bytes(tar())
    with served(tmp_path / "web", Redirecting) as url:
        source = Tarball(url=f"{url}/root.tar")
        record = pull.pull(entry("tiny", source, architectures=("x86_64",))).record
    assert record.artifact == hashlib.sha256(tar()).hexdigest()
    assert LockedImage.from_record(record).provenance.url == f"{url}/root.tar"


@pytest.mark.parametrize("name", ["root.tar", "root-*.tar"])
def test_lock_file_does_not_lead_to_another_server(name: str, here: Path, tmp_path: Path) -> None:
    listed = name.replace("*", "1")
    evil = tar(("etc/evil", {"data": b"evil"}))
    for folder, content in (("web", tar()), ("elsewhere", evil)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / listed).write_bytes(content)
    sums = tmp_path / "web" / "SUMS"
    sums.write_text(f"{hashlib.sha256(tar()).hexdigest()}  {listed}\n")
    with served(tmp_path / "web") as url, served(tmp_path / "elsewhere") as elsewhere:
        source = Tarball(url=f"{url}/{name}", checksums=f"{url}/SUMS")
        tiny = entry("tiny", source, architectures=("x86_64",))
        locked = LockedImage.from_record(pull.pull(tiny).record)
        changes: dict[str, Any] = {
            "url": f"{elsewhere}/{listed}",
            "artifact": hashlib.sha256(evil).hexdigest(),
        }
        led = replace(locked, provenance=replace(locked.provenance, **changes))
        lockfile.write(here / "postroj.lock", [led])
        with pytest.raises(VerificationError, match=f"'{url}/{listed}' does not have the expected"):
            pull.pull(tiny)
        sums.unlink()  # the digest of the lock file is worth more
        led = replace(locked, provenance=replace(locked.provenance, url=f"{elsewhere}/{listed}"))
        lockfile.write(here / "postroj.lock", [led])
        assert pull.pull(tiny, Request(force=True)).record.url == f"{url}/{listed}"


def test_lock_file_selects_no_file_that_the_catalog_does_not_mean(here: Path) -> None:
    tiny = entry("tiny", Tarball(url="http://mirror.example/root-*.tar", checksums="http://x"))
    lockfile.write(here / "postroj.lock", [replace(OTHER, name="tiny", architecture="x86_64")])
    with pytest.raises(VerificationError, match="which the lock file names") as caught:
        pull.pull(tiny)
    assert caught.value.evidence == "http://mirror.example/root-*.tar"


def test_check_refuses_an_archive_that_was_replaced(here: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    archive = tmp_path / "web" / "root.tar"
    archive.write_bytes(tar())
    with served(tmp_path / "web") as url:
        tiny = entry("tiny", Tarball(url=f"{url}/root.tar"), architectures=("x86_64",))
        record = pull.pull(tiny).record
        assert record.verification is Verification.NONE
        lockfile.write(here / "postroj.lock", [LockedImage.from_record(record)])
        again = pull.pull(tiny, Request(force=True)).record
        assert again.artifact == record.artifact
        # a digest that was known before is more than what the server says
        assert again.verification is Verification.DIGEST
        archive.write_bytes(tar(("etc/new", {"data": b"new"})))
        with pytest.raises(VerificationError, match="does not have the expected digest"):
            pull.pull(tiny, Request(force=True))
        assert store.require("tiny", "x86_64") == again
