"""URLs to check, and checks of real servers on loopback."""

from __future__ import annotations

import http.server
import os
import re
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from postroj import __version__
from postroj.errors import UsageError
from postroj.probe.ask import ports
from postroj.probe.ask.deadline import CalledOff, Deadline
from postroj.probe.ask.ports import HttpCriteria, endpoint
from postroj.verdict import Outcome
from tests.support import here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace takes root")


class TestEndpoint:
    @pytest.mark.parametrize(
        ("url", "parts"),
        [
            ("tcp://127.0.0.1:80", ("tcp", "127.0.0.1", 80, "/")),
            ("tcp://localhost:65535", ("tcp", "localhost", 65535, "/")),
            ("TCP://localhost:1", ("tcp", "localhost", 1, "/")),
            ("udp://[::1]:53", ("udp", "::1", 53, "/")),
            ("udp://[fe80::1%25eth0]:53", ("udp", "fe80::1%25eth0", 53, "/")),
            ("http://localhost", ("http", "localhost", 80, "/")),
            ("https://localhost", ("https", "localhost", 443, "/")),
            ("https://[::1]:8443/a/b?c=d&e#f", ("https", "::1", 8443, "/a/b?c=d&e")),
            ("http://user:word@localhost:81/", ("http", "localhost", 81, "/")),
            ("http://localhost?q=1", ("http", "localhost", 80, "/?q=1")),
        ],
    )
    def test_endpoint_parses_a_url(self, url: str, parts: tuple[str, str, int, str]) -> None:
        found = endpoint(url)
        assert (found.scheme, found.host, found.port, found.path) == parts
        assert found.url == url

    @pytest.mark.parametrize(
        "url",
        [
            *("", "localhost", "localhost:80", "127.0.0.1:80", "://", "tcp:", "tcp://", "//x:1"),
            *("tcp://localhost", "tcp://localhost:", "udp://localhost", "tcp://:80"),
            *("tcp://localhost:0", "tcp://localhost:99999", "tcp://localhost:-1"),
            *("tcp://localhost:http", "tcp://localhost:8 0", "http://localhost:99999/"),
            *("tcp://[::1", "tcp://::1]:80", "http://[::1/", "http://[nonsense]/"),
            *("ftp://localhost:21", "unix:///run/x", "icmp://localhost:1", "http:///path"),
        ],
    )
    def test_endpoint_refuses_what_is_not_a_url_to_check(self, url: str) -> None:
        message = re.escape(f"'{url}' is not an address to check")
        with pytest.raises(UsageError, match=message) as error:
            endpoint(url)
        assert "tcp://host:port" in error.value.hint


class Handler(http.server.BaseHTTPRequestHandler):
    """`/404` has that status, `/text` a body; `/slow` takes its time."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/slow":
            time.sleep(1)
        status = int(path[1:]) if path[1:].isdigit() else 200
        body = f"welcome to {self.path} for {self.headers['User-Agent']}".encode()
        if path == "/latin":
            body = b"\xe9t\xe9 welcome"
        if path == "/large":
            body = b"x" * (ports.BODY_LIMIT + 10) + b"welcome"
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def ask(url: str, expected: HttpCriteria, timeout: float = 5) -> str:
    return ports._ask_http(here.guest(), endpoint(url), expected, timeout)


@as_root
class TestHttp:
    @pytest.mark.parametrize(
        ("path", "expected", "answer"),
        [
            ("/text", HttpCriteria(), "status 200"),
            ("/301", HttpCriteria(), "status 301"),
            ("/399", HttpCriteria(), "status 399"),
            ("/404", HttpCriteria(status=404), "status 404"),
            ("/text?a=b", HttpCriteria(body="/text?a=b"), "status 200"),
            ("/text", HttpCriteria(status=200, body=f"postroj/{__version__}"), "status 200"),
            ("/latin", HttpCriteria(body="welcome"), "status 200"),
            ("/text", HttpCriteria(body=""), "status 200"),
        ],
    )
    def test_an_answer_that_meets_the_criteria(
        self, server: str, path: str, expected: HttpCriteria, answer: str
    ) -> None:
        assert ask(server + path, expected) == answer

    @pytest.mark.parametrize(
        ("path", "expected", "problem"),
        [
            ("/400", HttpCriteria(), "status 400 instead of one below 400"),
            ("/404", HttpCriteria(), "status 404 instead of one below 400"),
            ("/500", HttpCriteria(body="welcome"), "status 500 instead of one below 400"),
            ("/301", HttpCriteria(status=200), "status 301 instead of 200"),
            ("/text", HttpCriteria(status=404), "status 200 instead of 404"),
            ("/text", HttpCriteria(body="adieu"), "status 200, but 'adieu' is not in the body"),
            ("/large", HttpCriteria(body="welcome"), "'welcome' is not in the body"),
        ],
    )
    def test_an_answer_that_does_not_meet_the_criteria(
        self, server: str, path: str, expected: HttpCriteria, problem: str
    ) -> None:
        with pytest.raises(ports.NoAnswer, match=re.escape(problem)):
            ask(server + path, expected)

    def test_a_slow_answer_times_out(self, server: str) -> None:
        with pytest.raises(TimeoutError):
            ask(f"{server}/slow", HttpCriteria(), timeout=0.1)

    def test_a_proxy_in_the_environment_is_ignored(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert ask(f"{server}/text", HttpCriteria()) == "status 200"


def drip(listener: socket.socket, beginning: bytes, end: bytes) -> None:
    """Answer one request a byte at a time, and after some seconds at once."""
    peer, _ = listener.accept()
    with peer, suppress(OSError):
        peer.recv(1000)
        peer.sendall(beginning)
        for _ in range(100):
            time.sleep(0.05)
            peer.sendall(b"x")
        peer.sendall(end)


@as_root
class TestDrips:
    """A server that sends a byte at a time, each within the socket's timeout."""

    @pytest.mark.parametrize(
        ("beginning", "end"),
        [
            (b"HTTP/1.1 200 ", b"\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nName: ", b"\r\n\r\n"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
                b"\r\na\r\n0\r\n\r\n",
            ),
        ],
    )
    def test_a_slow_head_times_out_in_spite_of_new_bytes(
        self, beginning: bytes, end: bytes
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=drip, args=(listener, beginning, end))
            thread.start()
            with pytest.raises(TimeoutError, match="timed out"):
                ask(f"http://127.0.0.1:{listener.getsockname()[1]}/", HttpCriteria(), timeout=0.3)
            thread.join()

    def test_an_endless_body_is_judged_by_its_beginning(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            head = b"HTTP/1.1 200 OK\r\n\r\nwelcome"
            thread = threading.Thread(target=drip, args=(listener, head, b""))
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert ask(url, HttpCriteria(body="welcome"), timeout=0.3) == "status 200"
            thread.join()


def talk(reply: bytes) -> Callable[[socket.socket], None]:
    def serve(listener: socket.socket) -> None:
        try:
            while True:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1000)
                    peer.sendall(reply)
        except OSError:
            pass

    return serve


