from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.errors import HostError, ImageError, UsageError
from postroj.image.store import os_errors, store
from postroj.model import Manager
from tests.support import images

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record

NAME, ARCH = "some-image", "x86_64"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    return path


def put(content: bytes = b"hsqs", name: str = NAME) -> Record:
    return images.put(name, content, ARCH, systemd=252, **images.SIGNED)


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").iterdir())


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in (cache / "partial").iterdir() if path.name != ".lock"]


def test_add_stores_an_image_and_its_record(cache: Path) -> None:
    record = put()
    assert record.path.read_bytes() == b"hsqs"
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o644
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f068868")
    assert leftovers(cache) == []
    data = json.loads((cache / "images/some-image-x86_64.json").read_text())
    assert data["sha256"].startswith(record.path.name.split(".")[1])
    assert data["fingerprints"] == list(images.SIGNED["fingerprints"])
    assert data["size"] == 4
    assert data["created"].endswith("+00:00")
    assert store.find(NAME, ARCH) == record
    assert store.records() == [record]
    image = store.require(NAME, ARCH).as_image()
    assert (image.name, image.architecture, image.layers) == (NAME, ARCH, (record.path,))
    assert (image.manager, image.systemd) == (Manager.APT, 252)


def test_record_without_systemd_is_read(cache: Path) -> None:
    record = put()
    path = cache / "images/some-image-x86_64.json"
    data = json.loads(path.read_text())
    del data["systemd"]
    path.write_text(json.dumps(data))
    assert store.find(NAME, ARCH) == replace(record, systemd=None)
    path.write_text(json.dumps(data | {"systemd": "of old"}))
    assert store.find(NAME, ARCH) is None


def test_find_in_an_empty_cache(cache: Path) -> None:
    assert store.find(NAME, ARCH) is None
    assert store.records() == []
    assert not cache.exists()
    with pytest.raises(UsageError, match="the image 'some-image' is not cached"):
        store.require(NAME, ARCH)


def test_find_ignores_a_record_without_its_file(cache: Path) -> None:
    put().path.unlink()
    assert files(cache) == ["some-image-x86_64.json"]
    assert store.find(NAME, ARCH) is None
    assert store.records() == []


def test_find_ignores_a_file_without_its_record(cache: Path) -> None:
    put()
    (cache / "images/some-image-x86_64.json").unlink()
    assert store.records() == []
    assert store.collect() == 4
    assert files(cache) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1}', "null"])
def test_find_ignores_a_broken_record(cache: Path, text: str) -> None:
    put()
    (cache / "images/some-image-x86_64.json").write_text(text)
    assert store.find(NAME, ARCH) is None
    assert put(b"again").path.read_bytes() == b"again"


def test_building_that_fails_leaves_nothing(cache: Path) -> None:
    store.prepare()
    with pytest.raises(RuntimeError), store.building(NAME, ARCH) as directory:  # noqa: PT012
        (directory / "image.squashfs").write_bytes(b"half")
        raise RuntimeError
    assert leftovers(cache) == []
    assert store.records() == []


def test_prepare_sweeps_what_a_killed_process_left(cache: Path) -> None:
    put()
    dead = cache / "partial/pull-01234567"
    (dead / "mmdebstrap.x/etc").mkdir(parents=True)
    (dead / "lock").touch()
    with store.building("other", ARCH) as alive:
        store.prepare()
        assert leftovers(cache) == [alive.name]


def test_collect_deletes_a_replaced_file(cache: Path) -> None:
    old, new = put(b"old"), put(b"newer")
    assert old.path.exists()
    assert store.collect() == 3
    assert files(cache) == [new.path.name, "some-image-x86_64.json"]


def test_add_of_the_same_bytes_keeps_the_file(cache: Path) -> None:
    put(b"same")
    record = put(b"same")
    assert store.collect() == 0
    assert record.path.read_bytes() == b"same"


def test_file_in_use_outlives_its_replacement() -> None:
    old = put(b"old")
    with store.use(old.as_image()) as held:
        assert held.layers[0] == old.path
        new = put(b"newer")
        assert store.collect() == 0
        assert old.path.read_bytes() == b"old"
        assert store.find(NAME, ARCH) == new
    assert store.collect() == 3
    assert not old.path.exists()


def test_use_yields_the_replacement() -> None:
    image = put(b"old").as_image()
    new = put(b"newer")
    store.collect()
    with store.use(image) as held:
        assert held.layers[0] == new.path


def test_use_refuses_an_image_that_was_removed() -> None:
    image = put().as_image()
    store.remove(NAME, ARCH)
    with pytest.raises(UsageError, match="is not cached"), store.use(image):
        pass


def test_use_notices_a_file_deleted_before_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    image = put(b"old").as_image()
    new: list[Record] = []
    flock = fcntl.flock

    def late(descriptor: int, kind: int) -> None:
        if kind == fcntl.LOCK_SH and not new:
            new.append(put(b"newer"))
            assert store.collect() == 3
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with store.use(image) as held:
        assert held.layers[0] == new[0].path


def test_remove_deletes_record_and_files(cache: Path) -> None:
    put()
    assert store.remove(NAME, ARCH) == 4
    assert files(cache) == []
    with pytest.raises(UsageError, match="is not cached"):
        store.remove(NAME, ARCH)


def test_remove_refuses_an_image_in_use() -> None:
    record = put()
    with store.use(record.as_image()):
        with pytest.raises(ImageError, match="the image 'some-image' is in use by a guest"):
            store.remove(NAME, ARCH)
        assert store.find(NAME, ARCH) == record
    store.remove(NAME, ARCH)


def test_building_waits_for_another_process() -> None:
    store.prepare()
    order = []

    def other() -> None:
        with store.building(NAME, ARCH):
            order.append("other")

    with store.building(NAME, ARCH):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_prepare_in_a_cache_that_cannot_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "file/cache"))
    with pytest.raises(HostError, match=r"the cache directory '.*/file/cache' cannot be") as caught:
        store.prepare()
    assert "POSTROJ_CACHE_DIR" in caught.value.hint


def test_prepare_without_permission_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", "/sys/postroj")  # where root must not write, either
    with pytest.raises(HostError, match="cannot be used"):
        store.prepare()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_os_errors_explain_a_full_disk(cache: Path) -> None:
    store.prepare()
    with pytest.raises(ImageError, match="no space is left") as caught, os_errors.explained():  # noqa: PT012
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)
    assert "MB are free" in caught.value.evidence
    assert str(cache) in caught.value.message
