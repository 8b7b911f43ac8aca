"""The other end: a command gets the user's signals, and ends with the connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from postroj.remote import far
from postroj.remote.freight import Kind
from postroj.remote.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = """
import signal, socket, sys, time
talk = socket.socket(socket.AF_UNIX)

def end(number, frame):
    talk.sendall(str(100 + number).encode())
    sys.exit(0)

for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, end)
talk.connect(sys.argv[1])
time.sleep(60)
"""


@dataclass
class Ends:
    """Both ends of a wire, and a command that has attached to one."""

    near: Wire
    far: Wire
    talk: socket.socket
    command: subprocess.Popen[bytes]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """A command that reports the signal that ends it."""
    path = str(tmp_path / "s")
    with ExitStack() as stack:
        pipes = [os.pipe() for _ in range(2)]
        reading = [stack.enter_context(os.fdopen(pipe[0], "rb", buffering=0)) for pipe in pipes]
        writing = [stack.enter_context(os.fdopen(pipe[1], "wb", buffering=0)) for pipe in pipes]
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(1)
        command = stack.enter_context(subprocess.Popen([sys.executable, "-c", COMMAND, path]))
        stack.callback(command.kill)
        talk = stack.enter_context(listener.accept()[0])
        yield Ends(Wire(reading[0], writing[1]), Wire(reading[1], writing[0]), talk, command)


def test_signal_reaches_the_command_whose_status_is_told(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far, "STDIN", ends.far.incoming.fileno())
    ends.near.send(b"")  # a sign of life
    ends.near.send(bytes([signal.SIGINT]))
    assert far._follow(ends.far, ends.talk) == 100 + signal.SIGINT


def test_command_that_is_killed_has_no_status(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "STDIN", ends.far.incoming.fileno())
    ends.command.kill()
    assert far._follow(ends.far, ends.talk) is None


@pytest.mark.parametrize("how", ["hung up", "silent"])
def test_command_ends_as_by_sighup_when_the_other_end_is(
    how: str, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far, "STDIN", ends.far.incoming.fileno())
    if how == "silent":
        monkeypatch.setattr(far, "SILENCE", 0.05)
    else:
        ends.near.outgoing.close()
    with pytest.raises(EOFError):
        far._follow(ends.far, ends.talk)
    assert ends.talk.recv(16) == str(100 + signal.SIGHUP).encode()


def test_give_back_sends_only_what_was_written(ends: Ends, tmp_path: Path) -> None:
    for name in ("same", "changed"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "empty").mkdir()
    names = ("same", "changed", "missing", "link", "empty")
    before = {name: far._signature(tmp_path / name) for name in names}
    (tmp_path / "changed").write_text("new")
    before["link"] = None
    kinds = {"empty": Kind.COPY}
    for number, name in enumerate(names):
        kind = kinds.get(name, Kind.FILE)
        far._give_back(ends.far, number, tmp_path / name, kind, before[name])
    ends.far.send_object({})
    assert ends.near.receive_object() == {"output": 1}
    assert b"".join(ends.near.stream()) == b"new"
    assert ends.near.receive_object() == {}


def test_delete_removes_folders_that_must_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # to come back to it
    fixed = tmp_path / "x" / "fixed"
    fixed.mkdir(parents=True)
    (fixed / "file").touch()
    (fixed / "link").symlink_to("/etc")
    fixed.chmod(0o000)
    far._delete(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
