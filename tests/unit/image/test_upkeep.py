from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj.console import Silence
from postroj.errors import UsageError
from postroj.image import upkeep
from postroj.image.store import store
from postroj.image.store.record import read
from postroj.locking import Claim
from tests.support.images import put

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record

ARCH = "x86_64"
A = ("a", ARCH)
B = ("b", ARCH)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    return path


class Bar(Silence):
    def __init__(self) -> None:
        self.at: list[tuple[float, float]] = []

    def reach(self, done: float, total: float) -> None:
        self.at.append((done, total))


def faults(*images: tuple[str, str]) -> list[tuple[str, ...]]:
    return [finding.faults for finding in upkeep.verify(images, Silence())]


def kill(claim: Claim) -> None:
    """What the kernel does to the lock of a process that dies."""
    os.close(claim.descriptor)


def test_verify_finds_a_clean_store_clean() -> None:
    put("a", b"hsqs" * 1_000_000)
    put("b", b"hsqs")
    bar = Bar()
    found = list(upkeep.verify([A, B], bar))
    assert [(one.name, one.architecture, one.size, one.faults) for one in found] == [
        ("a", ARCH, 4_000_000, ()),
        ("b", ARCH, 4, ()),
    ]
    assert bar.at[-1] == (4_000_004, 4_000_004)
    assert len(bar.at) > 3


def test_verify_finds_a_flipped_bit() -> None:
    record = put("a", b"hsqs")
    record.path.chmod(0o644)
    record.path.write_bytes(b"hsqr")
    ((fault,),) = faults(A)
    assert fault.startswith(f"'{record.path.name}' was changed, its SHA-256 is ")


def test_verify_reads_layers_as_well() -> None:
    put("a", b"hsqs")
    with store.building(*A) as directory:
        layer = directory / "layer"
        layer.write_bytes(b"more")
        record = store.extend(store.require(*A), layer, ("some",), directory)
    assert faults(A) == [()]
    record.paths[1].write_bytes(b"most")
    ((fault,),) = faults(A)
    assert record.paths[1].name in fault


@pytest.mark.parametrize(
    ("content", "said"), [(b"hs", "has 2 bytes instead of 4"), (b"hsqs+", "has 5 bytes instead")]
)
def test_verify_finds_a_wrong_size(content: bytes, said: str) -> None:
    record = put("a", b"hsqs")
    record.path.write_bytes(content)
    assert said in faults(A)[0][0]


def test_verify_finds_a_missing_file() -> None:
    record = put("a", b"hsqs")
    record.path.unlink()
    assert faults(A) == [(f"'{record.path.name}' is missing",)]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_verify_refuses_links_and_pipes(kind: str, tmp_path: Path) -> None:
    record = put("a", b"hsqs")
    elsewhere = record.path.rename(tmp_path / "elsewhere")
    if kind == "link":
        record.path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(record.path)
    else:
        record.path.mkdir()
    assert faults(A) == [(f"'{record.path.name}' is not a regular file",)]
    assert store.find(*A) is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("{", "", "Extra data"),
        ('"size"', '"length"', "it has no key 'size'"),
        ('"name": "a"', '"name": "b"', "it belongs to 'b' for 'x86_64'"),
        ('"name": "a"', '"name": "../a"', "it belongs to '../a' for 'x86_64'"),
        ('"sha256": "', '"sha256": "../', "is not a SHA-256"),
        ('"source": "import"', '"source": "magic"', "'magic' is not a valid SourceKind"),
    ],
)
def test_verify_finds_a_damaged_record(old: str, new: str, why: str, cache: Path) -> None:
    put("a", b"hsqs")
    path = cache / "images/a-x86_64.json"
    path.write_text(path.read_text().replace(old, new, 1))
    ((fault,),) = faults(A)
    assert fault.startswith("its record cannot be read: ")
    assert why in fault
    assert store.find(*A) is None
    # it can be removed all the same, and its file with it
    assert store.remove(*A) + store.collect() == 4
    assert list((cache / "images").iterdir()) == []


def test_verify_refuses_a_record_that_is_a_link(cache: Path, tmp_path: Path) -> None:
    put("a", b"hsqs")
    path = cache / "images/a-x86_64.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in faults(A)[0][0]


