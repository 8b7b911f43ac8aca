"""Names for the cases of a parametrised test: what a value says, instead of `argv3`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from re import Pattern
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 60
"""Characters of a name."""


def name_of(value: object) -> str:
    """Return a name for a value: the same in every process, printable, of bounded length."""
    text = _words(value).encode("unicode_escape").decode()
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]}.."


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name what pytest would only number, which are objects and long texts."""
    match val:
        case str() | bytes():
            return name_of(val) if len(val) > LONGEST else None
        case None | int() | float() | complex() | Enum() | Pattern():
            return None
        case _:
            return name_of(val)


def _words(value: object) -> str:
    match value:
        case None | str() | bytes() | int() | float() | Enum() | PurePath():
            return value.decode("latin-1") if isinstance(value, bytes) else str(value)
        case dict():
            return _joined(f"{_words(key)}={_words(one)}" for key, one in value.items())
        case set() | frozenset():
            return _joined(sorted(map(_words, value)))
        case list() | tuple() | range():
            return _joined(map(_words, value))
        case BaseException():
            return f"{type(value).__name__} {value}".strip()
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _changed(value) or type(value).__name__
        case _:
            return getattr(value, "__name__", type(value).__name__)


def _joined(words: Iterable[str]) -> str:
    return " ".join(words) or "nothing"


def _changed(record: object) -> str:
    """Return the fields of a record that differ from what they are without being given."""
    assert is_dataclass(record)
    given = [(one.name, getattr(record, one.name)) for one in fields(record) if one.repr]
    defaults = {one.name: one.default for one in fields(record)}
    return " ".join(
        f"{name}={_words(value)}"
        for name, value in given
        if value not in (defaults[name], None, "", (), [], {}, frozenset())
    )
