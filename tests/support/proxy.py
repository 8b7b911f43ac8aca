"""A proxy that wants a password, and counts what it is asked for."""

from __future__ import annotations

import http.client
from base64 import b64encode
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


USER = "user:secret"
CREDENTIALS = f"Basic {b64encode(USER.encode()).decode()}"


class Proxy(ThreadingHTTPServer):
    """Fetches what it is asked for by GET, or has it in a folder; refuses every tunnel."""

    daemon_threads = True

    def __init__(self, folder: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[str] = []
        """URLs, and `host:port` of tunnels."""

    @property
    def url(self) -> str:
        """Where it is, with the password."""
        return f"http://{USER}@127.0.0.1:{self.server_port}"

    def handle_error(self, *args: object) -> None:
        """Take it easy when a client hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        if not self._admits():
            return
        parts = urlsplit(self.path)
        if self.server.folder:
            file = self.server.folder / unquote(parts.path).lstrip("/")
            status, body = (200, file.read_bytes()) if file.is_file() else (404, b"")
        else:
            with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as way:
                way.request("GET", parts.path)
                answer = way.getresponse()
                status, body = answer.status, answer.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        if self._admits():
            self.send_error(403)

    def _admits(self) -> bool:
        """Whether the client has said the password, which some wait to be asked for."""
        if self.headers.get("Proxy-Authorization") == CREDENTIALS:
            self.server.asked.append(self.path)
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def proxied(
    folder: Path | None = None, place: Callable[[Callable[[], Proxy]], Proxy] = lambda make: make()
) -> Iterator[Proxy]:
    """Serve until it is not needed any more; `place` says where its socket is opened."""
    proxy = place(lambda: Proxy(folder))
    thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
