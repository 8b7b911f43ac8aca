"""What the server in a machine answers; this host's own `/proc` stands in for the machine's."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.guest import File, FileKind
from postroj.container.held import Held
from postroj.machine import answers, client, commands
from postroj.machine.answers import group_of, members

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the guest's init, whose files we may read."""
    monkeypatch.setattr(answers, "INIT", os.getpid())


@pytest.fixture
def ready() -> Event:
    return Event()


class Asking:
    """The other end of a connection to the server."""

    def __init__(self, ready: Event) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self._lines = self.socket.makefile("rb")
        self.thread = Thread(target=answers.Answering(theirs, ready).serve, daemon=True)
        self.thread.start()

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        self.socket.sendall(json.dumps({"call": call, **arguments}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def server(ready: Event) -> Iterator[Asking]:
    found = Asking(ready)
    yield found
    found.close()
    found.thread.join(PATIENCE)
    assert not found.thread.is_alive()


def test_exists(server: Asking, tmp_path: Path) -> None:
    assert server.ask("exists", path=str(tmp_path)) == {"value": True}
    assert server.ask("exists", path=str(tmp_path / "x")) == {"value": False}


def test_read_file(server: Asking, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\xffabc")
    answer = server.ask("read_file", path=str(tmp_path / "x"), limit=4)
    assert base64.b64decode(answer["value"])[:4] == b"\0\xffab"


def test_an_error_has_its_number_and_the_server_goes_on(server: Asking, tmp_path: Path) -> None:
    answer = server.ask("read_file", path=str(tmp_path / "x"), limit=4)
    assert answer == {"errno": errno.ENOENT, "message": "No such file or directory"}
    assert server.ask("init") == {"value": Held(os.getpid()).comm}


def test_walk(server: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """All names come through, also those that are no text."""
    odd = os.fsdecode(b"\xff")

    def walk(_: object, **arguments: Any) -> list[Any]:
        assert arguments == {"skip": ["/proc"], "deepest": 3, "digests": True}
        return [File(path=f"/{odd}", kind=FileKind.FILE, mode=0o644, uid=0, gid=0, size=1)]

    monkeypatch.setattr("postroj.machine.answers.files.walk", walk)
    answer = server.ask("walk", skip=["/proc"], deepest=3, digests=True)
    assert answer["value"][0]["path"] == f"/{odd}"


def test_await_ready(server: Asking, ready: Event) -> None:
    assert server.ask("await_ready", patience=0.01) == {"value": False}
    ready.set()
    assert server.ask("await_ready", patience=PATIENCE) == {"value": True}


def test_uptime(server: Asking) -> None:
    assert server.ask("uptime")["value"] == pytest.approx(time.monotonic(), abs=PATIENCE)


def test_oom_kills(server: Asking) -> None:
    assert isinstance(server.ask("oom_kills")["value"], int)


def test_sockets(server: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        answers, "members", lambda: [(Held(os.getpid()), "/system.slice/x.service")]
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = server.ask("sockets")["value"]
    (ours,) = [one for one in found if one["entry"]["port"] == port]
    assert (ours["unit"], ours["opener"]) == ("x.service", os.getpid())


def test_end_command(server: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "COMMANDS", tmp_path)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        (tmp_path / "123").symlink_to(str(child.pid))
        assert server.ask("end_command", token="123") == {"value": None}
        assert child.wait(PATIENCE) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
    assert server.ask("end_command", token="123") == {"value": None}  # it has ended


def test_the_server_gives_up_a_connection_with_garbage(server: Asking) -> None:
    server.socket.sendall(b"garbage\n")
    assert server.socket.recv(99) == b""


@contextmanager
def listening(tmp_path: Path, ready: Event) -> Iterator[Path]:
    """Yield the path of a socket on which the server answers, one connection each."""
    path = tmp_path / "answers"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                Thread(target=answers.Answering(connection, ready).serve, daemon=True).start()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


@pytest.mark.parametrize("opener", [0, os.getpid(), 2**22 - 1], ids=["none", "ours", "gone"])
def test_connect_to_a_service_that_speaks_first(tmp_path: Path, ready: Event, opener: int) -> None:
    """From end to end: client, server and service; the opener may have ended."""
    place = str(tmp_path / "service")
    with listening(tmp_path, ready) as path, socket.socket(socket.AF_UNIX) as service:
        service.bind(place)
        service.listen()
        with client.reach(path, place, "stream", PATIENCE, opener) as found:
            other, _ = service.accept()
            with other:
                other.sendall(b"220 hello\r\n")
                assert found.recv(99) == b"220 hello\r\n"
                found.sendall(b"QUIT\r\n")
                assert other.recv(99) == b"QUIT\r\n"
            assert found.recv(99) == b""


def test_connect_to_a_seqpacket_service(tmp_path: Path, ready: Event) -> None:
    place = str(tmp_path / "service")
    kind = socket.SOCK_SEQPACKET
    with listening(tmp_path, ready) as path, socket.socket(socket.AF_UNIX, kind) as service:
        service.bind(place)
        service.listen()
        with client.reach(path, place, "seqpacket", PATIENCE, 0) as found:
            other, _ = service.accept()
            with other:
                found.send(b"one")
                found.send(b"two")
                assert [other.recv(99), other.recv(99)] == [b"one", b"two"]


def test_connect_to_nothing_is_refused_and_not_the_end(tmp_path: Path, ready: Event) -> None:
    with listening(tmp_path, ready) as path:
        with pytest.raises(FileNotFoundError):
            client.reach(path, str(tmp_path / "x"), "stream", PATIENCE, 0)
        line = client.Line(path)
        assert line.ask("exists", bool, path="/")
        line.close()


def test_members_are_not_of_the_servers_own_mount_namespace() -> None:
    """All that we can see here are of ours, or of another one."""
    ours = Path("/proc/self/ns/mnt").stat().st_ino
    found = [held.pid for held, _ in members()]
    assert os.getpid() not in found
    for pid in found:
        try:
            assert Path(f"/proc/{pid}/ns/mnt").stat().st_ino != ours
        except OSError:  # it has ended
            continue


def test_members_have_the_group_of_the_guest() -> None:
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout
        if not child.stdout.readline():
            pytest.skip("this host makes no user namespaces")
        found = {held.pid: group for held, group in members()}
        expected = group_of(Path(f"/proc/{child.pid}/cgroup").read_text())
        child.kill()
    assert found[child.pid] == expected
    assert 2 not in found or Path("/proc/2/exe").exists()  # kthreadd


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/system.slice/x.service\n", "/system.slice/x.service"),
        (
            "12:pids:/other\n1:name=systemd:/system.slice/x.service\n0::/elsewhere\n",
            "/system.slice/x.service",
        ),
        ("4:cpu,cpuacct:/a\n1:name=systemd:/system.slice/x.service\n", "/system.slice/x.service"),
        ("0::/system.slice/a:b.service\n", "/system.slice/a:b.service"),
        ("4:cpu,cpuacct:/a\n", ""),
        ("", ""),
    ],
    ids=["v2", "hybrid", "v1", "colon", "no systemd", "none"],
)
def test_group_of(text: str, group: str) -> None:
    assert group_of(text) == group
