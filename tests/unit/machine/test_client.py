"""Questions to the server in a machine, which may answer anything: a real server on a socket."""

from __future__ import annotations

import errno
import json
import socket
import time
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from postroj.machine import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = Callable[[dict[str, Any]], bytes]

PATIENCE = 10.0
TRUE = b'{"value": true}\n'


class Server:
    """Answers each line of each connection; an empty answer closes the connection."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            for line in lines:
                request = json.loads(line)
                self.asked.append(request)
                answer = self._answer(request)
                if not answer:
                    return
                connection.sendall(answer)


@contextmanager
def line_to(path: Path, answer: Answer) -> Iterator[tuple[client.Line, Server]]:
    server = Server(path, answer)
    line = client.Line(path)
    yield line, server
    line.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.mark.parametrize(
    ("reply", "kind", "value"),
    [
        (b'{"value": true}\n', bool, True),
        (b'{"value": 12.5}\n', float, 12.5),
        (b'{"value": null}\n', type(None), None),
        (b'{"value": [{"path": "/\\udcff"}]}\n', list, [{"path": "/\udcff"}]),
    ],
)
def test_ask(path: Path, reply: bytes, kind: type, value: object) -> None:
    with line_to(path, lambda _: reply) as (line, server):
        assert line.ask("walk", kind, deepest=2) == value
    assert server.asked == [{"call": "walk", "deepest": 2}]


def test_ask_raises_what_the_server_met(path: Path) -> None:
    reply = b'{"errno": 13, "message": "Permission denied"}\n'
    with line_to(path, lambda _: reply) as (line, _):
        with pytest.raises(PermissionError, match="Permission denied"):
            line.ask("read_file", str, path="/x")
        with pytest.raises(PermissionError):  # the line is still of use
            line.ask("read_file", str, path="/x")


GARBAGE = [
    *(b"", b"\n", b"garbage\n", b"[]\n", b"3\n", b'"errno"\n', b"null\n", b"{}\n", b"\xff\xfe\n"),
    *(b'{"value": 1}\n', b'{"value": "true"}\n', b'{"valeu": true}\n', b'{"value": null}\n'),
    *(b'{"errno": "x", "message": ""}\n', b'{"errno": 1}\n', b'{"errno": null, "message": ""}\n'),
    *(b'{"errno": Infinity, "message": ""}\n', b'{"value": ' + b"9" * 5000 + b"}\n"),
    b"[" * 200_000 + b"\n",
]


@pytest.mark.parametrize("reply", GARBAGE, ids=lambda reply: repr(reply[:30]))
def test_ask_takes_no_garbage(path: Path, reply: bytes) -> None:
    with line_to(path, lambda _: reply) as (line, _), pytest.raises(client.Gone):
        line.ask("exists", bool, path="/")


def test_ask_reads_no_answer_that_is_too_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LONGEST", 1000)
    reply = b'{"value": "' + b"x" * 2000 + b'"}\n'
    with line_to(path, lambda _: reply) as (line, _), pytest.raises(client.Gone):
        line.ask("read_file", str, path="/x")


def test_ask_waits_no_longer_than_for_the_longest_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that hangs answers nothing, and closes nothing."""
    monkeypatch.setattr(client, "SILENCE", 0.1)

    def hang(_: dict[str, Any]) -> bytes:
        time.sleep(PATIENCE)
        return TRUE

    with line_to(path, hang) as (line, _):
        began = time.monotonic()
        with pytest.raises(client.Gone):
            line.ask("exists", bool, path="/")
    assert time.monotonic() - began < PATIENCE / 2


def test_ask_a_machine_that_ends(path: Path) -> None:
    with line_to(path, lambda _: b"") as (line, _):
        assert not line.has_ended(0)
        with pytest.raises(client.Gone):
            line.ask("exists", bool, path="/")
        assert line.has_ended(PATIENCE)
        with pytest.raises(client.Gone):
            line.ask("exists", bool, path="/")


def test_a_line_that_was_closed_has_ended(path: Path) -> None:
    """As that of a guest that did not come back from a reboot."""
    with line_to(path, lambda _: TRUE) as (line, _):
        line.close()
        assert line.has_ended(0)
        with pytest.raises(client.Gone):
            line.ask("exists", bool, path="/")


def test_an_answer_that_is_under_way_is_not_the_end(path: Path) -> None:
    def slow(_: dict[str, Any]) -> bytes:
        time.sleep(0.3)
        return TRUE

    with line_to(path, slow) as (line, _):
        asking = Thread(target=line.ask, args=("exists", bool))
        asking.start()
        while asking.is_alive():
            assert not line.has_ended(0)
            time.sleep(0.01)


