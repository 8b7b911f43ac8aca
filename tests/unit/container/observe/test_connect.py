"""Connections to real unix sockets, and to files that are not sockets."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.held import Held
from postroj.container.observe.connect import connect
from tests.support import here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("kind", "name"), [(socket.SOCK_STREAM, "stream"), (socket.SOCK_SEQPACKET, "seqpacket")]
)
def test_connect_to_a_unix_socket_by_its_path(
    tmp_path: Path, kind: socket.SocketKind, name: str
) -> None:
    path = str(tmp_path / "a socket")
    child = subprocess.Popen(["sleep", "60"])
    gone = Held(child.pid)
    child.kill()
    child.wait()
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(path)
        with pytest.raises(ConnectionRefusedError):
            connect(here.of(), path, name, 1)
        server.listen()
        # as one process sees it, or as the next does
        with (
            connect(here.of(), path, name, 1, opener=gone) as client,
            server.accept()[0] as other,
        ):
            client.send(b"here")
            assert other.recv(9) == b"here"
    with pytest.raises(ConnectionRefusedError):
        connect(here.of(), path, name, 1)
    with pytest.raises(FileNotFoundError):
        connect(here.of(), f"{path}-gone", name, 1)


def test_connect_to_a_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="refused"):
        connect(here.of(), str(tmp_path / "file"), "stream", 1)


def test_connect_to_a_relative_path_as_its_opener_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As postfix has its sockets, which it opens from its queue directory."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("one:x")
        server.listen()
        connect(here.of(), "one:x", "stream", 1, opener=Held(os.getpid())).close()
    with pytest.raises(FileNotFoundError):
        connect(here.of(), "private/anvil", "stream", 1, opener=Held(os.getpid()))
