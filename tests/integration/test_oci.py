"""Images of a real registry: what arrives in the squashfs, and what is said when nothing does."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from postroj import net
from postroj.errors import DownloadError, ImageError, PostrojError, VerificationError
from postroj.image.catalog.entry import Oci as Source
from postroj.image.sources import oci, skopeo
from postroj.image.sources.reference import parse_reference
from postroj.model import SourceKind, Verification
from tests.support.cli import all_argv, eventually
from tests.support.images import entry, order
from tests.support.oci import HERE, OCI, PASSWORD, USER, Layout, Registry, platform, registry
from tests.support.tars import COMPRESSIONS, Member, tar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.image.sources import Built

FOLDER, LINK, SYMLINK = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
OTHER = "arm64" if HERE != "arm64" else "amd64"
# as setcap cap_net_raw=ep writes it: VFS_CAP_REVISION_2 with the effective bit, CAP_NET_RAW
CAPABILITY = "\x01\x00\x00\x02\x00\x20\x00\x00" + "\x00" * 12

LAYERS: tuple[tuple[Member, ...], ...] = (
    (
        (".", {"type": FOLDER, "mode": 0o755, "mtime": 1}),
        ("usr", {"type": FOLDER, "mode": 0o755, "mtime": 2}),
        ("usr/bin", {"type": FOLDER, "mode": 0o755}),
        ("usr/sbin", {"type": FOLDER, "mode": 0o751, "gid": 7}),
        ("sbin", {"type": SYMLINK, "linkname": "usr/sbin"}),
        ("usr/bin/su", {"data": b"su", "mode": 0o4755, "mtime": 1234567890}),
        ("usr/bin/ping", {"pax_headers": {"SCHILY.xattr.security.capability": CAPABILITY}}),
        ("usr/bin/old", {"data": b"old", "mode": 0o755}),
        ("usr/bin/shared", {"type": LINK, "linkname": "usr/bin/old"}),
        ("usr/bin/shared-too", {"type": LINK, "linkname": "usr/bin/old"}),
        ("etc/kept", {"data": b"1", "uid": 1000, "gid": 1001, "mode": 0o640}),
        ("etc/gone", {"data": b"2"}),
        ("etc/gone.d/a", {"data": b"3"}),
        ("var/opaque/hidden", {"data": b"4"}),
        ("var/opaque/deep/hidden", {"data": b"5"}),
        ("var/file-then-folder", {"data": b"6"}),
        ("var/folder-then-file/below", {"data": b"7"}),
        ("var/link-then-folder", {"type": SYMLINK, "linkname": "/etc"}),
        ("dev/sda", {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 1, "mode": 0o660}),
        ("run/fifo", {"type": tarfile.FIFOTYPE, "mode": 0o600}),
        ("tmp", {"type": FOLDER, "mode": 0o1777}),
    ),
    (
        ("sbin/arrived", {"data": b"through a symlink", "mode": 0o755}),
        ("etc/.wh.gone", {}),
        ("etc/.wh.gone.d", {}),
        ("etc/new", {"data": b"8", "pax_headers": {"SCHILY.xattr.user.colour": "blue"}}),
        ("var/opaque", {"type": FOLDER, "mode": 0o700, "mtime": 77}),
        ("var/opaque/.wh..wh..opq", {}),
        ("var/opaque/shown", {"data": b"9"}),
        ("var/file-then-folder", {"type": FOLDER, "mode": 0o755}),
        ("var/file-then-folder/below", {"data": b"10"}),
        ("var/folder-then-file", {"data": b"11"}),
        ("var/link-then-folder", {"type": FOLDER, "mode": 0o711}),
        ("var/link-then-folder/own", {"data": b"12"}),
    ),
    (
        ("usr/bin/old", {"data": b"replaced", "mode": 0o644}),
        ("usr/bin/from-below", {"type": LINK, "linkname": "usr/bin/su"}),
        ("etc/" + "long-name-" * 20, {"data": b"13" * 100_000}),
        ("etc/b\udcff\udcfe", {"data": b"no UTF-8"}),
        ("usr", {"type": FOLDER, "mode": 0o755, "mtime": 3}),
    ),
)


def layers() -> list[bytes]:
    plain = [tar(*members, root=False) for members in LAYERS]
    return [gzip.compress(plain[0]), COMPRESSIONS["zst"](plain[1]), plain[2]]


def by_hand(folder: Path) -> Path:
    """What the layers amount to when they are unpacked one after the other by tar."""
    folder.mkdir()
    for number, members in enumerate(LAYERS):
        for name, about in members:
            path = folder / name
            if path.is_dir() and not path.is_symlink() and about.get("type") != FOLDER:
                shutil.rmtree(path)
        whiteouts = [folder / name for name, _ in members if "/.wh." in name]
        for path in whiteouts:
            if path.name == ".wh..wh..opq":
                shutil.rmtree(path.parent)
                path.parent.mkdir()
            else:
                subprocess.run(["rm", "-r", path.with_name(path.name[4:])], check=True)
        file = folder.parent / f"{number}.tar"
        file.write_bytes(tar(*members, root=False))
        argv = ["tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
        argv += ["--exclude=.wh.*", "-C", str(folder), "-f", str(file)]
        subprocess.run(argv, check=True)
    return folder


def seen(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that a guest could see of a tree; without times of folders to which files were added."""
    found: dict[str, tuple[Any, ...]] = {}
    groups: dict[int, str] = {}
    stated = {name for members in LAYERS for name, about in members if about.get("type") != FOLDER}
    stated |= {"usr", "tmp", "var/opaque"}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        name = str(path.relative_to(root))
        kind = stat.S_IFMT(status.st_mode)
        content = b""
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).digest()
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = (
            kind,
            oct(stat.S_IMODE(status.st_mode)),
            (status.st_uid, status.st_gid),
            int(status.st_mtime) if name in stated else None,
            status.st_rdev,
            content,
            attributes,
            None if path.is_dir() else groups.setdefault(status.st_ino, name),
        )
    return found


