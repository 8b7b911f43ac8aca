"""Copy single files as autopkgtest expects it: follow links, and keep modes of existing files."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import GuestError
from postroj.process import HEAD, Feed, Tail

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.streams import Sink

WRITE = ("sh", "-c", 'cat >"$1" && if [ "$2" ]; then chmod +x -- "$1"; fi', "sh")
READ = ("cat", "--")


def send_file(guest: Guest, source: IO[bytes], path: str) -> None:
    """Write a file of the host, opened, to a path of the guest; keep that it can be executed.

    :raises GuestError: if it cannot be written, or the guest ends meanwhile.
    """
    can_run = os.fstat(source.fileno()).st_mode & 0o111
    feed = Feed(descriptor=source.fileno())
    _cat(guest, (*WRITE, path, "x" if can_run else ""), feed, lambda chunk: None)


def fetch_file(guest: Guest, path: str, target: IO[bytes]) -> None:
    """Write a file of the guest to a file of the host, opened.

    :raises GuestError: if it cannot be read, or the guest ends meanwhile.
    """

    def write(chunk: bytes) -> None:
        target.write(chunk)

    _cat(guest, (*READ, path), Feed(), write)


def _cat(guest: Guest, argv: tuple[str, ...], feed: Feed, sink: Sink) -> None:
    complaints = Tail(first=HEAD)
    with guest.spawn(argv, process.STDIO) as child:
        status = process.relay(child, stdin=feed, stdout=sink, stderr=complaints)
    if status:
        guest.require()
        message = "the guest cannot read or write the file"
        evidence = process.last_lines(bytes(complaints).decode(errors="replace"))
        raise GuestError(message, evidence=evidence)
