"""The JSON schema of the project file for editors, generated from its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postroj.project.check_keys import CHECK, CHECK_KEYS, SUBJECTS
from postroj.project.keys import (
    EXPECT,
    EXPECT_KEYS,
    KEYS,
    PACKAGE,
    PACKAGE_KEYS,
    Form,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroj.project.keys import Key

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The dialect that most editors support."""


def document() -> dict[str, Any]:
    """Return the schema of `postroj.toml`."""
    schema = _table(KEYS)
    schema["properties"][EXPECT] = {
        "description": "Expected failures and images to skip, each with an end date.",
        "type": "array",
        "items": _table(EXPECT_KEYS),
    }
    schema["properties"][CHECK] = {
        "description": "Checks with their requirements, steps and images.",
        "type": "array",
        "items": _table(CHECK_KEYS) | {"anyOf": _required(key.name for key in SUBJECTS)},
    }
    tables = {"type": "array", "items": _table(PACKAGE_KEYS), "minItems": 1}
    schema["properties"][PACKAGE]["anyOf"].append(tables)
    return {"$schema": DIALECT, "title": "postroj.toml", **schema}


def _table(keys: Sequence[Key]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: {"description": key.text, **_value(key)} for key in keys},
    }
    if needed := [key.name for key in keys if key.needed]:
        table["required"] = needed
    if beside := {key.name: {"anyOf": _required(key.beside)} for key in keys if key.beside}:
        table["dependencies"] = beside
    return table


def _required(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"required": [name]} for name in names]


def _value(key: Key) -> dict[str, Any]:
    match key.form:
        case Form.TEXT:
            return _text(key)
        case Form.TEXTS | Form.FLAG_OR_TEXTS:
            texts = {"type": "array", "items": _text(key), "minItems": 1}
            flag = [{"type": "boolean"}] if key.form is Form.FLAG_OR_TEXTS else []
            return {"anyOf": [*flag, _text(key), texts]}
        case Form.SECONDS if key.least is None:
            return {"type": "number", "exclusiveMinimum": 0}
        case Form.SECONDS:
            return {"type": "number", "minimum": key.least}
        case Form.NUMBER:
            least = {} if key.least is None else {"minimum": key.least}
            return {"type": "integer", **least}
        case Form.FLAG:
            return {"type": "boolean"}
        case Form.DATE:
            return {"type": "string", "format": "date"}


def _text(key: Key) -> dict[str, Any]:
    if key.choices:
        return {"enum": [str(choice) for choice in key.choices]}
    return {"type": "string", "minLength": 1}
