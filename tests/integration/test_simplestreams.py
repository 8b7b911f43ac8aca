"""A simplestreams server as there are real ones: nginx, with signatures by gpg."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.console import Silence
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import VerificationError
from postroj.image import architectures, pull
from postroj.image.catalog.entry import Simplestreams
from postroj.image.pull import Request
from postroj.image.sources import simplestreams
from postroj.image.store import store
from postroj.image.unpack import superblock
from postroj.model import SourceKind, Verification
from postroj.prepare import obtain
from tests.support.cli import eventually
from tests.support.images import entry, order
from tests.support.keys import signer
from tests.support.nginx import Nginx
from tests.support.streams import PRODUCT, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.console import Progress
    from postroj.image.catalog.entry import Entry
    from postroj.image.sources import Built
    from tests.support.keys import Signer

NAME = "debian-trixie"
OLD, NEW, NEWER = "20261119_05:24", "20261120_05:24", "20261121_05:24"
LARGE = 200_000_000
MOST_MEMORY = 150_000_000
"""Bytes."""

BODY = random.Random(3).randbytes(8_000_000)
FILE = superblock.FIELDS.pack(b"hsqs", 4, 0, len(BODY)) + BODY


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    with signer(tmp_path_factory.mktemp("publisher")) as one:
        yield one


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "www").mkdir()
    return Tree(tmp_path / "www")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to make an image in."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def wanted(url: str, key: object = "") -> Entry:
    return entry(NAME, Simplestreams(server=url, product=PRODUCT, key=str(key)), systemd=257)


def build(url: str, work: Path, progress: Progress | None = None) -> Built:
    """Do without the store, and without a look into what is no real image."""
    source = Simplestreams(server=url, product=PRODUCT)
    return simplestreams.build(
        source, order(entry(NAME, source), work, progress=progress or Silence())
    )


@pytest.fixture
def real(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A squashfs that boots, and from here on a cache that does not have it."""
    (base, *_) = store.require(image, architectures.of_this_host()).paths
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    return base.read_bytes()


def test_simplestreams_image_is_pulled_and_boots(
    real: bytes, tree: Tree, tmp_path: Path, state_dir: Path, publisher: Signer
) -> None:
    digest = tree.add(NEW, real)
    tree.publish(publisher.gpg, publisher.fingerprint)
    with Nginx(tree.folder, tmp_path / "nginx") as server:
        record = pull.pull(wanted(server.url, publisher.key)).record
    assert (record.source, record.build) == (SourceKind.SIMPLESTREAMS, NEW)
    assert (record.artifact, record.sha256, record.compression) == (digest, digest, "")
    assert record.verification is Verification.SIGNATURE
    assert record.fingerprints == (publisher.fingerprint,)
    with obtain(NAME) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        assert stored.systemd == 257
        assert guest.run(["cat", "/etc/debian_version"]).text.startswith("13")


def test_simplestreams_gives_the_newest_build(
    real: bytes, tree: Tree, tmp_path: Path, publisher: Signer
) -> None:
    again = Request(force=True)
    with Nginx(tree.folder, tmp_path / "nginx") as server:
        image = wanted(server.url, publisher.key)
        tree.add(NEW, real)
        tree.publish(publisher.gpg, publisher.fingerprint)
        assert pull.pull(image).record.build == NEW
        tree.add(NEWER, real)
        tree.publish(publisher.gpg, publisher.fingerprint)
        assert pull.pull(image, again).record.build == NEWER
        del tree.versions[NEWER]
        tree.publish(publisher.gpg, publisher.fingerprint)
        with pytest.raises(VerificationError, match="offers an older 'debian-trixie'"):
            pull.pull(image, again)
        assert [record.build for record in store.records()] == [NEWER]
        store.remove(NAME, architectures.of_this_host())
        assert pull.pull(image).record.build == NEW


def test_simplestreams_resumes_after_the_server_was_restarted(
    tree: Tree, tmp_path: Path, work: Path
) -> None:
    digest = tree.add(NEW, FILE)
    tree.publish()
    slowly = "location /images/ { limit_rate_after 1m; limit_rate 8m; }"
    with Nginx(tree.folder, tmp_path / "nginx", server=slowly) as server:

        class Restart(Silence):
            at = 0.0

            def reach(self, done: float, total: float) -> None:
                if done > 1_000_000 and not self.at:
                    self.at = done
                    server.stop()
                    server.start()

        progress = Restart()
        built = build(server.url, work, progress)
        # nginx writes down what it has said after it has said it
        assert eventually(lambda: any(line.startswith("206 ") for line in server.answers))
    assert progress.at < len(FILE) / 2
    assert hashlib.sha256(built.file.read_bytes()).hexdigest() == digest


def test_simplestreams_follows_a_redirect_to_another_server(
    tree: Tree, tmp_path: Path, work: Path
) -> None:
    tree.add(NEW, FILE)
    tree.publish()
    with Nginx(tree.folder, tmp_path / "mirror") as mirror:
        away = f"location /images/ {{ return 302 {mirror.url}$request_uri; }}"
        with Nginx(tree.folder, tmp_path / "nginx", server=away) as server:
            built = build(server.url, work)
    assert built.file.read_bytes() == FILE
    assert built.provenance.url.startswith(f"{server.url}/images/")


def test_simplestreams_waits_for_a_busy_server(tree: Tree, tmp_path: Path, work: Path) -> None:
    tree.add(NEW, FILE)
    tree.publish()
    busy = "limit_req_zone $binary_remote_addr zone=all:1m rate=3r/s; limit_req_status 429;"
    with Nginx(tree.folder, tmp_path / "nginx", http=busy, server="limit_req zone=all;") as server:
        assert build(server.url, work).file.read_bytes() == FILE
        assert any(line.startswith("429 ") for line in server.answers)


def test_simplestreams_without_a_digest_has_verification_tls(
    tree: Tree, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add(NEW, FILE)
    tree.publish()
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", path, "-out", path], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    certificate = f"ssl_certificate {path}; ssl_certificate_key {path};"
    with Nginx(tree.folder, tmp_path / "nginx", server=certificate, listen="ssl") as server:
        provenance = build(server.url, work).provenance
    assert provenance.verification is Verification.TLS


def test_simplestreams_takes_little_memory(tree: Tree, tmp_path: Path, work: Path) -> None:
    """What is larger than the memory that is allowed takes no more of it."""
    tree.add(NEW, superblock.FIELDS.pack(b"hsqs", 4, 0, LARGE) + bytes(LARGE))
    tree.publish()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.integration.test_simplestreams import build\n"
        "build(sys.argv[1], Path(sys.argv[2]))\n"
        # not of what it was forked from, as in its resource usage: proc(5)
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(*(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
    )
    with Nginx(tree.folder, tmp_path / "nginx") as server:
        argv = [sys.executable, "-c", script, server.url, str(work)]
        root = Path(__file__).parents[2]
        said = subprocess.run(argv, cwd=root, check=True, capture_output=True).stdout
    assert int(said) * 1024 < MOST_MEMORY
    assert (work / "image.squashfs").stat().st_size > LARGE
    shutil.rmtree(tree.folder)