def test_line_without_a_server(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.Line(path)


def deadline() -> float:
    return time.monotonic() + PATIENCE


def test_connect_as_soon_as_the_server_answers(path: Path) -> None:
    replies = iter([b"", b'{"errno": 2, "message": "not yet"}\n', TRUE])

    def start() -> None:
        time.sleep(0.1)
        Server(path, lambda _: next(replies))

    Thread(target=start, daemon=True).start()
    line = client.connect(path, deadline(), lambda: False)
    assert list(replies) == []
    line.close()


def test_connect_to_a_machine_that_ends_before(path: Path) -> None:
    ends = iter([False, False, True])
    with pytest.raises(client.Gone):
        client.connect(path, deadline(), lambda: next(ends))
    assert list(ends) == []


def test_connect_until_the_deadline(path: Path) -> None:
    with pytest.raises(TimeoutError):
        client.connect(path, time.monotonic() + 0.1, lambda: False)


def test_await_ready(path: Path) -> None:
    replies = iter([b'{"value": false}\n', TRUE])
    with line_to(path, lambda _: next(replies)) as (line, _):
        client.await_ready(line, deadline())
    assert list(replies) == []
    path.unlink()
    with (
        line_to(path, lambda _: b'{"value": false}\n') as (line, _),
        pytest.raises(TimeoutError),
    ):
        client.await_ready(line, time.monotonic() - 1)


def test_clock_offset_and_set_clock(path: Path) -> None:
    """This machine began a thousand seconds after its host."""

    def answer(request: dict[str, Any]) -> bytes:
        value = time.monotonic() - 1000 if request["call"] == "uptime" else None
        return json.dumps({"value": value}).encode() + b"\n"

    with line_to(path, answer) as (line, server):
        assert client.clock_offset(line) == pytest.approx(1000, abs=1)
        client.set_clock(line)
    assert server.asked[-1]["call"] == "set_clock"
    assert server.asked[-1]["now"] == pytest.approx(time.time(), abs=5)


def reach(path: Path, kind: str = "stream") -> socket.socket:
    return client.reach(path, "127.0.0.1:80", kind, PATIENCE, 7)


def test_reach_leads_to_the_socket_in_the_guest(path: Path) -> None:
    """A service may speak at once, right after the answer of the server."""
    server = Server(path, lambda _: b'{"value": null}\nSSH-2.0-x\r\n')
    with reach(path) as found:
        assert found.recv(99) == b"SSH-2.0-x\r\n"
        assert found.gettimeout() == PATIENCE
    asked = {"address": "127.0.0.1:80", "kind": "stream", "timeout": PATIENCE, "opener": 7}
    assert server.asked == [{"call": "connect", **asked}]


def test_reach_datagrams(path: Path) -> None:
    Server(path, lambda _: b'{"value": null}\n\0\0\0\2hi\0\0\0\0')
    with reach(path, "dgram") as found:
        assert found.recv(99) == b"hi"
        assert found.recv(99) == b""


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNREFUSED, ConnectionRefusedError),
        (errno.ENOENT, FileNotFoundError),
        (errno.ECONNRESET, ConnectionResetError),
        (errno.EACCES, PermissionError),
        (errno.ETIMEDOUT, TimeoutError),
    ],
)
def test_reach_what_the_guest_refuses(path: Path, number: int, kind: type[OSError]) -> None:
    """The guest is there, so it has not ended."""
    Server(path, lambda _: json.dumps({"errno": number, "message": "no"}).encode() + b"\n")
    with pytest.raises(kind):
        reach(path)


@pytest.mark.parametrize("reply", GARBAGE[:3], ids=["end", "empty", "garbage"])
def test_reach_takes_no_garbage(path: Path, reply: bytes) -> None:
    Server(path, lambda _: reply)
    with pytest.raises(client.Gone):
        reach(path)


def test_reach_reads_no_endless_answer(path: Path) -> None:
    Server(path, lambda _: b"x" * 100_000)
    with pytest.raises(client.Gone):
        reach(path)


def test_reach_a_machine_that_has_ended(path: Path) -> None:
    with pytest.raises(client.Gone):
        reach(path)
    with socket.socket(socket.AF_UNIX) as listener:  # a socket on which nobody listens
        listener.bind(str(path))
        with pytest.raises(client.Gone):
            reach(path)
