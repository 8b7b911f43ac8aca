"""Run a command in the guest of a machine: `call.py SOCKET REQUEST`, a program on the host.

It asks the server in the machine (`commands`) to run it, carries its streams, and exits with its
status, or with `FAILED`. It imports nothing of postroj, so that it starts quickly.

REQUEST is the server's, with the names of `secrets` whose values are in the environment. What
follows it are frames: kind, length, data. To the machine go what stdin contains and its end, which
is an empty frame, and an empty frame of an output that nobody reads any more. From it come the
outputs and, at last, the status.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from threading import Thread
from typing import IO

HEAD = struct.Struct(">BI")
IN, OUT, ERR, STATUS = range(4)
"""Kinds of frames; the first three are the numbers of the streams."""
CHUNK = 65536
FAILED = 255
"""The status of a call that has failed itself, as ssh's is, ssh(1)."""


def frame(kind: int, data: bytes = b"") -> bytes:
    """Return a frame."""
    return HEAD.pack(kind, len(data)) + data


def receive(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """Return the kind and the data of the next frame; None at the end, or if it is too long.

    :raises OSError: if the stream is broken.
    """
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, length = HEAD.unpack(head)
    data = stream.read(length) if length <= CHUNK else b""
    return (kind, data) if len(data) == length else None


def main(path: str, text: str) -> int:
    """Call, and return the status of the command."""
    request = json.loads(text)
    secrets = {name: os.environ[name] for name in request.pop("secrets")}
    request["env"].update(secrets)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(path)
        stream.sendall(json.dumps({"call": "run", **request}).encode() + b"\n")
    except OSError as error:
        print(f"the machine cannot be reached: {error.strerror}", file=sys.stderr)
        return FAILED
    Thread(target=_feed, args=(stream,), daemon=True).start()
    try:
        frames = stream.makefile("rb")
        while found := receive(frames):
            kind, data = found
            if kind == STATUS:
                return data[0] if data else FAILED
            if kind in (OUT, ERR) and not _write(kind, data):
                stream.sendall(frame(kind))
    except OSError:  # the machine has ended
        pass
    return FAILED


def _feed(stream: socket.socket) -> None:
    try:
        while data := os.read(0, CHUNK):
            stream.sendall(frame(IN, data))
        stream.sendall(frame(IN))
    except OSError:  # nobody can type any more, or the command has ended
        pass


def _write(descriptor: int, data: bytes) -> bool:
    """Write all; return whether anybody reads that."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return False
    return True


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.argv[2]))  # the other thread may wait for stdin
