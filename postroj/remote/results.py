"""Write what came back from the other machine, to the expected paths only.

The other machine may be hostile: for a file it sends only content, and the names in a folder are
resolved below that folder without following links.
"""

from __future__ import annotations

import os
import tarfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postroj.errors import HostError, PostrojError, UsageError
from postroj.remote.freight import Kind, as_file
from postroj.remote.wire import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.remote.freight import Expected
    from postroj.remote.wire import Wire

HAS_DESCRIPTORS = os.open in os.supports_dir_fd and hasattr(os, "fchown")
"""Whether files can be made relative to an open folder, which Windows lacks."""


def receive(wire: Wire, expected: Sequence[Expected], host: str) -> None:
    """Write everything, even if some of it fails.

    :raises UsageError: if a path is not writable; for the first one.
    :raises HostError: if the other machine sends what was not expected.
    :raises EOFError: if the connection ends.
    """
    errors: list[PostrojError] = []
    waiting = dict(enumerate(expected))
    while head := wire.receive_object():
        stream = Stream(wire)
        number = head.get("output")
        place = waiting.pop(number, None) if isinstance(number, int) else None
        if place is None:
            message = f"'{host}' sent a file that the command does not name"
            raise HostError(message, hint="do not trust that machine")
        try:
            with _writable(place.path):
                _write(place, head, stream, host)
        except PostrojError as error:
            errors.append(error)
        stream.skip()
    if errors:
        raise errors[0]


@contextmanager
def _writable(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"'{path}' cannot be written"
        raise UsageError(message, evidence=str(error)) from None


def _write(place: Expected, head: dict[str, Any], stream: Stream, host: str) -> None:
    path = Path(place.path)
    match place.kind:
        case Kind.FILE if not path.exists() or path.is_file():
            _replace(Path(os.path.realpath(path)), stream)
        case Kind.FILE | Kind.ADDED:
            # what is open already, such as /dev/fd/63, may have another mode of access
            with path.open("ab" if place.kind is Kind.ADDED else "wb", buffering=0) as file:
                while chunk := stream.read(1 << 20):
                    file.write(chunk)
        case Kind.FOLDER | Kind.COPY:
            try:
                unpack_below(path, stream, place.kind, is_folder=head.get("folder") is True)
            except (PostrojError, tarfile.TarError) as error:
                message = f"what '{host}' sent for '{path}' was refused"
                evidence = error.reason if isinstance(error, PostrojError) else str(error)
                hint = "do not trust that machine"
                raise HostError(message, evidence=evidence, hint=hint) from None


def _replace(path: Path, stream: Stream) -> None:
    """Replace a file as a whole."""
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with draft.open("xb") as file:
            while chunk := stream.read(1 << 20):
                file.write(chunk)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def unpack_below(path: Path, stream: Stream, kind: Kind, *, is_folder: bool) -> None:
    """Unpack a folder into a folder, which is made if it is missing, or a file as a file.

    :raises PostrojError: if a name leads out of it.
    :raises TarError: on Windows, then.
    """
    if not HAS_DESCRIPTORS:
        _unpack_by_name(path, stream, is_folder=is_folder)
        return
    from postroj.transfer.unpack import Into, unpack

    is_fresh = is_folder and not path.exists()
    if is_fresh:
        path.mkdir(parents=True)
    folder = os.open(path if is_folder else path.parent, os.O_RDONLY | os.O_DIRECTORY)
    keeps = kind is Kind.COPY and os.geteuid() == 0
    try:
        alone = "" if is_folder else path.name
        unpack(stream, Into(folder, alone=alone, is_fresh=is_fresh, keeps_owners=keeps))
    finally:
        os.close(folder)


def _unpack_by_name(path: Path, stream: Stream, *, is_folder: bool) -> None:
    if not hasattr(tarfile, "data_filter"):
        message = "this Python cannot unpack files safely"
        raise HostError(message, hint="Python 3.11.4 and newer can")
    with tarfile.open(fileobj=as_file(stream), mode="r|") as tar:
        for count, member in enumerate(tar):
            if is_folder:
                path.mkdir(parents=True, exist_ok=True)
                tar.extract(member, path, filter="data")
            elif not count and member.isfile():
                with suppress(FileNotFoundError):
                    path.unlink()
                member.name = path.name
                tar.extract(member, path.parent, filter="data")
            else:
                message = "it is not one file"
                raise tarfile.TarError(message)