def unpacked(built: Built, folder: Path) -> Path:
    """Copy what the kernel sees of an image."""
    inside = folder.with_name(f"{folder.name}.mnt")
    inside.mkdir()
    script = 'mount -o loop,ro "$1" "$2" && cp --archive "$2" "$3" && umount "$2"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh"]
    subprocess.run([*argv, *map(str, (built.file, inside, folder))], check=True)
    return folder


def build(reference: str, directory: Path, **others: Any) -> Built:
    directory.mkdir()
    return oci.build(Source(reference=reference), order(entry("some"), directory, **others))


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("public") / "registry") as running:
        yield running


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "private", private=True) as running:
        yield running


def small(folder: Path, text: str = "x") -> Path:
    """A layout with one small image."""
    layout = Layout(folder)
    return layout.finish(layout.image([gzip.compress(tar(("etc/which", {"data": text.encode()})))]))


def test_oci_layers_are_merged_as_by_hand(public: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    reference = public.push(layout.finish(layout.image(layers())), "some/image:1.0")
    built = build(reference, tmp_path / "work")
    there = seen(unpacked(built, tmp_path / "arrived"))
    assert there == seen(by_hand(tmp_path / "expected"))
    assert there["usr/bin/from-below"][-1] == there["usr/bin/su"][-1]
    assert there["usr/bin/shared"][-1] == there["usr/bin/shared-too"][-1] == "usr/bin/shared"
    assert there["usr/bin/ping"][-2] == {"security.capability": CAPABILITY.encode("latin-1")}
    assert "usr/sbin/arrived" in there and there["sbin"][5] == b"usr/sbin"


def test_oci_record_names_registry_and_digest(public: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    reference = public.push(layout.finish(image), "told:one")
    made = build(reference, tmp_path / "work").provenance
    digest = image["digest"]
    assert made.url == f"docker://{public.address}/told@{digest}"
    assert (made.source, made.build, made.artifact) == (SourceKind.OCI, "one", digest[7:])
    assert made.verification is Verification.NONE  # plain http, and a tag
    pinned = build(f"{public.address}/told@{digest}", tmp_path / "pinned").provenance
    assert (pinned.url, pinned.verification) == (made.url, Verification.DIGEST)


def test_oci_index_gives_the_platform_of_this_host(public: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    images = [
        layout.image([tar(("etc/which", {"data": machine.encode()}))], machine, **platform(machine))
        for machine in (OTHER, HERE)
    ]
    reference = public.push(layout.finish(layout.index(*images)), "several:1")
    built = build(reference, tmp_path / "work")
    assert (unpacked(built, tmp_path / "out") / "etc/which").read_text() == HERE
    assert built.provenance.artifact == images[1]["digest"][7:]
    with pytest.raises(
        ImageError, match="the image does not exist for the architecture 's390x'"
    ) as caught:
        build(reference, tmp_path / "other", architecture="s390x")
    assert caught.value.evidence == f"it exists for linux/{OTHER}, linux/{HERE}"


def test_oci_image_for_another_machine_is_refused(public: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    reference = public.push(layout.finish(layout.image([tar()], OTHER)), "other:1")
    with pytest.raises(ImageError, match="the image does not exist for the architecture") as caught:
        build(reference, tmp_path / "work")
    assert caught.value.evidence == f"it exists for linux/{OTHER}"


def test_oci_lock_file_brings_the_same_image_again(public: Registry, tmp_path: Path) -> None:
    reference = public.push(small(tmp_path / "old", "old"), "moving:1")
    first = build(reference, tmp_path / "first")
    public.push(small(tmp_path / "new", "new"), "moving:1")
    second = build(reference, tmp_path / "second")
    # the catalog names the registry, the lock file only the digest
    led = replace(first.provenance, url=f"docker://127.0.0.1:9/x@sha256:{'0' * 64}")
    again = build(reference, tmp_path / "again", pinned=led)
    texts = [
        (unpacked(built, tmp_path / f"out-{number}") / "etc/which").read_text()
        for number, built in enumerate((first, second, again))
    ]
    assert texts == ["old", "new", "old"]
    assert again.provenance.url == first.provenance.url
    assert again.provenance.build == "1"
    assert again.provenance.verification is Verification.DIGEST


def test_oci_layer_with_another_digest_is_refused(public: Registry, tmp_path: Path) -> None:
    layer = gzip.compress(tar(("etc/big", {"data": os.urandom(100_000)})))
    layout = Layout(tmp_path / "layout")
    image = layout.image([layer])
    reference = public.push(layout.finish(image), "corrupt:1")
    stored = public.blob(hashlib.sha256(layer).hexdigest())
    data = bytearray(stored.read_bytes())
    data[5000] ^= 1
    stored.write_bytes(data)
    with pytest.raises(VerificationError, match="brought something else") as caught:
        build(reference, tmp_path / "work")
    assert hashlib.sha256(layer).hexdigest() in caught.value.evidence
    assert not (tmp_path / "work/image.squashfs").exists()


STALLS, TRICKLES, FLOODS = 299, 298, 297
"""Statuses of answers that never end: after the first bytes nothing, a byte now and then, much."""


@contextmanager
def liar(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """A registry that says what it is told to, by kind of what is asked for; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind = self.path.split("/")[-2]
            status, data = answers.get(kind, (200, b"{}"))
            lasts = status in (STALLS, TRICKLES, FLOODS)
            self.send_response(200 if lasts else status)
            self.send_header("Content-Type", f"{OCI}.manifest.v1+json")
            self.send_header("Content-Length", str(len(data) + (1 << 40) * lasts))
            self.end_headers()
            self.wfile.write(data)
            with suppress(OSError):  # until the other side hangs up
                while lasts:
                    time.sleep({STALLS: 30, TRICKLES: 0.1, FLOODS: 0.01}[status])
                    self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_oci_manifest_with_another_digest_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    data = (layout.folder / "blobs/sha256" / image["digest"][7:]).read_bytes()
    other = "0" * 64
    with (
        liar({"manifests": (200, data)}) as address,
        pytest.raises(VerificationError, match="brought something else") as caught,
    ):
        build(f"{address}/some@sha256:{other}", tmp_path / "work")
    assert caught.value.evidence == f"expected {other}\nreceived {image['digest'][7:]}"


@pytest.mark.parametrize(
    ("status", "data", "message"),
    [
        (200, b"<html>log in</html>", "the manifest of the image cannot be read"),
        (200, b"[" * 100_000, "the manifest of the image cannot be read"),
        (200, b'{"schemaVersion": 1}', "has schema 1"),
        (200, b'{"manifests": [], "layers": []}', "an index at the same time"),
        (503, b"busy", "reports a server error"),
        (403, b"no", "does not let us fetch"),
    ],
)
def test_oci_answers_that_are_not_an_image_are_refused(
    tmp_path: Path, status: int, data: bytes, message: str
) -> None:
    with liar({"manifests": (status, data)}) as address, pytest.raises(PostrojError, match=message):
        build(f"{address}/some:1", tmp_path / "work")


def test_oci_registry_gets_the_credentials_of_the_user(
    private: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = private.push(small(tmp_path / "layout"), "mine:1")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    with pytest.raises(DownloadError, match="does not let us fetch") as caught:
        build(reference, tmp_path / "anonymous")
    assert f"skopeo login {private.address}" in caught.value.hint
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    known = json.dumps({"auths": {private.address: {"auth": secret}}})
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(known)
    assert build(reference, tmp_path / "docker").file.exists()
    (home / ".docker/config.json").rename(tmp_path / "auth.json")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert build(reference, tmp_path / "named").file.exists()
    (tmp_path / "auth.json").write_text(known.replace(secret, base64.b64encode(b"x:y").decode()))
    with pytest.raises(DownloadError, match="does not let us fetch"):
        build(reference, tmp_path / "wrong")


@pytest.mark.parametrize("name", ["some/image:no-such-tag", "no-such/image:1.0"])
def test_oci_name_that_the_registry_lacks_is_reported(
    public: Registry, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DownloadError, match=f"has no image '.*{name}'") as caught:
        build(f"{public.address}/{name}", tmp_path / "work")
    assert "skopeo list-tags" in caught.value.hint


def test_oci_registry_that_does_not_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        build("127.0.0.1:1/some:1", tmp_path / "work")
    assert "connection refused" in caught.value.evidence


def test_oci_image_without_files_is_refused(public: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    reference = public.push(layout.finish(layout.image([tar(root=False)])), "empty:1")
    with pytest.raises(ImageError, match="has no files"):
        build(reference, tmp_path / "work")


def test_oci_progress_reaches_the_size(public: Registry, tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []

    class Watch:
        def describe(self, text: str) -> None:
            pass

        def reach(self, done: float, total: float) -> None:
            told.append((done, total))

    layer = gzip.compress(tar(("etc/big", {"data": os.urandom(1_000_000)})))
    layout = Layout(tmp_path / "layout")
    reference = public.push(layout.finish(layout.image([layer])), "watched:1")
    build(reference, tmp_path / "work", progress=Watch())
    assert told[-1][0] == told[-1][1] > len(layer)


def test_oci_names_are_normalised_as_by_skopeo(public: Registry, tmp_path: Path) -> None:
    public.push(small(tmp_path / "layout"), "short:latest")
    assert str(parse_reference(f"{public.address}/short")) == f"{public.address}/short:latest"
    assert build(f"docker://{public.address}/short", tmp_path / "work").file.exists()


ROOT = Path(__file__).parents[2]
BUILD = """
import sys
from tests.integration.test_oci import build
from pathlib import Path
build(sys.argv[1], Path(sys.argv[2]))
"""


def test_oci_pull_that_is_killed_leaves_no_skopeo(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    data = (layout.folder / "blobs/sha256" / image["digest"][7:]).read_bytes()
    work = str(tmp_path / "work")

    def is_copied() -> bool:
        return any(b"copy" in argv and work.encode() in argv for argv in all_argv())

    with liar({"manifests": (200, data), "blobs": (STALLS, b"x")}) as address:
        argv = [sys.executable, "-c", BUILD, f"{address}/some:1", work]
        with subprocess.Popen(argv, cwd=ROOT) as process:
            assert eventually(is_copied)
            process.kill()
        assert eventually(lambda: not is_copied())


def test_oci_registry_that_stalls_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "PATIENCE", 1.0)
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    data = (layout.folder / "blobs/sha256" / image["digest"][7:]).read_bytes()
    with (
        liar({"manifests": (200, data), "blobs": (STALLS, b"x")}) as address,
        pytest.raises(DownloadError, match="cannot be reached") as caught,
    ):
        build(f"{address}/some:1", tmp_path / "work")
    assert "almost nothing arrived" in caught.value.evidence


def test_oci_registry_that_sends_a_byte_now_and_then_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "PATIENCE", 1.0)
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    data = (layout.folder / "blobs/sha256" / image["digest"][7:]).read_bytes()
    with (
        liar({"manifests": (200, data), "blobs": (TRICKLES, b"x")}) as address,
        pytest.raises(DownloadError, match="cannot be reached") as caught,
    ):
        build(f"{address}/some:1", tmp_path / "work")
    assert "almost nothing arrived" in caught.value.evidence


def test_oci_registry_that_sends_more_than_the_manifest_lists_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "BESIDE", 100_000)
    layout = Layout(tmp_path / "layout")
    image = layout.image([tar()])
    data = (layout.folder / "blobs/sha256" / image["digest"][7:]).read_bytes()
    with (
        liar({"manifests": (200, data), "blobs": (FLOODS, bytes(100_000))}) as address,
        pytest.raises(VerificationError, match="sends more than"),
    ):
        build(f"{address}/some:1", tmp_path / "work")


def test_oci_image_that_is_too_large_is_not_downloaded(
    public: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = public.push(small(tmp_path / "layout", "large"), "large:1")
    monkeypatch.setattr(net, "LARGEST", 100)
    with pytest.raises(ImageError, match="is larger than the limit of 100 bytes"):
        build(reference, tmp_path / "work")
    assert not list((tmp_path / "work/parts").iterdir())
