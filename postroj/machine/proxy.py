"""Connect to the socket of a machine's line, and hand the connection to ssh: `ProxyUseFdpass`.

A program of its own, with nothing of postroj in it, since ssh runs it.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

INTERVAL = 0.01
"""Seconds between two attempts to connect: ssh is started at the same time as qemu."""


def main(path: str) -> None:
    """Send the connected socket through stdout, which ssh has made a socket.

    :raises OSError: if nobody listens there any more.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while not Path(path).exists():
        time.sleep(INTERVAL)
    line.connect(path)
    with socket.socket(fileno=1) as ssh:
        socket.send_fds(ssh, [b"\0"], [line.fileno()])


if __name__ == "__main__":
    main(sys.argv[1])