@as_root
class TestCheck:
    """Against our own namespace."""

    def check(self, url: str, seconds: float = 0.3) -> tuple[Outcome, str]:
        where = endpoint(url)
        return ports.check(here.guest(), where, HttpCriteria(), deadline=Deadline(seconds))

    def test_a_listening_tcp_port_passes(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            outcome, reason = self.check(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        assert outcome is Outcome.PASS
        assert re.search(r" after 0\.\d s$", reason)

    def test_a_port_without_a_listener_fails_with_the_other_listeners(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            outcome, reason = self.check("tcp://127.0.0.1:1")
            port = other.getsockname()[1]
        assert outcome is Outcome.FAIL
        sentence, evidence = reason.splitlines()
        assert sentence == "connection refused for 0.3 s"
        assert evidence.startswith("tcp sockets that listen in the guest: ")
        assert f"127.0.0.1:{port}" in evidence

    def test_a_port_that_opens_late_passes(self) -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            timer = threading.Timer(0.4, listener.listen)
            timer.start()
            outcome, _ = self.check(f"tcp://127.0.0.1:{listener.getsockname()[1]}", 10)
            timer.join()
        assert outcome is Outcome.PASS

    @pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
    def test_a_silent_udp_socket_passes_if_it_is_bound(self, bound: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind((bound, 0))
            outcome, reason = self.check(f"udp://127.0.0.1:{listener.getsockname()[1]}")
        assert (outcome, reason[:5]) == (Outcome.PASS, "bound")

    def test_an_unbound_udp_port_fails(self) -> None:
        outcome, reason = self.check("udp://127.0.0.1:1")
        assert outcome is Outcome.FAIL
        assert "udp sockets that listen in the guest" in reason

    @pytest.mark.parametrize("reply", [b"", b"SSH-2.0-x\r\n", b"\0" * 9, b"HTTP/1.1 abc\r\n\r\n"])
    def test_an_answer_that_is_not_http_fails(self, reply: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=partial(talk(reply), listener), daemon=True)
            thread.start()
            outcome, reason = self.check(f"http://127.0.0.1:{listener.getsockname()[1]}/")
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        assert outcome is Outcome.FAIL
        assert "no HTTP answer" in reason or "reset" in reason or "closed" in reason

    @pytest.mark.usefixtures("no_name_is_known")
    def test_an_unknown_host_name_fails(self) -> None:
        outcome, reason = self.check("tcp://surely-not-there.invalid:80", 0)
        assert outcome is Outcome.FAIL
        assert reason.startswith("name or service not known for 0 s")

    def test_check_stops_once_it_is_cancelled(self) -> None:
        over = threading.Event()
        over.set()
        where = endpoint("tcp://127.0.0.1:1")
        with pytest.raises(CalledOff):
            ports.check(here.guest(), where, HttpCriteria(), deadline=Deadline(10, over))


def test_forget_leaves_the_port_free_for_a_server_that_has_closed_first() -> None:
    """A daemon without SO_REUSEADDR binds it again at once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        client = socket.create_connection(address)
        server, _ = listener.accept()
        server.close()
        ports.forget(client)
        client.close()
    with socket.socket() as again:
        again.bind(address)