def meddle(monkeypatch: pytest.MonkeyPatch, *, at: int, then: bytes | None) -> None:
    """Replace or remove `a` when its record has just been read for the `at`th time."""
    looks = iter(range(1, 100))

    def late(name: str, architecture: str) -> Record | None:
        found = read(name, architecture)
        if next(looks) == at:
            store.remove(name, architecture)
            if then:
                put("a", then)
        return found

    monkeypatch.setattr("postroj.image.store.store.read", late)
    monkeypatch.setattr("postroj.image.upkeep.read", late)


def test_find_sees_an_image_that_is_replaced_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", b"old")
    meddle(monkeypatch, at=1, then=b"new")
    found = store.find(*A)
    assert found
    assert found.path.read_bytes() == b"new"


@pytest.mark.parametrize("at", [1, 2])
def test_verify_reads_an_image_again_that_is_replaced_meanwhile(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a", b"old")
    meddle(monkeypatch, at=at, then=b"newer")
    (finding,) = upkeep.verify([A], Silence())
    assert (finding.size, finding.faults) == (5, ())


@pytest.mark.parametrize("at", [1, 2])
def test_verify_skips_an_image_that_is_removed_meanwhile(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a", b"old")
    meddle(monkeypatch, at=at, then=None)
    assert list(upkeep.verify([A], Silence())) == []


def test_prune_deletes_what_nobody_uses(cache: Path) -> None:
    record = put("a", b"hsqs")
    orphan = record.path.with_name("b-x86_64.0123456789abcdef.squashfs")
    orphan.write_bytes(b"12345")
    dead = Claim.make(store.partial_dir(), "pull")
    (dead.path / "image.squashfs").write_bytes(b"123456")
    download = Claim.make(cache / "downloads", "download")
    for claim in (dead, download):
        kill(claim)
    with Claim.make(store.partial_dir(), "pull") as living:
        assert upkeep.unused() == [(orphan.name, 5)]
        planned = upkeep.prune(everything=False, dry_run=True)
        assert orphan.exists() and dead.path.exists() and download.path.exists()
        done = upkeep.prune(everything=False, dry_run=False)
        assert living.path.exists()
    assert done == planned
    assert done.files == (orphan.name,)
    assert done.leftovers == (f"partial/{dead.path.name}", f"downloads/{download.path.name}")
    assert (done.images, done.held, done.freed) == ((), (), 11)
    assert not orphan.exists() and not dead.path.exists() and not download.path.exists()
    assert store.records() == [record]


def test_prune_everything_deletes_images_as_well() -> None:
    held, free = put("a", b"hsqs"), put("b", b"12345")
    with store.use(held.as_image()):
        planned = upkeep.prune(everything=True, dry_run=True)
        assert store.records() == [held, free]
        done = upkeep.prune(everything=True, dry_run=False)
        assert done == planned
        assert (done.images, done.held, done.freed) == ((B,), ("a",), 5)
        assert store.records() == [held]
    assert upkeep.prune(everything=True, dry_run=False).images == (A,)
    assert upkeep.prune(everything=True, dry_run=False).freed == 0


def test_prune_spares_an_orphan_in_use() -> None:
    old = put("a", b"old")
    with store.use(old.as_image()):
        put("a", b"new")
        done = upkeep.prune(everything=False, dry_run=False)
        assert (done.files, done.held) == ((), (old.path.name,))
    assert upkeep.prune(everything=False, dry_run=False).files == (old.path.name,)


def test_prune_in_an_empty_cache(cache: Path) -> None:
    done = upkeep.prune(everything=True, dry_run=False)
    assert (done.files, done.leftovers, done.images, done.freed) == ((), (), (), 0)
    assert not cache.exists()


def test_prune_in_a_cache_with_images_alone(cache: Path) -> None:
    """As CI may keep it."""
    put("a", b"hsqs")
    for path in (cache / "locks").iterdir():
        path.unlink()
    (cache / "locks").rmdir()
    assert upkeep.unused() == []
    assert faults(A) == [()]
    assert upkeep.prune(everything=True, dry_run=False).freed == 4


def test_resolve_takes_stored_names_and_aliases() -> None:
    put("my-own", b"hsqs")
    assert upkeep.resolve("my-own", ARCH) == "my-own"
    assert upkeep.resolve("debian-13", ARCH) == "debian-trixie"
    with pytest.raises(UsageError, match="there is no image 'my-own'"):
        upkeep.resolve("my-own", "aarch64")
