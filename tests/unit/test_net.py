"""Downloads from real servers on the loopback interface."""

from __future__ import annotations

import base64
import hashlib
import http.server
import random
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import pytest

from postroj import __version__, http_errors, net
from postroj.console import Silence
from postroj.errors import DownloadError
from postroj.net import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TUESDAY = "Tue, 06 Oct 2026 10:00:00 GMT"
BODY = random.Random(1).randbytes(2_500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
BASIC = f"Basic {base64.b64encode(b'user:word').decode()}"
QUICK = Patience(connect=2, read=0.3, attempts=3, pause=0.01, redirects=4)


class Handler(http.server.BaseHTTPRequestHandler):
    """One path, one behaviour; `hits` counts and `seen` keeps the headers of the last request."""

    hits: ClassVar[Counter[str]]
    seen: ClassVar[dict[str, str]]
    released: ClassVar[threading.Event]
    """Lets a stalled answer end."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hits[path] += 1
        self.seen.update(self.headers)
        getattr(self, "get_" + path.strip("/").replace("-", "_"))()

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def get_huge(self) -> None:
        self.answer(200, Content_Length=str(net.LARGEST + 1))

    def get_file(self) -> None:
        self.answer(200, BODY)

    def get_unsized(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(BODY)

    def get_gzip_by_mistake(self) -> None:
        self.answer(200, BODY, Content_Encoding="gzip")

    def get_redirect(self) -> None:
        self.answer(302, Location="/file")

    def get_loop(self) -> None:
        self.answer(302, Location="/loop?token=SECRET")

    def get_elsewhere(self) -> None:
        self.answer(302, Location="file:///etc/passwd")

    def get_outside(self) -> None:
        self.answer(302, Location=self.path.partition("?")[2])

    def get_missing(self) -> None:
        self.answer(404, b"no such file")

    def get_forbidden(self) -> None:
        self.answer(403)

    def get_teapot(self) -> None:
        self.answer(418)

    def get_busy_once(self) -> None:
        self.answer(*((503,) if self.hits["/busy-once"] == 1 else (200, BODY)))

    def get_busy(self) -> None:
        self.answer(503, Retry_After="0")

    def get_stall(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000])
        self.released.wait(30)

    def get_trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.trickle()

    def get_trickling_headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Header: ")
        self.trickle()

    def trickle(self) -> None:
        """Send a byte now and then, until the other side hangs up."""
        with suppress(OSError):
            while not self.released.wait(0.1):
                self.wfile.write(b"x")

    def get_protected(self) -> None:
        self.seen["Authorization"] = self.headers["Authorization"] or "none"
        self.answer(200, BODY)

    def get_silent(self) -> None:
        self.released.wait(30)

    def get_truncated(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1_500_000])

    def get_broken_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nwhole\r\n5\r\npart")

    def get_truncated_once(self) -> None:
        if self.hits["/truncated-once"] == 1:
            self.get_truncated()
        else:
            self.get_file()

    def get_too_short(self) -> None:
        self.answer(200, BODY, Content_Length="1000")

    def answer_range(self, *, tag: str = '"one"', limit: int = len(BODY), **lies: str) -> None:
        """Serve the body, or the rest of it that is asked for, and no more than `limit` of it."""
        start = 0
        if asked := self.headers["Range"]:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"} if start else {}
        headers |= {"Content-Length": str(len(BODY) - start), "ETag": tag, "Last-Modified": TUESDAY}
        self.send_response(206 if start else 200)
        for name, value in {**headers, **lies}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(BODY[start : start + limit])

    def get_bad_line(self) -> None:
        self.answer_range(limit=300_000)

    def get_bad_line_weak(self) -> None:
        self.answer_range(tag='W/"one"', limit=300_000)

    def get_small_parts(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        end = min(start + 1_000_000, len(BODY))
        if not start:
            self.answer_range(limit=300_000)
        else:
            extent = f"bytes {start}-{end - 1}/{len(BODY)}"
            self.answer(206, BODY[start:end], Content_Range=extent, ETag='"one"')

    def get_another_place(self) -> None:
        if self.headers["Range"]:
            self.answer(206, BODY[1:], Content_Range=f"bytes 1-{len(BODY) - 1}/{len(BODY)}")
        else:
            self.answer_range(limit=len(BODY) if self.hits["/another-place"] > 1 else 300_000)

    def get_ignores_if_range(self) -> None:
        body = BODY[::-1]
        if self.hits["/ignores-if-range"] == 1:
            self.answer_range(limit=300_000)
        elif asked := self.headers["Range"]:
            start = int(asked[6:-1])
            extent = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            self.answer(206, body[start:], Content_Range=extent, ETag='"two"')
        else:
            self.answer(200, body, ETag='"two"')

    def get_changed(self) -> None:
        if self.hits["/changed"] == 1:
            self.answer_range(limit=300_000)
        else:
            self.answer(200, BODY[::-1])

    def get_grown(self) -> None:
        if self.hits["/grown"] == 1:
            self.answer_range(limit=300_000)
        else:
            self.answer(200, BODY + b"more")

    def get_another_mirror(self) -> None:
        if self.hits["/another-mirror"] == 1:
            self.answer_range(limit=300_000)
        else:
            self.answer(200, BODY, ETag='"another"')

    def get_all_but_the_end(self) -> None:
        if self.headers["Range"]:
            self.answer(416, b"nothing is left", Content_Range=f"bytes */{len(BODY)}")
        else:
            self.send_response(200)
            self.send_header("ETag", '"one"')
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(BODY), BODY))  # and not `0`, the end

    def get_busy_in_between(self) -> None:
        if self.hits["/busy-in-between"] % 2:
            self.answer_range(limit=1_000_000)
        else:
            self.answer(429, Retry_After=formatdate(usegmt=True))

    def get_drip(self) -> None:
        self.answer_range(limit=1)

    def get_garbled(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")


class Server:
    """A server in a thread, its handler, and its address."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        class OwnHandler(Handler):
            hits: ClassVar[Counter[str]] = Counter()
            seen: ClassVar[dict[str, str]] = {}
            released = threading.Event()

        self.handler = OwnHandler
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[Server]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.handler.released.set()
            self.server.shutdown()
            self.server.server_close()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().serving() as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(context).serving() as server:
        yield server


class Watch(Silence):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def reach(self, done: float, total: float) -> None:
        self.seen.append((done, total))


def fetch(url: str, folder: Path, sha256: str | None = None, patience: Patience = QUICK) -> str:
    target = folder / "target"
    return net.download(url, target, sha256=sha256, progress=Silence(), patience=patience)


def failure(url: str, folder: Path, sha256: str | None = None) -> DownloadError:
    """Return the error of a download that fails, and check that it leaves nothing behind."""
    (folder / "target").write_text("what was there before")
    with pytest.raises(DownloadError) as caught:
        fetch(url, folder, sha256)
    assert [path.name for path in folder.iterdir()] == ["target"]
    assert (folder / "target").read_text() == "what was there before"
    assert caught.value.hint
    assert not caught.value.message.endswith(".")
    return caught.value


class TestSuccess:
    def test_download_writes_the_file(self, server: Server, tmp_path: Path) -> None:
        watch = Watch()
        target = tmp_path / "target"
        assert net.download(f"{server.url}/file", target, sha256=None, progress=watch) == SHA256
        assert target.read_bytes() == BODY
        assert [path.name for path in tmp_path.iterdir()] == ["target"]
        assert watch.seen[-1] == (len(BODY), len(BODY))
        assert [done for done, _ in watch.seen] == sorted(done for done, _ in watch.seen)
        assert server.handler.seen["User-Agent"] == f"postroj/{__version__}"

    def test_download_uses_the_default_mode_of_files(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        fetch(f"{server.url}/file", tmp_path)
        assert (tmp_path / "target").stat().st_mode == (tmp_path / "other").stat().st_mode

    def test_download_replaces_an_older_file(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        fetch(f"{server.url}/file", tmp_path)
        assert (tmp_path / "target").read_bytes() == BODY

    @pytest.mark.parametrize("digest", [SHA256, SHA256.upper()])
    def test_download_accepts_the_pinned_digest(
        self, digest: str, server: Server, tmp_path: Path
    ) -> None:
        assert fetch(f"{server.url}/file", tmp_path, digest) == SHA256

    def test_download_follows_redirects(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/redirect", tmp_path) == SHA256

    def test_download_of_unknown_size(self, server: Server, tmp_path: Path) -> None:
        watch = Watch()
        url = f"{server.url}/unsized"
        net.download(url, tmp_path / "target", sha256=SHA256, progress=watch, patience=QUICK)
        assert watch.seen[-1] == (len(BODY), 0)

    def test_download_keeps_the_published_encoding(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/gzip-by-mistake", tmp_path) == SHA256
        assert server.handler.seen["Accept-Encoding"] == "identity"

    def test_download_retries_a_busy_server(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/busy-once", tmp_path) == SHA256
        assert server.handler.hits["/busy-once"] == 2

    def test_download_retries_a_truncated_body(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/truncated-once", tmp_path) == SHA256
        assert (tmp_path / "target").read_bytes() == BODY

    def test_download_over_tls(
        self,
        tls_server: Server,
        certificate: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert fetch(f"{tls_server.url}/file", tmp_path) == SHA256


class TestRefusedByTheServer:
    @pytest.mark.parametrize(
        ("path", "message", "status"),
        [
            ("missing", "does not exist", HTTPStatus.NOT_FOUND),
            ("forbidden", "is not accessible", HTTPStatus.FORBIDDEN),
            ("teapot", "could not be fetched", HTTPStatus.IM_A_TEAPOT),
        ],
    )
    def test_error_by_http_status(
        self, path: str, message: str, status: HTTPStatus, server: Server, tmp_path: Path
    ) -> None:
        error = failure(f"{server.url}/{path}", tmp_path)
        said = f"{status.value} {status.phrase}"
        assert error.message == f"'{server.url}/{path}' {message}: the server says {said}"
        assert error.evidence == f"GET {server.url}/{path}: {said}"
        assert server.handler.hits[f"/{path}"] == 1

    def test_error_of_a_server_that_stays_busy(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/busy", tmp_path)
        assert "503 Service Unavailable" in error.message
        assert server.handler.hits["/busy"] == QUICK.attempts

    def test_error_of_a_redirect_loop(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/loop", tmp_path)
        assert error.message == f"'{server.url}/loop' has too many redirects"
        assert error.evidence == f"the last one goes to '{server.url}/loop?token=***'"
        assert server.handler.hits["/loop"] == QUICK.redirects + 1

    def test_redirect_to_a_local_file_is_refused(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/elsewhere", tmp_path)
        assert error.message.endswith("leads to something that is not an http or https URL")

    def test_redirect_out_of_tls_is_refused(
        self,
        server: Server,
        tls_server: Server,
        certificate: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        url = f"{tls_server.url}/outside?{server.url}/file"
        error = failure(url, tmp_path)
        assert error.message == f"'{tls_server.url}/outside?***' redirects to an unencrypted URL"
        assert error.evidence == f"redirected to '{server.url}/file'"
        with pytest.raises(DownloadError, match="redirects to an unencrypted URL"):
            net.head(url)
        assert server.handler.hits["/file"] == 0  # it was judged before it was followed
        assert net.head(url, allow_downgrade=True) == len(BODY)
        assert fetch(url, tmp_path, SHA256) == SHA256


class TestResume:
    """What was fetched before the line broke is not fetched again, and is never mixed up."""

    @pytest.mark.parametrize("path", ["bad-line", "bad-line-weak", "small-parts"])
    def test_resume_continues_at_the_last_byte(
        self, path: str, server: Server, tmp_path: Path
    ) -> None:
        watch = Watch()
        url = f"{server.url}/{path}"
        net.download(url, tmp_path / "target", sha256=SHA256, progress=watch, patience=QUICK)
        assert server.handler.seen["If-Range"] == (TUESDAY if "weak" in path else '"one"')
        assert server.handler.hits[f"/{path}"] > QUICK.attempts
        assert [done for done, _ in watch.seen] == sorted({done for done, _ in watch.seen})
        assert watch.seen[-1] == (len(BODY), len(BODY))

    def test_resume_after_a_busy_server(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/busy-in-between", tmp_path) == SHA256
        assert server.handler.hits["/busy-in-between"] == 5

    def test_resume_with_nothing_left_to_download(self, server: Server, tmp_path: Path) -> None:
        url = f"{server.url}/all-but-the-end"
        assert fetch(url, tmp_path) == SHA256
        assert server.handler.hits["/all-but-the-end"] == 2

    @pytest.mark.parametrize("path", ["another-place", "another-mirror"])
    def test_resume_without_ranges_skips_known_bytes(
        self, path: str, server: Server, tmp_path: Path
    ) -> None:
        assert fetch(f"{server.url}/{path}", tmp_path) == SHA256

    @pytest.mark.parametrize(
        ("path", "evidence"),
        [("changed", "its beginning has changed"), ("grown", f"it had {len(BODY)} bytes")],
    )
    def test_resume_refuses_a_changed_file(
        self, path: str, evidence: str, server: Server, tmp_path: Path
    ) -> None:
        error = failure(f"{server.url}/{path}", tmp_path)
        assert error.message == f"'{server.url}/{path}' changed during the download"
        assert evidence in error.evidence
        assert server.handler.hits[f"/{path}"] == 2

    def test_resume_appends_no_other_version(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/ignores-if-range", tmp_path)
        assert error.message.endswith("changed during the download")
        assert server.handler.hits["/ignores-if-range"] == 3

    def test_resume_gives_up_on_a_trickle(self, server: Server, tmp_path: Path) -> None:
        assert failure(f"{server.url}/drip", tmp_path).message.endswith("was cut off")
        assert server.handler.hits["/drip"] == QUICK.attempts


class TestStream:
    def test_stream_yields_chunks(self, server: Server) -> None:
        url = f"{server.url}/redirect?token=SECRET"
        with net.stream(url, progress=Silence(), patience=QUICK) as body:
            assert body.size == len(BODY)
            assert b"".join(body) == BODY
            assert body.sha256 == SHA256

    def test_stream_can_be_left_half_read(self, server: Server) -> None:
        with net.stream(f"{server.url}/file", progress=Silence(), patience=QUICK) as body:
            assert BODY.startswith(next(iter(body)))

    def test_stream_passes_exceptions_of_its_reader_on(self, server: Server) -> None:
        def read() -> None:
            with net.stream(f"{server.url}/file", progress=Silence(), patience=QUICK) as body:
                for _ in body:
                    raise TimeoutError

        with pytest.raises(TimeoutError):
            read()
        assert server.handler.hits["/file"] == 1

    def test_stream_refuses_more_than_the_limit(self, server: Server) -> None:
        for path in ("file", "unsized"):
            with (
                pytest.raises(DownloadError, match="larger than the limit of 1000 bytes"),
                net.stream(
                    f"{server.url}/{path}", progress=Silence(), limit=1000, patience=QUICK
                ) as body,
            ):
                b"".join(body)

    def test_head_refuses_what_a_download_refuses(self, server: Server) -> None:
        assert net.head(f"{server.url}/redirect") == len(BODY)
        with pytest.raises(DownloadError, match=f"larger than the limit of {net.LARGEST} bytes"):
            net.head(f"{server.url}/huge")
        with pytest.raises(http_errors.AbsentError) as caught:
            net.head(f"{server.url}/missing")
        assert caught.value.evidence == f"HEAD {server.url}/missing: 404 Not Found"

    def test_fetch_small_returns_the_bytes(self, server: Server) -> None:
        for path in ("file", "unsized", "truncated-once"):
            url = f"{server.url}/{path}"
            assert net.fetch_small(url, limit=len(BODY), patience=QUICK) == BODY

    @pytest.mark.parametrize("path", ["file", "unsized"])
    def test_fetch_small_refuses_a_large_file(self, path: str, server: Server) -> None:
        url = f"{server.url}/{path}"
        with pytest.raises(DownloadError, match="is larger than the limit of 2000 bytes"):
            net.fetch_small(url, limit=2000, patience=QUICK)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("-7", 0),
        ("soon", 0),
        ("", 0),
        ("Tue, 06 Oct 2020 10:00:00 GMT", 0),
        ("9" * 400, float("inf")),
    ],
    ids=["seconds", "negative", "word", "empty", "past date", "too large"],
)
def test_retry_after_in_seconds(said: str, seconds: float) -> None:
    assert http_errors.retry_after(said) == seconds


def test_retry_after_as_a_date() -> None:
    assert 50 < http_errors.retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60


class TestBrokenContent:
    def test_truncated_download_is_refused(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/truncated", tmp_path)
        assert error.message == f"'{server.url}/truncated' was cut off"
        assert error.evidence
        assert server.handler.hits["/truncated"] == QUICK.attempts

    def test_download_of_broken_chunks_is_refused(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/broken-chunks", tmp_path)
        assert error.message == f"'{server.url}/broken-chunks' was cut off"

    def test_download_shorter_than_its_pin_is_refused(self, server: Server, tmp_path: Path) -> None:
        assert (
            "not the file that was pinned"
            in failure(f"{server.url}/too-short", tmp_path, SHA256).message
        )

    def test_download_with_a_wrong_digest_is_refused(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/file", tmp_path, "0" * 64)
        assert error.message == f"'{server.url}/file' is not the file that was pinned"
        assert error.evidence.split() == [
            *("expected", "SHA-256", "0" * 64),
            *("received", "SHA-256", SHA256),
        ]
        assert server.handler.hits["/file"] == 1

    def test_response_that_is_not_http_is_refused(self, server: Server, tmp_path: Path) -> None:
        assert "connection failed" in failure(f"{server.url}/garbled", tmp_path).message


class TestConnection:
    @pytest.mark.parametrize("path", ["stall", "silent"])
    def test_error_of_a_time_out(self, path: str, server: Server, tmp_path: Path) -> None:
        started = time.monotonic()
        error = failure(f"{server.url}/{path}", tmp_path)
        assert error.message.endswith("could not be fetched: the server did not respond in time")
        assert server.handler.hits[f"/{path}"] == QUICK.attempts
        assert time.monotonic() - started < 10

    def test_error_of_a_refused_connection(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            error = failure(f"http://127.0.0.1:{port}/file?token=SECRET", tmp_path)
        assert error.message.endswith("could not be fetched: its host refused the connection")
        assert "Connection refused" in error.evidence
        assert "SECRET" not in error.reason

    @pytest.mark.usefixtures("no_name_is_known")
    def test_error_of_an_unknown_host(self, tmp_path: Path) -> None:
        error = failure("http://user:SECRET@no-such-host.invalid/file", tmp_path)
        assert error.message == (
            "'http://***@no-such-host.invalid/file' could not be fetched: its host is unknown"
        )
        assert "SECRET" not in error.reason

    def test_error_of_an_untrusted_certificate(self, tls_server: Server, tmp_path: Path) -> None:
        error = failure(f"{tls_server.url}/file", tmp_path)
        assert error.message.endswith("could not be fetched: no trusted TLS connection to its host")
        assert "CERTIFICATE_VERIFY_FAILED" in error.evidence
        assert tls_server.handler.hits == {}

    def test_error_of_a_proxy_that_is_down(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
            error = failure("http://no-such-host.invalid/file", tmp_path)
        assert error.message.endswith("the proxy refused the connection")

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "ftp://host/file",
            "relative/file",
            "",
            "http://",
            "http:///file",
            "http://[::1/file",
            "http://host:99999/file",
        ],
    )
    def test_error_of_what_is_not_a_url(self, url: str, tmp_path: Path) -> None:
        assert "is not an http or https URL" in failure(url, tmp_path).message


@pytest.mark.parametrize("path", ["trickle", "trickling-headers"])
def test_server_that_sends_a_byte_now_and_then_is_given_up(
    path: str, server: Server, tmp_path: Path
) -> None:
    url = f"{server.url}/{path}"
    with pytest.raises(DownloadError) as caught:
        fetch(url, tmp_path, patience=replace(QUICK, read=5, slow=0.5, attempts=2))
    assert caught.value.message == f"'{url}' could not be fetched: the server is too slow"
    assert server.handler.hits[f"/{path}"] == 2
    assert not list(tmp_path.iterdir())


class TestCredentials:
    """They go to the host for which they were given, and nowhere else."""

    @pytest.fixture(autouse=True)
    def netrc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "netrc"
        file.write_text("default login netrc password SECRET\n")
        monkeypatch.setenv("NETRC", str(file))

    def seen(self, server: Server, url: str, folder: Path) -> str:
        fetch(url.replace("//", "//user:word@", 1), folder)
        return server.handler.seen["Authorization"]

    def test_netrc_is_not_read(self, server: Server, tmp_path: Path) -> None:
        fetch(f"{server.url}/protected", tmp_path)
        assert server.handler.seen["Authorization"] == "none"

    def test_user_of_a_url_is_sent(self, server: Server, tmp_path: Path) -> None:
        assert self.seen(server, f"{server.url}/protected", tmp_path) == BASIC

    def test_user_of_a_url_survives_a_redirect_on_its_host(
        self, server: Server, tmp_path: Path
    ) -> None:
        assert self.seen(server, f"{server.url}/outside?/protected", tmp_path) == BASIC

    def test_user_of_a_url_is_not_sent_to_another_host(
        self, server: Server, tmp_path: Path
    ) -> None:
        other = server.url.replace("127.0.0.1", "localhost")
        url = f"{server.url}/outside?{other}/protected"
        assert self.seen(server, url, tmp_path) == "none"


class TestOurSide:
    def test_interrupted_download_leaves_nothing(self, server: Server, tmp_path: Path) -> None:
        class Impatient(Silence):
            def reach(self, done: float, total: float) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            net.download(
                f"{server.url}/file", tmp_path / "target", sha256=None, progress=Impatient()
            )
        assert list(tmp_path.iterdir()) == []

    def test_download_into_a_missing_folder(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="could not be written: No such file"):
            fetch(f"{server.url}/file", tmp_path / "missing")

    def test_download_that_exceeds_the_disk(self, server: Server, tmp_path: Path) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, limits[1]))
        try:
            with pytest.raises(DownloadError, match="could not be written: File too large"):
                fetch(f"{server.url}/file", tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(tmp_path.iterdir()) == []
