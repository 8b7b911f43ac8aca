"""Package files of strangers: what they are, and where they come to lie."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import os
import random
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.boot.nspawn import bind_option
from postroj.container.spec import Bind
from postroj.errors import DownloadError, PackageError, UsageError
from postroj.model import Manager
from postroj.probe.package import formats, package_file
from postroj.probe.package.formats import Format
from postroj.probe.package.package_file import (
    GUEST_DIR,
    PackageFile,
    fetch,
    fitting,
    recognise,
)
from tests.support import debs, pacman, rpms

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"!<arch>\n"


def member(name: str, body: bytes, size: str | None = None) -> bytes:
    """One member of an ar archive, whose header may lie."""
    fields = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}"
    header = f"{fields}{len(body) if size is None else size:<10}".encode() + b"`\n"
    return header + body + b"\n" * (len(body) % 2)


VERSION = member("debian-binary", b"2.0\n")
GOOD = MAGIC + VERSION + member("control.tar.xz", b"123") + member("data.tar.xz", b"12345")


def put(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x_1.0_all.deb"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD[:-1],  # without the padding
        MAGIC + VERSION + member("control.tar.zst", b"1") + member("data.tar.zst", b"12"),
        MAGIC + VERSION + member("control.tar", b"") + member("data.tar", b""),
        MAGIC + VERSION + member("control.tar.gz/", b"1") + member("data.tar.gz/", b"1"),
        GOOD + member("_extra", b"12"),
    ],
)
def test_format_of_a_minimal_deb(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path, content)
    found = recognise(path)
    assert (found.path, found.format) == (path, Format.DEB)
    assert found.guest_path == f"{GUEST_DIR}/x_1.0_all.deb"


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "none"])
def test_format_of_a_built_deb(tmp_path: Path, kind: str) -> None:
    import subprocess

    tree = debs.build(tmp_path, "real").parent / "real-1.0-tree"
    deb = tmp_path / "packed.deb"
    argv = ["dpkg-deb", f"-Z{kind}", "--uniform-compression", "--build", str(tree), str(deb)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if "unknown compression" in done.stderr:
        pytest.skip(f"this dpkg-deb does not know {kind}")
    assert done.returncode == 0, done.stderr
    recognise(deb)


@pytest.mark.parametrize("content", [b"", b"!", b"!<arch>", b"I am text\n", b"\x7fELF", b"\0" * 99])
def test_format_of_refuses_what_is_not_a_package(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PackageError, match=r"'x_1\.0_all\.deb' is not a package") as error:
        recognise(put(tmp_path, content))
    assert error.value.evidence.startswith(f"{len(content)} bytes")
    assert error.value.hint


@pytest.mark.parametrize(
    "content",
    [
        MAGIC,
        MAGIC + b"\n" * 3,
        MAGIC + VERSION,
        MAGIC + VERSION + member("control.tar.xz", b"123"),
        GOOD[:-4],
        GOOD[: len(MAGIC) + 30],
        GOOD[: len(GOOD) // 2],
        MAGIC + VERSION + member("data.tar.xz", b"12", size="-2"),
        MAGIC + VERSION + member("data.tar.xz", b"12", size="9999999999"),
        MAGIC + VERSION + member("data.tar.xz", b"12", size="0x10"),
        MAGIC + VERSION + member("data.tar.xz", b"12", size=""),
        MAGIC + VERSION + member("data.tar.xz", b"12", size="1e9"),
        MAGIC + VERSION + member("data.tar.xz", b"12").replace(b"`\n", b"xx"),
        MAGIC + VERSION + member("#1/9999999999", b""),
        MAGIC + VERSION + member("\x1b[31mred", b"12"),
    ],
)
def test_format_of_refuses_a_deb_that_is_cut_off_or_has_a_wrong_size(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(PackageError, match=r"'x_1\.0_all\.deb' is not a complete package") as error:
        recognise(put(tmp_path, content))
    assert error.value.evidence.startswith(f"{len(content)} bytes, members: ")


def apk(*, signature: str = "", data_hash: bool = True) -> bytes:
    """Build an Alpine package of apk 2: one gzip stream for each part, the last tar alone ends."""
    info = b"pkgname = real\npkgver = 1.0-r0\narch = noarch\n"
    info += b"datahash = 00ff\n" if data_hash else b""
    parts = [{signature: b"signed"}] if signature else []
    parts += [{".PKGINFO": info}, {"usr/bin/real": b"#!/bin/sh\n"}]
    return b"".join(gzip.compress(tar_of(part, ends=part is parts[-1])) for part in parts)


def tar_of(members: dict[str, bytes], *, ends: bool) -> bytes:
    content = b""
    for name, body in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(body)
        content += info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)
    return content + bytes(1024 if ends else 0)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(apk(signature=".SIGN.RSA.key.rsa.pub"), id="signed"),
        pytest.param(apk(signature=".SIGN.RSA256.key.pub", data_hash=False), id="signature-only"),
        pytest.param(apk(), id="unsigned"),
        pytest.param(b"ADB." + bytes(64), id="apk-3-plain"),
        pytest.param(b"ADBd" + bytes(64), id="apk-3-deflated"),
        pytest.param(b"ADBc" + bytes(64), id="apk-3-compressed"),
    ],
)
def test_format_of_refuses_an_alpine_package_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "real-1.0-r0.apk"
    path.write_bytes(content)
    with pytest.raises(PackageError, match="is an Alpine package, which postroj does not probe"):
        recognise(path)


def test_format_of_a_pacman_package_of_several_gzip_streams(tmp_path: Path) -> None:
    """Neither the compression nor the number of streams makes a package Alpine's."""
    path = tmp_path / "real-1.0-1-any.pkg.tar.gz"
    path.write_bytes(apk(data_hash=False))
    assert recognise(path).format is Format.PACMAN


