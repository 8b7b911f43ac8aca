"""The store under attack: killed pulls, crowds, full disks, read-only disks, other users."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.console import Silence
from postroj.image import architectures, upkeep
from postroj.image.store import store
from postroj.image.store.record import stored_images
from tests.support.cli import POSTROJ, eventually, postroj
from tests.support.images import put
from tests.support.nursery import Nursery
from tests.support.tars import tar
from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.integration

ARCH = architectures.of_this_host()
KILLED = -signal.SIGKILL
# Python itself may lie where only root may read.
READING = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *READING)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / "state"))
    return path


@pytest.fixture
def quick(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache in memory: a disk would make every pull wait until it is flushed."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        monkeypatch.setenv("POSTROJ_CACHE_DIR", folder)
        yield Path(folder)


def remains(cache: Path) -> list[str]:
    """What is there that no image needs: files, and processes, mounts and loops of this cache."""
    named = {path for record in store.records() for path in record.paths}
    named |= {cache / f"images/{name}-{arch}.json" for name, arch in stored_images()}
    found = [str(path) for path in (cache / "images").iterdir() if path not in named]
    found += [str(path) for path in (cache / "partial").iterdir() if path.name != ".lock"]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if str(cache) in line]
    loops = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    found += [path for path in loops if str(cache) in path]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            open_files = [str(path.readlink()) for path in (process / "fd").iterdir()]
        except OSError:  # it has ended
            continue
        if int(process.name) != os.getpid() and any(str(cache) in path for path in open_files):
            found.append(f"process {process.name}")
    return found


def damaged() -> list[str]:
    found = upkeep.verify(stored_images(), Silence())
    return [f"{one.name}: {one.faults}" for one in found if one.faults]


class Reader(threading.Thread):
    """Looks for images all the time, and at what is in their files."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names
        self.complaints: list[str] = []
        self.looks = 0
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set() and not self.complaints:
            for name in self.names:
                self.look(name)
            self.looks += 1
            time.sleep(0.005)

    def look(self, name: str) -> None:
        record = store.find(name, ARCH)
        if record is None:
            self.complaints.append(f"there was a moment without '{name}'")
            return
        with store.use(record.as_image()) as image:
            (path,) = image.layers
            if hashlib.sha256(path.read_bytes()).hexdigest()[:16] not in path.name:
                self.complaints.append(f"'{path.name}' is not what its name says")

    def __exit__(self, *exc_info: object) -> None:
        self.enough.set()
        self.join()

    def __enter__(self) -> Reader:
        self.start()
        return self


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[dict[str, str]]:
    """URLs of two small archives."""
    folder = tmp_path / "web"
    folder.mkdir()
    for number, name in enumerate(("one", "two")):
        noise = random.Random(number).randbytes(300_000)
        (folder / f"{name}.tar").write_bytes(tar(("usr/noise", {"data": noise})))
    with served(folder) as url:
        yield {name: f"{url}/{name}.tar" for name in ("one", "two")}


def test_store_is_whole_after_two_hundred_killed_pulls(
    quick: Path, tmp_path: Path, archives: dict[str, str]
) -> None:
    killed: list[float] = []
    unkilled: list[str] = []
    said = tmp_path / "said"

    def kill_some() -> None:
        with Nursery(archives, said) as nursery:
            while len(killed) < 200:
                name = random.choice(("one", "two"))
                moment = random.uniform(0, longest)
                status = nursery.run("-q", "pull", "--force", name, kill_after=moment)
                if status == KILLED:
                    killed.append(moment)
                elif status:
                    unkilled.append(f"ended with {status}: {said.read_text()}")
                    return

    with Nursery(archives, said) as nursery:
        times = []
        for name in (*archives, *archives):
            began = time.monotonic()
            assert nursery.run("-q", "pull", "--force", name) == 0, said.read_text()
            times.append(time.monotonic() - began)
        longest = min(1.0, 1.5 * min(times))
        with Reader(list(archives)) as reader:
            killers = [threading.Thread(target=kill_some) for _ in range(2)]
            for thread in killers:
                thread.start()
            for thread in killers:
                thread.join()
        assert unkilled == []
        assert reader.complaints == []
        assert reader.looks > 50
        # the next command, whatever it is
        for name in archives:
            assert nursery.run("-q", "pull", name) == 0, said.read_text()
    assert damaged() == []
    assert [record.name for record in store.records()] == ["one", "two"]
    assert eventually(lambda: not remains(quick)), remains(quick)
    assert "Traceback" not in said.read_text()


