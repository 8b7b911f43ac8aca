"""Images of a simplestreams server, which may lie."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from postroj.errors import DownloadError, ImageError, PostrojError, VerificationError
from postroj.http_errors import AbsentError
from postroj.image.catalog.entry import Simplestreams
from postroj.image.sources import simplestreams
from postroj.image.store.record import Provenance
from postroj.image.unpack import superblock
from postroj.model import SourceKind, Verification
from tests.support.images import entry, order
from tests.support.pgp import LONG_AGO, Gpg, gpg
from tests.support.streams import PRODUCT, Tree
from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.image.sources import Built


def squashfs(
    body: bytes = b"", *, magic: bytes = b"hsqs", version: int = 4, used: int = 0
) -> bytes:
    """What looks like a squashfs file, if it has the usual first bytes."""
    used = used or superblock.FIELDS.size + len(body)
    return superblock.FIELDS.pack(magic, version, 0, used) + body


OLD, NEW = "20261119_05:24", "20261120_05:24"
FILE = squashfs(b"content")


class Server(NamedTuple):
    """A server, what it serves, and the folder that an image is made in."""

    tree: Tree
    url: str
    directory: Path

    def build(self, key: object = "", **others: Any) -> Built:
        source = Simplestreams(server=self.url, product=PRODUCT, key=str(key))
        self.directory.mkdir()
        wanted = entry("debian-trixie", source)
        return simplestreams.build(source, order(wanted, self.directory, **others))

    def refusal(self, kind: type[PostrojError] = VerificationError, **others: Any) -> PostrojError:
        """Return the error of a build that fails, and of no class below it."""
        with pytest.raises(kind) as caught:
            self.build(**others)
        assert type(caught.value) is kind
        return caught.value

    def provenance(self, **others: Any) -> Provenance:
        usual: dict[str, Any] = {"build": NEW, "artifact": "0" * 64, "compression": ""}
        usual |= {"url": f"{self.url}/images/it", "verification": Verification.TLS}
        return Provenance(source=SourceKind.SIMPLESTREAMS, **usual | others)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "www").mkdir()
    with served(tmp_path / "www") as url:
        yield Server(Tree(tmp_path / "www"), url, tmp_path / "work")


class Publisher(NamedTuple):
    """Who signs; `key` is the file that tells their keys."""

    gpg: Gpg
    good: str
    other: str
    expired: str
    key: Path


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    with gpg() as tool:
        good, other = tool.key("good"), tool.key("other")
        expired = tool.key("expired", LONG_AGO, expire="30d")
        key = tmp_path_factory.mktemp("publisher") / "key.asc"
        key.write_bytes(tool.export(good, expired, armour=True))
        yield Publisher(tool, good, other, expired, key)


class TestChoice:
    def test_newest_squashfs_is_stored_unchanged(self, server: Server) -> None:
        server.tree.add(OLD, squashfs(b"old"))
        digest = server.tree.add(NEW, FILE)
        server.tree.add(NEW, b"an archive", "root.tar.xz")
        server.tree.publish()
        file, provenance, _ = server.build()
        assert file.read_bytes() == FILE
        path = f"images/debian/trixie/amd64/default/{NEW}/rootfs.squashfs"
        assert provenance == server.provenance(
            url=f"{server.url}/{path}", artifact=digest, verification=Verification.NONE
        )

    def test_archive_is_used_if_there_is_no_squashfs(self, server: Server) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:xz") as tar:
            tar.addfile(tarfile.TarInfo("hello"))
        server.tree.add(NEW, archive.getvalue(), "root.tar.xz")
        server.tree.add(OLD, FILE)
        server.tree.publish()
        file, provenance, _ = server.build()
        superblock.check(file)
        assert (provenance.build, provenance.compression) == (NEW, "lz4")

    def test_build_without_a_usable_file_is_ignored(self, server: Server) -> None:
        server.tree.add(OLD, FILE)
        server.tree.add(NEW, b"a disk", "disk-kvm.img")
        server.tree.publish()
        assert server.build().provenance.build == OLD

    def test_same_build_can_be_pulled_again(self, server: Server) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish()
        previous = server.provenance()
        assert server.build(previous=previous).provenance.build == NEW


class TestSigned:
    @pytest.mark.parametrize("how", ["inline", "detached"])
    def test_index_with_a_good_signature(
        self, how: str, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish(publisher.gpg, publisher.good, how=how)
        provenance = server.build(publisher.key).provenance
        assert provenance.verification is Verification.SIGNATURE
        assert provenance.fingerprints == (publisher.good,)
        assert not provenance.expired_signature

    def test_index_without_a_signature_is_refused(
        self, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish()
        error = server.refusal(key=publisher.key)
        assert error.message == f"'{server.url}/streams/v1/index.json' is not signed"

    @pytest.mark.parametrize("how", ["inline", "detached"])
    def test_index_signed_by_another_key_is_refused(
        self, how: str, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish(publisher.gpg, publisher.other, how=how)
        assert server.refusal(key=publisher.key).message.endswith("is signed by an unknown key")

    def test_index_signed_by_an_expired_key_needs_allow_expired_keys(
        self, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish(publisher.gpg, publisher.expired, LONG_AGO)
        error = server.refusal(key=publisher.key)
        assert error.message.endswith("is signed by a key that has expired")
        assert error.hint == "`--allow-expired-keys` accepts it"
        server.directory.rmdir()
        error = server.refusal(key=publisher.key, allow_expired=True)
        assert error.message.endswith("is signed by a key that has expired")
        server.directory.rmdir()
        provenance = server.build(publisher.key, allow_expired_keys=True).provenance
        assert provenance.expired_signature
        assert not provenance.allow_expired

    def test_products_signed_by_another_key_are_refused(
        self, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish(publisher.gpg, publisher.good)
        products = json.dumps(server.tree.products()).encode()
        server.tree.write("images.sjson", publisher.gpg.clearsign(products, publisher.other))
        error = server.refusal(key=publisher.key)
        assert error.message.endswith("images.json' is signed by an unknown key")

    def test_text_around_the_signed_index_is_ignored(
        self, server: Server, publisher: Publisher
    ) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish(publisher.gpg, publisher.good, how="detached")
        changed = json.dumps(server.tree.products()).replace(NEW, OLD).encode()
        server.tree.write("images.json", changed)
        error = server.refusal(key=publisher.key)
        assert error.message.endswith("images.json' is not what its publisher signed")


class TestLies:
    @pytest.mark.parametrize(
        "path",
        [
            "http://evil.example/x",
            "//evil.example/x",
            "/etc/passwd",
            "images/../../x",
            "..",
            "images/./x",
            "images//x",
            "images/%2e%2e/x",
            "images/x?y",
            "images/x#y",
            "images\\x",
            "images/x\n",
            "",
        ],
    )
    @pytest.mark.parametrize("where", ["item", "products"])
    def test_path_that_leads_out_of_the_server_is_refused(
        self, path: str, where: str, server: Server
    ) -> None:
        server.tree.add(NEW, FILE, **({"path": path} if where == "item" else {}))
        server.tree.publish()
        if where == "products":
            server.tree.write("index.json", json.dumps(server.tree.index(path)).encode())
        error = server.refusal()
        assert error.message == f"the index of '{server.url}' leads out of its server"

    def test_item_with_other_content_is_refused(self, server: Server) -> None:
        server.tree.add(NEW, FILE, sha256="0" * 64)
        server.tree.publish()
        assert "does not have the expected digest" in server.refusal().message

    def test_item_that_is_too_short_is_refused(self, server: Server) -> None:
        server.tree.add(NEW, FILE, size=len(FILE) + 1)
        server.tree.publish()
        error = server.refusal()
        assert error.evidence == f"expected {len(FILE) + 1} bytes, received {len(FILE)}"

    def test_item_that_is_too_long_is_not_downloaded(self, server: Server) -> None:
        server.tree.add(NEW, FILE + bytes(50_000_000), size=len(FILE))
        server.tree.publish()
        error = server.refusal()
        assert error.evidence == f"expected {len(FILE)} bytes, received more"
        assert (server.directory / "image.squashfs").stat().st_size < 1_000_000

    def test_archive_with_other_content_is_refused(self, server: Server) -> None:
        server.tree.add(NEW, b"no archive at all", "root.tar.xz", sha256="0" * 64)
        server.tree.publish()
        assert "does not have the expected digest" in server.refusal().message

    def test_build_older_than_the_cached_one_is_refused(self, server: Server) -> None:
        server.tree.add(OLD, FILE)
        server.tree.publish()
        error = server.refusal(previous=server.provenance())
        assert "offers an older 'debian-trixie' than the cached one" in error.message
        assert "`postroj remove debian-trixie`" in error.hint

    def test_build_older_than_one_of_another_server_is_accepted(self, server: Server) -> None:
        server.tree.add(OLD, FILE)
        server.tree.publish()
        previous = server.provenance(url="https://elsewhere.example/images/it")
        assert server.build(previous=previous).provenance.build == OLD

    @pytest.mark.parametrize("lies", [{"size": -1}, {"size": "9"}, {"sha256": "x"}, {"sha256": 1}])
    def test_item_without_digest_or_size_is_refused(
        self, lies: dict[str, Any], server: Server
    ) -> None:
        server.tree.add(NEW, FILE, **lies)
        server.tree.publish()
        error = server.refusal(ImageError)
        assert error.message.endswith("without its size or its SHA-256")

    @pytest.mark.parametrize("ftype", ["squashfs", "root.tar.xz"])
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<html>not found</html>",
            squashfs(magic=b"sqsh"),
            squashfs(version=3),
            squashfs(used=10_000),
            FILE[:50],
        ],
    )
    def test_item_that_is_not_an_image_is_refused(
        self, ftype: str, data: bytes, server: Server
    ) -> None:
        server.tree.add(NEW, data or b"\n", ftype)
        server.tree.publish()
        server.refusal(ImageError)


class TestIndex:
    def test_index_without_the_architecture(self, server: Server) -> None:
        server.tree.publish()
        error = server.refusal(AbsentError)
        assert error.message == f"'{server.url}' has no image '{PRODUCT}'"
        assert error.evidence.split() == [
            *("it", "lists:", PRODUCT),
            "debian:trixie:arm64:default",
        ]

    @pytest.mark.parametrize(
        "index",
        [
            "{}",
            "[]",
            "7",
            '{"index": []}',
            '{"index": {"images": 7}}',
            '{"index": {"images": {"products": 7}}}',
            '{"index": {"images": {"products": [7, null, "\\u001b[31m"]}}}',
        ],
    )
    def test_index_that_is_empty(self, index: str, server: Server) -> None:
        server.tree.write("index.json", index.encode())
        assert "has no image" in server.refusal(AbsentError).message

    @pytest.mark.parametrize(
        "products",
        [
            {},
            {"products": {PRODUCT: 7}},
            {"products": {PRODUCT: {"versions": {NEW: 7}}}},
            {"products": {PRODUCT: {"versions": {NEW: {"items": [7]}}}}},
            {
                "products": {
                    PRODUCT: {"versions": {"\x1b[31m": {"items": {"x": {"ftype": "squashfs"}}}}}
                }
            },
        ],
    )
    def test_index_without_the_product(self, products: dict[str, object], server: Server) -> None:
        server.tree.publish()
        server.tree.write("images.json", json.dumps(products).encode())
        assert "has no image" in server.refusal(AbsentError).message

    @pytest.mark.parametrize(
        "index",
        [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"1" * 5000],
        ids=["empty", "HTML", "not UTF-8", "deeply nested", "huge number"],
    )
    def test_index_that_is_not_json(self, index: bytes, server: Server) -> None:
        server.tree.write("index.json", index)
        assert server.refusal(ImageError).message.endswith("index.json' is not JSON")

    def test_index_that_is_too_large(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(simplestreams, "INDEX_LIMIT", 1000)
        server.tree.write("index.json", b" " * 1001)
        with pytest.raises(DownloadError, match="larger than the limit of 1000 bytes"):
            server.build()

    def test_index_that_is_missing(self, server: Server) -> None:
        with pytest.raises(DownloadError, match="does not exist"):
            server.build()


class TestPinned:
    def test_pinned_build_is_reproduced(self, server: Server) -> None:
        digest = server.tree.add(OLD, FILE)
        server.tree.add(NEW, squashfs(b"new"))
        server.tree.publish()
        pinned = server.provenance(build=OLD, artifact=digest)
        file, provenance, _ = server.build(pinned=pinned)
        assert file.read_bytes() == FILE
        assert (provenance.build, provenance.verification) == (OLD, Verification.DIGEST)

    def test_pinned_build_that_is_gone(self, server: Server) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish()
        error = server.refusal(ImageError, pinned=server.provenance(build=OLD))
        assert error.message == f"the pinned build {OLD} is gone from the server"

    def test_pinned_build_that_was_replaced(self, server: Server) -> None:
        server.tree.add(NEW, FILE)
        server.tree.publish()
        error = server.refusal(pinned=server.provenance())
        assert error.message == f"the build {NEW} has changed since it was pinned"


def test_check_accepts_the_superblock_of_a_real_file(tmp_path: Path) -> None:
    from postroj.image.unpack import pack

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    with pack.Packer(tmp_path / "real.squashfs") as packer:
        packer.write(archive.getvalue())
    superblock.check(tmp_path / "real.squashfs")
    head = (tmp_path / "real.squashfs").read_bytes()[:48]
    assert struct.unpack_from("<Q", head, 40)[0] > 48
