"""Notifications over a real socket, and the leader in a real process tree."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

import pytest

from postroj.container.boot import readiness
from postroj.container.boot.readiness import Listener, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's notifications count")
SEND = """
import os, socket, sys
uid = int(sys.argv[2])
if uid:
    os.setuid(uid)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[3].encode(), sys.argv[1])
"""


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (b"READY=1", {"READY": "1"}),
        (
            b"X_NSPAWN_LEADER_PID=17\nSTATUS=Container running.\n",
            {"X_NSPAWN_LEADER_PID": "17", "STATUS": "Container running."},
        ),
        (b"STATUS=a=b\n\nJUNK\n", {"STATUS": "a=b", "": "", "JUNK": ""}),
        (b"", {}),
        (b"STATUS=\xff", {"STATUS": "\ufffd"}),
    ],
)
def test_parse_a_notification(payload: bytes, fields: dict[str, str]) -> None:
    found = parse(payload, 7, 8)
    assert (found.pid, found.uid, found.fields) == (7, 8, fields)


@pytest.fixture
def end() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pipe: the end that tells of nspawn's death, and the one that nspawn holds."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        yield reader, writer


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "notify") as opened:
        yield opened


def send(path: Path, text: str, uid: int = 0) -> int:
    child = subprocess.Popen([sys.executable, "-c", SEND, str(path), str(uid), text])
    assert child.wait(20) == 0
    return child.pid


@as_root
def test_next_returns_notifications_in_order(
    tmp_path: Path, listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    senders = [send(tmp_path / "notify", text) for text in ("A=1\nB=2", "READY=1")]
    for sender, fields in zip(senders, [{"A": "1", "B": "2"}, {"READY": "1"}], strict=True):
        found = listener.next(end[0], time.monotonic() + 10)
        assert found
        assert (found.pid, found.uid, found.fields) == (sender, 0, fields)


@as_root
def test_next_ignores_notifications_of_another_user(
    tmp_path: Path, listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    path = tmp_path / "notify"
    path.chmod(0o777)
    for folder in path.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o111)
    send(path, "READY=1", uid=65534)
    send(path, "READY=0")
    found = listener.next(end[0], time.monotonic() + 10)
    assert found and found.fields == {"READY": "0"}


def test_next_returns_none_at_the_end_of_the_script(
    listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    end[1].close()
    assert listener.next(end[0], time.monotonic() + 10) is None


def test_next_takes_a_word_of_the_script_for_its_end(
    listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    end[1].write(b"ended\n")
    end[1].flush()
    assert listener.next(end[0], time.monotonic() + 10) is None


@as_root
def test_next_returns_a_notification_before_the_end(
    tmp_path: Path, listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    send(tmp_path / "notify", "READY=1")
    end[1].close()
    assert listener.next(end[0], time.monotonic() + 10)
    assert listener.next(end[0], time.monotonic() + 10) is None


def test_next_raises_at_the_deadline(listener: Listener, end: tuple[IO[bytes], IO[bytes]]) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        listener.next(end[0], began + 0.1)
    assert 0.1 <= time.monotonic() - began < 5
    with pytest.raises(TimeoutError):
        listener.next(end[0], began - 1)


def test_next_raises_at_the_deadline_during_a_flood(
    tmp_path: Path, listener: Listener, end: tuple[IO[bytes], IO[bytes]]
) -> None:
    """An empty datagram is a notification of nothing for root, and ignored from others."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", str(tmp_path / "notify"))
    if os.geteuid() == 0:
        found = listener.next(end[0], time.monotonic() + 10)
        assert found and found.fields == {}
    with pytest.raises(TimeoutError):
        listener.next(end[0], time.monotonic() + 0.05)


class TestLeader:
    def test_of_a_real_tree(self) -> None:
        script = "sleep 100 & echo $!; sleep 100 & echo $!; wait"
        argv = ["sh", "-c", script]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as parent:
            assert parent.stdout
            try:
                children = [int(parent.stdout.readline()) for _ in range(2)]
                for child in children:
                    assert readiness.leader_of(parent.pid, child) == child
                with pytest.raises(ProcessLookupError):
                    readiness.leader_of(parent.pid, 1)
            finally:
                os.killpg(parent.pid, 9)

    @as_root
    def test_in_a_namespace(self) -> None:
        argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo; sleep 100"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as parent:
            assert parent.stdout
            try:
                parent.stdout.readline()
                leader = readiness.leader_of(parent.pid, 1)
                status = f"/proc/{leader}/status"
                with open(status) as stream:  # noqa: PTH123
                    assert f"NSpid:\t{leader}\t1\n" in stream.read()
            finally:
                parent.kill()

    def test_of_a_process_that_is_gone(self) -> None:
        with pytest.raises(ProcessLookupError):
            readiness.leader_of(2**22 + 1, 1)