def test_store_serves_a_crowd_of_commands(
    quick: Path, tmp_path: Path, archives: dict[str, str]
) -> None:
    """What they may say to each other is that an image is in use, or not there."""
    commands: tuple[tuple[tuple[str, ...], set[int]], ...] = (
        (("-q", "pull", "--force", "one"), {0}),
        (("-q", "pull", "one"), {0}),
        (("-q", "remove", "one"), {0, 2, 4}),
        (("-q", "prune"), {0}),
        (("-q", "prune", "--all"), {0}),
        (("-q", "verify"), {0}),
        (("-q", "verify", "one"), {0, 2}),
        (("-q", "list-images", "--cached"), {0}),
        (("-q", "export", "--force", "one", str(tmp_path / "out.tar")), {0, 2}),
    )
    wrong = []

    def act(number: int) -> None:
        chance = random.Random(number)
        said = tmp_path / f"said-{number}"
        with Nursery(archives, said) as nursery:
            for _ in range(25):
                words, expected = chance.choice(commands)
                if (status := nursery.run(*words)) not in expected:
                    wrong.append(f"{words} ended with {status}:\n{said.read_text()}")
        if "Traceback" in (text := said.read_text()):
            wrong.append(text)

    crowd = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert wrong == []
    assert postroj("prune").returncode == 0
    assert damaged() == []
    assert eventually(lambda: not remains(quick)), remains(quick)


MAKE = """\
import sys
from pathlib import Path
from postroj.image import store
from tests.support.images import put
put("some", b"hsqs new" * 1000, "x86_64", fingerprints=("F" * 3000,))
"""


