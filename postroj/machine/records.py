"""Make records of what the server in a machine has answered, which may be anything."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from postroj.container.guest import Entry, File, FileKind, Process, Socket, Written
from postroj.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

HINTS: dict[type, dict[str, Any]] = {
    kind: get_type_hints(kind) for kind in (Entry, File, Process, Socket, Written)
}
"""The type of each field."""


def files(found: Iterable[Any]) -> list[File]:
    """Return the files of a guest.

    :raises GuestError: if these are none, as in all functions here.
    """
    return [_record(File, each, {"kind": FileKind}) for each in found]


def written(found: Iterable[Any]) -> dict[str, Written]:
    """Return what a guest has written by path."""
    records = [_record(Written, each, {"kind": FileKind}) for each in found]
    return {record.path: record for record in records}


def processes(found: Iterable[Any], clock_offset: float) -> list[Process]:
    """Return the processes of a guest; see `Guest.clock_offset`."""
    converted = {"arguments": tuple, "started": lambda seconds: seconds + clock_offset}
    return [_record(Process, each, converted) for each in found]


def sockets(found: Iterable[Any]) -> list[Socket]:
    """Return the sockets of a guest."""
    converted = {"entry": lambda entry: _record(Entry, entry, {})}
    return [_record(Socket, each, converted) for each in found]


def content(text: str, limit: int) -> bytes:
    """Return the beginning of a file of a guest; `text` is that in base64."""
    try:
        return base64.b64decode(text, validate=True)[:limit]
    except ValueError:
        raise _nonsense() from None


def _record(kind: type[T], fields: Any, converted: dict[str, Callable[[Any], Any]]) -> T:
    try:
        values = {
            name: converted[name](value) if name in converted else value
            for name, value in fields.items()
        }
        record = kind(**values)
    except (AttributeError, TypeError, ValueError):
        raise _nonsense() from None
    if all(_is_of(value, HINTS[kind][name]) for name, value in values.items()):
        return record
    raise _nonsense()


def _is_of(value: Any, hint: Any) -> bool:
    if inner := get_args(hint):  # tuple[str, ...]
        return all(type(each) is inner[0] for each in value)
    return type(value) is hint


def _nonsense() -> GuestError:
    message = "the guest gave an answer that makes no sense"
    return GuestError(message)
