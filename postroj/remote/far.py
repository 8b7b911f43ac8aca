"""The other end: a process that keeps the user's files, and one that carries out the command.

Both are started by ssh, in two sessions. The streams of the second are those of the command. The
first sends it the user's signals, and ends it when the connection is gone.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from postroj import __version__, away
from postroj.remote import freight
from postroj.remote.freight import Kind, as_file, pack
from postroj.remote.wire import Stream, Wire
from postroj.streams import STDIN, STDOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOM = "/var/tmp"  # noqa: S108 the folder in it is ours alone
"""Where images fit, unlike in many a /tmp."""
ROOT = "root"
"""The folder with the user's files."""
SOCKET, ORDER = "socket", "order.json"
SILENCE = 300.0
"""Seconds without a word of the other end after which it is gone."""
GRACE = 60.0
"""Seconds that a command has to end after SIGHUP."""

Signature = tuple[int, ...] | None


def main(words: Sequence[str], run: Callable[[], NoReturn]) -> NoReturn:
    """Be one of the two processes; `run` is the program."""
    match words:
        case ["serve"]:
            _serve()
        case ["attach", folder]:
            _attach(Path(folder), run)
        case _:
            pass
    sys.exit("this is what `postroj --host` starts on the other machine")


def _serve() -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    parent = os.environ.get("TMPDIR") or ROOM
    try:
        folder = Path(tempfile.mkdtemp(prefix="postroj-host-", dir=parent))
    except OSError as error:
        sys.exit(str(error))
    try:
        with (
            open(STDIN, "rb", buffering=0, closefd=False) as incoming,
            open(STDOUT, "wb", buffering=0, closefd=False) as outgoing,
            suppress(EOFError, BrokenPipeError),
        ):
            outgoing.write(f"postroj {__version__} {folder}\n".encode())
            _carry_out(Wire(incoming, outgoing), folder)
    finally:
        _delete(folder)
    sys.exit(0)


def _delete(folder: Path) -> None:
    """Delete the folder, even where the user's folders must not be written to."""
    os.chdir("/")
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _carry_out(wire: Wire, folder: Path) -> None:
    """Serve one command.

    :raises EOFError: if the other end is gone; the command has ended.
    """
    order = wire.receive_object()
    root = folder / ROOT
    root.mkdir()
    stream = Stream(wire)
    fault = ""
    try:
        freight.unpack(as_file(stream), root)
    except (OSError, tarfile.TarError) as error:
        fault = str(error)
    stream.skip()
    if fault:
        wire.send_object({"error": fault})
        return
    os.chdir(folder)  # the path of a socket must be short
    Path(ORDER).write_text(json.dumps(order))
    before = [_signature(root / one["path"]) for one in order["expected"]]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(SOCKET)
        listener.listen(1)
        wire.send_object({"ready": True})
        while listener.fileno() not in (ready := _await({STDIN, listener.fileno()}, SILENCE)):
            if not ready:
                raise EOFError
            wire.receive()  # a sign of life; no signal comes before the command
        talk = listener.accept()[0]
    wire.send_object({"begun": True})
    with talk:
        status = _follow(wire, talk)
    wire.send_object({"status": status})
    for number, (one, old) in enumerate(zip(order["expected"], before, strict=True)):
        _give_back(wire, number, root / one["path"], Kind(one["kind"]), old)
    wire.send_object({})


def _follow(wire: Wire, talk: socket.socket) -> int | None:
    """Pass signals on until the command has ended; return its status, or None if it was killed.

    :raises EOFError: if the other end is gone; the command has ended.
    """
    pid = int.from_bytes(talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)
    command = os.pidfd_open(pid)
    try:
        while command not in (ready := _await({STDIN, command}, SILENCE)):
            if not ready:
                raise EOFError
            if word := wire.receive():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(command, word[0])
        talk.setblocking(False)
        with suppress(BlockingIOError):
            return int(talk.recv(16) or b"") if _await({talk.fileno()}, 0) else None
        return None
    except (ValueError, ConnectionError):
        return None
    finally:  # also of a signal
        _end(command)
        os.close(command)


def _end(command: int) -> None:
    """End a command in its usual way, or by force if it does not."""
    for number, patience in ((signal.SIGHUP, GRACE), (signal.SIGKILL, GRACE)):
        if _await({command}, 0):
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(command, number)
        _await({command}, patience)


def _await(descriptors: set[int], seconds: float) -> set[int]:
    """Wait for input, or the end of a process or peer; return who has it."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(seconds * 1000)}


def _signature(path: Path) -> Signature:
    """Return what changes when a file is written; None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _give_back(wire: Wire, number: int, path: Path, kind: Kind, old: Signature) -> None:
    """Send what the command has written to a path, if it has."""
    new = _signature(path)
    is_folder = path.is_dir() and not path.is_symlink()
    if new is None or (new == old and not is_folder):
        return
    if kind in (Kind.FOLDER, Kind.COPY):
        if is_folder and old and not any(path.iterdir()):
            return
        wire.send_object({"output": number, "folder": is_folder})
        pack(path, as_file(wire))
        wire.send(b"")
    elif path.is_file() and not path.is_symlink():
        wire.send_object({"output": number})
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                wire.write(chunk)
        wire.send(b"")


def _attach(folder: Path, run: Callable[[], NoReturn]) -> NoReturn:
    """Carry out the command of a folder with the streams of this process."""
    os.chdir(folder)
    order = json.loads(Path(ORDER).read_text())
    talk = socket.socket(socket.AF_UNIX)
    talk.connect(SOCKET)
    _settle(order, str(folder / ROOT))
    status: Any = 0
    try:
        run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):  # who kept the folder is gone
        talk.sendall(str(status).encode())
    sys.exit(status)


def _settle(order: Mapping[str, Any], root: str) -> None:
    """Let this process be at home where the user is."""
    away.set_home(
        away.Home(
            root=root,
            host=order["host"],
            windows=order["windows"],
            variables=order["variables"],
        )
    )
    os.environ.pop("POSTROJ_HOST", None)
    os.environ.update(order["environment"])
    os.chdir(os.path.join(root, order["folder"]))  # noqa: PTH118
    sys.argv[1:] = order["words"]