def in_namespace(script: str, *argv: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own; `$@` are words."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh"]
    return subprocess.run(
        [*words, *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )


def test_store_is_whole_after_a_full_disk_at_any_moment(cache: Path) -> None:
    """Whatever the last file was that had a place, the old image stays."""
    script = (
        'cache=$1; shift; mkdir -p "$cache"; mount -t tmpfs -o size=512k,nr_inodes=200 none $cache;'
        ' "$1" -c "$3"; size=$(($4 * 4096)); free=$(df -B1 --output=avail $cache | tail -1);'
        " head -c $((free - size)) /dev/zero > $cache/filler;"
        ' "$1" -m postroj -q verify;'
        ' "$1" -c "$2" 2>&1 | tail -1; "$1" -m postroj verify 2>&1'
    )
    old = MAKE.replace("hsqs new", "hsqs old")
    outcomes = set()
    for pages in range(9):
        done = in_namespace(script, cache, sys.executable, MAKE, old, pages)
        assert "some: clean, 0 MB" in done.stdout, (pages, done.stdout, done.stderr)
        assert done.returncode == 0, (pages, done.stdout, done.stderr)
        full = "ImageError: no space is left in the cache directory" in done.stdout
        assert full or "Error" not in done.stdout, (pages, done.stdout)
        outcomes.add(full)
    assert outcomes == {True, False}


@pytest.fixture
def stored(cache: Path, image: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a copy of the image of the tests."""
    monkeypatch.delenv("POSTROJ_CACHE_DIR")
    record = store.require(image, ARCH)
    (cache / "images").mkdir(parents=True)
    for path in record.paths:
        try:
            (cache / "images" / path.name).hardlink_to(path)
        except OSError:
            shutil.copy(path, cache / "images")
    shutil.copy(record.path.parent / f"{image}-{ARCH}.json", cache / "images")
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(cache))
    return cache


def test_store_on_a_read_only_disk_can_be_used(stored: Path, image: str, tmp_path: Path) -> None:
    read_only = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", read_only, stored]
        return subprocess.run(
            [*map(str, argv), *POSTROJ, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    assert image in run("list-images", "--cached").stdout
    done = run("verify")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, image)
    done = run("run", "--image", image, "--", "cat", "/etc/hostname")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postroj-")
    assert run("lock", "--file", tmp_path / "a.lock").returncode == 0
    assert run("export", image, tmp_path / "a.squashfs").returncode == 0
    for words in (["pull", "--force", image], ["remove", image], ["prune"]):
        done = run("-q", *words)
        assert done.returncode == 4, words
        first, evidence, *_ = done.stderr.splitlines()
        assert first == f"error: the cache directory '{stored}' cannot be used"
        assert "Read-only file system" in evidence
        assert "hint: `POSTROJ_CACHE_DIR=DIR postroj ...`" in done.stderr
        assert "Traceback" not in done.stderr


def test_store_that_the_user_may_only_read_can_be_used(
    stored: Path, image: str, tmp_path: Path
) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [*NOBODY, *POSTROJ, *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    assert image in run("list-images", "--cached").stdout
    done = run("verify")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, image)
    for words in (["pull", "--force", image], ["remove", image], ["prune", "--all"]):
        done = run("-q", *words)
        assert done.returncode == 4, words
        assert done.stderr.startswith(f"error: the cache directory '{stored}' cannot be used\n")
        assert "Permission denied" in done.stderr
        assert "Traceback" not in done.stderr
    assert store.find(image, ARCH)


class TestAnotherUsersCache:
    """What root may do with the cache of somebody without root, and the other way round."""

    @pytest.fixture(autouse=True)
    def theirs(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="theirs-") as folder:
            theirs = Path(folder)
            theirs.chmod(0o755)  # everybody has a way there
            self.archive = theirs / "root.tar"
            self.archive.write_bytes(tar())
            for name in ("cache", "state"):
                (theirs / name).mkdir()
                os.chown(theirs / name, 65534, 65534)
                monkeypatch.setenv(f"POSTROJ_{name.upper()}_DIR", str(theirs / name))
            done = self.as_nobody("import", "own", self.archive)
            assert done.returncode == 0, done.stderr
            yield theirs / "cache"

    def as_nobody(self, *words: object) -> subprocess.CompletedProcess[str]:
        argv = [*NOBODY, *POSTROJ, *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    def test_cache_of_another_user_serves_root_and_its_owner(self, theirs: Path) -> None:
        record = store.require("own", ARCH)
        assert record.path.stat().st_uid == 65534
        assert damaged() == []
        with store.use(record.as_image()):
            done = self.as_nobody("remove", "own")
            assert done.returncode == 4
            assert "is in use by a guest" in done.stderr
        # what root makes there does not keep its owner out
        put("of-root", b"hsqs", ARCH)
        assert self.as_nobody("import", "--force", "own", self.archive).returncode == 0
        assert self.as_nobody("remove", "of-root").returncode == 0
        assert postroj("prune").returncode == 0
        assert self.as_nobody("prune", "--all").returncode == 0
        assert store.records() == []

    def test_cache_of_another_user_is_swept_of_what_root_has_left(self, theirs: Path) -> None:
        from postroj.locking import Claim

        dead = Claim.make(store.partial_dir(), "pull")
        os.close(dead.descriptor)
        assert self.as_nobody("import", "--force", "own", self.archive).returncode == 0
        assert dead.path.exists()
        assert postroj("prune").returncode == 0
        assert not dead.path.exists()

    @pytest.mark.parametrize("folder", ["images", "locks"])
    def test_cache_of_another_user_with_links_is_refused_by_root(
        self, folder: str, theirs: Path, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("of root")
        victims = {
            "images": [store.require("own", ARCH).path],
            "locks": [theirs / "locks/store.lock", theirs / f"locks/own-{ARCH}.lock"],
        }[folder]
        for path in victims:
            path.unlink()
            path.symlink_to(secret)
        for words in (["verify", "own"], ["prune"], ["remove", "own"]):
            done = postroj("-q", *words)
            assert "Traceback" not in done.stderr
            assert done.returncode in ((0, 4) if folder == "images" else (4,))
        assert secret.read_text() == "of root"
        assert store.find("own", ARCH) is None or folder == "locks"
