"""Downloads from real servers on the loopback interface."""

from __future__ import annotations

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
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import pytest

from postroj import __version__, net
from postroj.console import Silence
from postroj.errors import DownloadError
from postroj.net import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = random.Random(1).randbytes(2_500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
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

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

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

    def get_silent(self) -> None:
        self.released.wait(30)

    def get_truncated(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1_500_000])

    def get_truncated_once(self) -> None:
        if self.hits["/truncated-once"] == 1:
            self.get_truncated()
        else:
            self.get_file()

    def get_too_short(self) -> None:
        self.answer(200, BODY, Content_Length="1000")

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
    def test_file(self, server: Server, tmp_path: Path) -> None:
        watch = Watch()
        target = tmp_path / "target"
        assert net.download(f"{server.url}/file", target, sha256=None, progress=watch) == SHA256
        assert target.read_bytes() == BODY
        assert [path.name for path in tmp_path.iterdir()] == ["target"]
        assert watch.seen[-1] == (len(BODY), len(BODY))
        assert [done for done, _ in watch.seen] == sorted(done for done, _ in watch.seen)
        assert server.handler.seen["User-Agent"] == f"postroj/{__version__}"

    def test_mode_is_that_of_any_new_file(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        fetch(f"{server.url}/file", tmp_path)
        assert (tmp_path / "target").stat().st_mode == (tmp_path / "other").stat().st_mode

    def test_an_older_file_is_replaced(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        fetch(f"{server.url}/file", tmp_path)
        assert (tmp_path / "target").read_bytes() == BODY

    @pytest.mark.parametrize("digest", [SHA256, SHA256.upper()])
    def test_pinned(self, digest: str, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/file", tmp_path, digest) == SHA256

    def test_redirect(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/redirect", tmp_path) == SHA256

    def test_unknown_size(self, server: Server, tmp_path: Path) -> None:
        watch = Watch()
        url = f"{server.url}/unsized"
        net.download(url, tmp_path / "target", sha256=SHA256, progress=watch, patience=QUICK)
        assert watch.seen[-1] == (len(BODY), 0)

    def test_bytes_are_kept_as_they_are_published(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/gzip-by-mistake", tmp_path) == SHA256
        assert server.handler.seen["Accept-Encoding"] == "identity"

    def test_busy_server_is_asked_again(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/busy-once", tmp_path) == SHA256
        assert server.handler.hits["/busy-once"] == 2

    def test_cut_off_body_is_asked_for_again(self, server: Server, tmp_path: Path) -> None:
        assert fetch(f"{server.url}/truncated-once", tmp_path) == SHA256
        assert (tmp_path / "target").read_bytes() == BODY

    def test_tls(
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
            ("forbidden", "may not be fetched", HTTPStatus.FORBIDDEN),
            ("teapot", "could not be fetched", HTTPStatus.IM_A_TEAPOT),
        ],
    )
    def test_status(
        self, path: str, message: str, status: HTTPStatus, server: Server, tmp_path: Path
    ) -> None:
        error = failure(f"{server.url}/{path}", tmp_path)
        said = f"{status.value} {status.phrase}"
        assert error.message == f"'{server.url}/{path}' {message}: the server says {said}"
        assert error.evidence == f"GET {server.url}/{path}: {said}"
        assert server.handler.hits[f"/{path}"] == 1

    def test_always_busy(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/busy", tmp_path)
        assert "503 Service Unavailable" in error.message
        assert server.handler.hits["/busy"] == QUICK.attempts

    def test_redirect_loop(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/loop", tmp_path)
        assert error.message == f"'{server.url}/loop' leads through too many redirects"
        assert error.evidence == f"the last one leads to '{server.url}/loop?token=***'"
        assert server.handler.hits["/loop"] == QUICK.redirects + 1

    def test_redirect_to_a_local_file(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/elsewhere", tmp_path)
        assert error.message.endswith("leads to something that is no http or https URL")

    def test_redirect_out_of_tls(
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
        assert error.message == f"'{url}' leads to an unprotected URL"
        assert error.evidence == f"redirected to '{server.url}/file'"
        assert fetch(url, tmp_path, SHA256) == SHA256


class TestBrokenContent:
    def test_truncated(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/truncated", tmp_path)
        assert error.message == f"'{server.url}/truncated' was cut off"
        assert error.evidence
        assert server.handler.hits["/truncated"] == QUICK.attempts

    def test_shorter_than_its_pin(self, server: Server, tmp_path: Path) -> None:
        assert (
            "not the file that was pinned"
            in failure(f"{server.url}/too-short", tmp_path, SHA256).message
        )

    def test_wrong_digest(self, server: Server, tmp_path: Path) -> None:
        error = failure(f"{server.url}/file", tmp_path, "0" * 64)
        assert error.message == f"'{server.url}/file' is not the file that was pinned"
        assert error.evidence.split() == [
            *("expected", "SHA-256", "0" * 64),
            *("received", "SHA-256", SHA256),
        ]
        assert server.handler.hits["/file"] == 1

    def test_no_http(self, server: Server, tmp_path: Path) -> None:
        assert "connection failed" in failure(f"{server.url}/garbled", tmp_path).message


class TestConnection:
    @pytest.mark.parametrize("path", ["stall", "silent"])
    def test_time_out(self, path: str, server: Server, tmp_path: Path) -> None:
        started = time.monotonic()
        error = failure(f"{server.url}/{path}", tmp_path)
        assert error.message.endswith("could not be fetched: nothing came in time")
        assert server.handler.hits[f"/{path}"] == QUICK.attempts
        assert time.monotonic() - started < 10

    def test_refused(self, tmp_path: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            error = failure(f"http://127.0.0.1:{port}/file?token=SECRET", tmp_path)
        assert error.message.endswith("could not be fetched: its host refused the connection")
        assert "Connection refused" in error.evidence
        assert "SECRET" not in error.reason

    def test_unknown_host(self, tmp_path: Path) -> None:
        error = failure("http://user:SECRET@no-such-host.invalid/file", tmp_path)
        assert error.message == (
            "'http://***@no-such-host.invalid/file' could not be fetched: its host is not known"
        )
        assert "SECRET" not in error.reason

    def test_untrusted_certificate(self, tls_server: Server, tmp_path: Path) -> None:
        error = failure(f"{tls_server.url}/file", tmp_path)
        assert error.message.endswith("could not be fetched: no trusted TLS connection to its host")
        assert "CERTIFICATE_VERIFY_FAILED" in error.evidence
        assert tls_server.handler.hits == {}

    def test_proxy_that_is_down(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
            error = failure("http://no-such-host.invalid/file", tmp_path)
        assert error.message.endswith("the proxy did not let us through")

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
    def test_no_url(self, url: str, tmp_path: Path) -> None:
        assert "is no http or https URL" in failure(url, tmp_path).message


class TestOurSide:
    def test_interrupt_leaves_nothing(self, server: Server, tmp_path: Path) -> None:
        class Impatient(Silence):
            def reach(self, done: float, total: float) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            net.download(
                f"{server.url}/file", tmp_path / "target", sha256=None, progress=Impatient()
            )
        assert list(tmp_path.iterdir()) == []

    def test_no_such_folder(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="could not be written: No such file"):
            fetch(f"{server.url}/file", tmp_path / "missing")

    def test_file_that_grows_too_large(self, server: Server, tmp_path: Path) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, limits[1]))
        try:
            with pytest.raises(DownloadError, match="could not be written: File too large"):
                fetch(f"{server.url}/file", tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/file.deb?x=1#part", "https://host/file.deb?x=1#part"),
        ("https://user:word@host:8080/file", "https://***@host:8080/file"),
        ("https://token@host/file", "https://***@host/file"),
        (
            "https://host/f?a=1&X-Amz-Signature=abc&access_token=def&b=2",
            "https://host/f?a=1&X-Amz-Signature=***&access_token=***&b=2",
        ),
        ("http://[::1/file", "***"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert net.redacted(url) == shown