def test_format_of_reads_no_more_than_the_file_has(tmp_path: Path) -> None:
    """A sparse file with a member of ten gigabytes."""
    path = put(tmp_path, MAGIC + VERSION + member("data.tar", b"", size="9999999998"))
    os.truncate(path, len(MAGIC) + len(VERSION) + 60 + 9_999_999_998)
    began = time.monotonic()
    recognise(path)
    assert time.monotonic() - began < 1


def test_format_of_stops_after_many_empty_members(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(PackageError, match="is not a complete package"):
        recognise(put(tmp_path, MAGIC + member("x", b"") * 20_000))
    assert time.monotonic() - began < 5


class TestRpm:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return rpms.build(tmp_path, "real", files={"/usr/share/real": "x" * 5000})

    def test_format_of_a_built_rpm(self, path: Path) -> None:
        found = recognise(path)
        assert found.format is Format.RPM
        assert found.guest_path == f"{GUEST_DIR}/real-1.0-1.noarch.rpm"
        other = path.rename(path.with_name("no suffix"))
        assert recognise(other).guest_path == f"{GUEST_DIR}/no suffix.rpm"

    @pytest.mark.parametrize("kind", ["w9.xzdio", "w3.zstdio", "w9.bzdio"])
    def test_format_of_an_rpm_with_another_compression(self, tmp_path: Path, kind: str) -> None:
        made = rpms.build(tmp_path, "real", defines={"_binary_payload": kind})
        assert recognise(made).format is Format.RPM

    @pytest.mark.parametrize("share", [0.001, 0.01, 0.03, 0.1, 0.3, 0.7, 0.9, 0.999])
    def test_format_of_refuses_an_rpm_that_is_cut_off(self, path: Path, share: float) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: max(4, int(len(whole) * share))])
        with pytest.raises(PackageError, match="is not a complete package") as error:
            recognise(path)
        assert error.value.hint

    def test_format_of_refuses_a_source_rpm(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[7] = 1
        path.write_bytes(content)
        with pytest.raises(PackageError, match="is a source package"):
            recognise(path)

    @pytest.mark.parametrize("position", [96, 104, 105, 107, 108, 111])
    def test_format_of_refuses_an_rpm_with_a_wrong_index(self, path: Path, position: int) -> None:
        content = bytearray(path.read_bytes())
        content[position] = 0x7F
        path.write_bytes(content)
        began = time.monotonic()
        with pytest.raises(PackageError, match="is not a complete package"):
            recognise(path)
        assert time.monotonic() - began < 1

    @pytest.mark.parametrize("seed", range(40))
    def test_format_of_a_damaged_rpm_raises_only_package_errors(
        self, path: Path, seed: int
    ) -> None:
        content = bytearray(path.read_bytes())
        dice = random.Random(seed)
        for _ in range(30):
            content[dice.randrange(4, 2000)] = dice.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(PackageError):
            recognise(path)


class TestPacman:
    @pytest.mark.parametrize("compression", ["zst", "xz", "gz"])
    def test_format_of_a_built_pacman_package(self, tmp_path: Path, compression: str) -> None:
        path = pacman.build(tmp_path, "real", compression=compression)
        found = recognise(path)
        assert found.format is Format.PACMAN
        assert found.guest_path == f"{GUEST_DIR}/{path.name}"
        other = path.rename(path.with_name("odd"))
        assert recognise(other).guest_path == f"{GUEST_DIR}/odd.pkg.tar"

    @pytest.mark.parametrize("compression", ["zst", "xz", "gz"])
    @pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
    def test_format_of_refuses_a_pacman_package_that_is_cut_off(
        self, tmp_path: Path, compression: str, share: float
    ) -> None:
        noise = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(5000))
        files = {"/usr/share/noise": noise}
        path = pacman.build(tmp_path, "real", compression=compression, files=files)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(PackageError, match="is not a complete package"):
            recognise(path)

    def test_format_of_refuses_an_archive_without_pkginfo(self, tmp_path: Path) -> None:
        path = tmp_path / "x.pkg.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(__file__, "PKGINFO")
        with pytest.raises(PackageError, match="is not a package") as error:
            recognise(path)
        assert "without .PKGINFO" in error.value.evidence

    @pytest.mark.parametrize(
        "plain", [b"", b"x", b"x" * 5000, b"\0" * 5000, b"a\0" * 62 + b"99999999999\0" + b"x" * 999]
    )
    def test_format_of_refuses_compressed_data_that_is_not_an_archive(
        self, tmp_path: Path, plain: bytes
    ) -> None:
        path = tmp_path / "x.pkg.tar.gz"
        path.write_bytes(gzip.compress(plain))
        with pytest.raises(PackageError, match="is not a package"):
            recognise(path)

    def test_format_of_refuses_a_decompression_bomb(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(formats, "MOST_UNPACKED", 1 << 20)
        path = pacman.build(tmp_path, "bomb", files={"/usr/share/zeros": "0" * (3 << 20)})
        with pytest.raises(PackageError, match="is not a complete package") as error:
            recognise(path)
        assert "unpacks to more than" in error.value.evidence


class TestFitting:
    def file(self, name: str, kind: Format) -> PackageFile:
        return PackageFile(path=Path(name), format=kind)

    @property
    def deb(self) -> PackageFile:
        return self.file("x.deb", Format.DEB)

    @property
    def rpm(self) -> PackageFile:
        return self.file("x.rpm", Format.RPM)

    def test_fitting_chooses_the_files_that_the_manager_installs(self) -> None:
        both = [self.deb, self.rpm]
        for manager, own in (
            (Manager.APT, self.deb),
            (Manager.DNF, self.rpm),
            (Manager.ZYPPER, self.rpm),
        ):
            chosen = fitting(both, both, manager)
            assert (chosen.packages, chosen.older, chosen.unfit) == ((own,), (own,), "")

    def test_fitting_names_the_first_file_if_none_fits(self) -> None:
        chosen = fitting([self.deb, self.rpm], [], Manager.PACMAN)
        assert chosen.packages == (self.deb, self.rpm)
        assert chosen.unfit == "'x.deb' is for apt, the guest has 'pacman'"

    def test_fitting_names_an_older_package_that_does_not_fit(self) -> None:
        chosen = fitting([self.deb], [self.rpm], Manager.APT)
        assert chosen.unfit == "'x.rpm' is for dnf or zypper, the guest has 'apt'"

    def test_fitting_of_an_image_without_a_known_manager(self) -> None:
        assert fitting([self.file("x", Format.PACMAN)], [], None).unfit == (
            "'x' is for pacman, the guest has no package manager that postroj knows"
        )


class TestFetchingLocally:
    def test_fetch_of_a_relative_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = put(tmp_path, GOOD)
        monkeypatch.chdir(tmp_path)
        assert fetch([path.name], [], tmp_path / "unused") == [path]

    def test_fetch_compares_a_file_with_its_digest(self, tmp_path: Path) -> None:
        path = put(tmp_path, GOOD)
        digest = hashlib.sha256(GOOD).hexdigest()
        assert fetch([str(path)], [digest.upper()], tmp_path) == [path]
        with pytest.raises(DownloadError, match="not the file that was pinned") as error:
            fetch([str(path)], ["0" * 64], tmp_path)
        assert digest in error.value.evidence

    @pytest.mark.parametrize("kind", ["nothing", "directory", "fifo", "dangling", "null", ""])
    def test_fetch_refuses_what_is_not_a_file(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "thing"
        match kind:
            case "directory":
                path.mkdir()
            case "fifo":
                os.mkfifo(path)
            case "dangling":
                path.symlink_to("nowhere")
            case "null":
                path = tmp_path / "\0"
            case _:
                pass
        began = time.monotonic()
        with pytest.raises(UsageError, match="is not a file") as error:
            fetch([str(path) if kind else ""], [], tmp_path)
        assert time.monotonic() - began < 1
        assert error.value.hint

    def test_fetch_follows_a_link(self, tmp_path: Path) -> None:
        put(tmp_path, GOOD)
        (tmp_path / "link.deb").symlink_to("x_1.0_all.deb")
        (path,) = fetch([str(tmp_path / "link.deb")], [], tmp_path)
        assert recognise(path).name == "link.deb"

    def test_fetch_refuses_two_files_of_the_same_name(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            put(tmp_path / folder, GOOD)
        paths = [str(tmp_path / folder / "x_1.0_all.deb") for folder in ("a", "b")]
        with pytest.raises(UsageError, match=r"two packages have the file name 'x_1\.0_all\.deb'"):
            fetch(paths, [], tmp_path)

    @pytest.mark.parametrize("digests", [["0"], ["0", "1", "2"]])
    def test_fetch_refuses_digests_that_are_not_one_for_each_package(
        self, tmp_path: Path, digests: list[str]
    ) -> None:
        with pytest.raises(UsageError, match="`--package` is given 2"):
            fetch(["a", "b"], digests, tmp_path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        self.wfile.write(GOOD)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server which has the same package under every name."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


ODD = [
    *("/pool/x_1.0_all.deb", "/", "", "/x.deb?name=../../evil", "/x.deb#../../evil", "/a/..", "/."),
    *("/%2e%2e%2fevil.deb", "/..%2Fevil.deb", "/%2Fetc%2Fevil.deb", "/-rf.deb", "/--help"),
    *("/a b.deb", "/a:b,c.deb", "/a\\b.deb", "/%00.deb", "/%0a.deb", "/;reboot;.deb", "/$(x).deb"),
    *("/~root", "/.hidden.deb", "/*.deb", "/ünï.deb", "/..;/evil.deb", "/x.deb/", "//", "/'\".deb"),
]


@pytest.mark.parametrize("path", ODD)
def test_fetch_of_a_url_never_writes_outside_the_folder(
    server: str, tmp_path: Path, path: str
) -> None:
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    try:
        (found,) = fetch([server + path], [], folder)
    except DownloadError:
        pass  # refused is fine, too
    else:
        assert found.parent == folder
        assert found.read_bytes() == GOOD
        file = recognise(found)
        assert file.guest_path.startswith(f"{GUEST_DIR}/")
        assert "/" not in file.guest_path.removeprefix(f"{GUEST_DIR}/")
        option = bind_option(Bind(source=file.path, target=file.guest_path, read_only=True))
        assert "\n" not in option
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["folder"]


def test_fetch_of_a_url_with_a_very_long_name(server: str, tmp_path: Path) -> None:
    try:
        (found,) = fetch([f"{server}/{'x' * 300}.deb"], [], tmp_path)
    except DownloadError:
        assert not list(tmp_path.iterdir())
    else:
        assert found.parent == tmp_path


def test_fetch_compares_a_url_with_its_digest(server: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    (found,) = fetch([f"{server}/x.deb"], [digest], tmp_path)
    assert found.read_bytes() == GOOD
    found.unlink()
    with pytest.raises(DownloadError, match="not the file that was pinned"):
        fetch([f"{server}/x.deb"], ["0" * 64], tmp_path)
    assert not list(tmp_path.iterdir())


def test_fetch_refuses_two_urls_of_the_same_name(server: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two packages have the file name"):
        fetch([f"{server}/a/x.deb", f"{server}/b/x.deb"], [], tmp_path)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.deb", "file:///etc/passwd", "http://", "://x"])
def test_fetch_refuses_other_schemes(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="is not an http or https URL"):
        fetch([url], [], tmp_path)


def test_guest_dir_is_below_a_tmpfs() -> None:
    assert package_file.GUEST_DIR.startswith("/run/")
