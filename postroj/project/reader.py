"""From a file to the values of its keys, each of the right form."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from datetime import date
from glob import glob
from typing import TYPE_CHECKING, Any, NoReturn

from postroj.errors import UsageError
from postroj.image import selection
from postroj.probe.course import REPOSITORY
from postroj.probe.excuse.expectations import Expectation
from postroj.project.keys import EXPECT, EXPECT_KEYS, KEYS, Form
from postroj.verdict import Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.probe.excuse.expectations import Expectations
    from postroj.project.keys import Key
    from postroj.project.lines import Path
    from postroj.project.source import Source

TYPES = {
    Form.TEXT: (str,),
    Form.TEXTS: (str, list),
    Form.SECONDS: (int, float),
    Form.NUMBER: (int,),
    Form.FLAG: (bool,),
    Form.DATE: (date,),
}
WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    date: "a date",
}
"""Types of TOML, as they are told."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a file says."""

    source: Source
    values: Mapping[str, Any]
    """By the keys of `KEYS` that are there: str, tuple[str, ...], int, float or bool."""
    expectations: Expectations

    def refuse(self, key: str, why: str, hint: str = "") -> NoReturn:
        """Say what is wrong with a key.

        :raises UsageError: always.
        """
        self.source.refuse((key,), key, why, hint)

    def option(self, key: str) -> Any:
        """Return a value as its option has it: paths from the working directory, steps as a word.

        :raises UsageError: if a pattern for files matches none.
        """
        value = self.values[key]
        match key:
            case "package" | "upgrade-from":
                return tuple(dict.fromkeys(self._files(key)))
            case "report":
                return tuple(map(self._report, value))
            case "steps":
                return ",".join(value)
            case _:
                return value

    def _files(self, key: str) -> Iterator[str]:
        """Yield the files that a key means; URLs as they are."""
        folder = self.source.file.parent
        for text in self.values[key]:
            if "://" in text or (key == "upgrade-from" and text == REPOSITORY):
                yield text
                continue
            if (folder / text).is_file():
                yield str(folder / text)
                continue
            names = sorted(glob(text, root_dir=folder, recursive=True))  # noqa: PTH207 absolute too
            found = [folder / name for name in names if (folder / name).is_file()]
            if not found:
                hint = f"build the package first; paths start at '{folder}'"
                self.refuse(key, f"no file matches '{text}'", hint)
            yield from map(str, found)

    def _report(self, text: str) -> str:
        kind, equals, name = text.partition("=")
        return f"{kind}={self.source.file.parent / name}" if equals and name else text


def read(source: Source, today: date) -> Project:
    """Read all keys; `today` is what expectations are held against.

    :raises UsageError: if something is wrong with one, naming file, line and key.
    """
    table = dict(source.table)
    expected = table.pop(EXPECT, [])
    if not isinstance(expected, list) or not all(isinstance(one, dict) for one in expected):
        source.refuse((EXPECT,), EXPECT, "takes tables", f"begin each with `[[{EXPECT}]]`")
    return Project(
        source=source,
        values=_values(source, table, KEYS, (), (EXPECT,)),
        expectations=tuple(
            _expectation(source, number, one, today) for number, one in enumerate(expected)
        ),
    )


def _expectation(source: Source, number: int, table: Mapping[str, Any], today: date) -> Expectation:
    path = (EXPECT, number)
    values = _values(source, table, EXPECT_KEYS, path)
    outcome = Outcome(values["outcome"])
    narrow = next((key for key in ("step", "check") if key in values), None)
    if outcome is Outcome.SKIP and narrow:
        hint = 'what is skipped is not tried at all; `outcome = "fail"` excuses a step or check'
        source.refuse((*path, narrow), f"{EXPECT}.{narrow}", "goes with the outcome `fail`", hint)
    images: set[str] = set()
    for text in values["image"]:
        try:
            images.update(selection.names_matching(text))
        except UsageError as error:
            source.refuse((*path, "image"), f"{EXPECT}.image", error.message, error.hint)
    return Expectation(
        images=frozenset(images),
        outcome=outcome,
        reason=" ".join(values["reason"].split()),
        until=values["until"],
        expired=values["until"] < today,
        step=StepName(values["step"]) if "step" in values else None,
        checks=values.get("check", ()),
    )


def _values(
    source: Source, table: Mapping[str, Any], keys: Sequence[Key], path: Path, more: Path = ()
) -> dict[str, Any]:
    """Return the values of a table, which may have these keys; `more` are others, for the hint."""
    title = "".join(f"{part}." for part in path if isinstance(part, str))
    known = {key.name: key for key in keys}
    for name in table:
        if name not in known:
            hint = _nearest(name, [*known, *map(str, more)])
            source.refuse((*path, name), f"{title}{name}", "there is no such key", hint)
    found = {}
    for name, key in known.items():
        if name in table:
            value = table[name]
            if why := _trouble(key, value):
                source.refuse((*path, name), f"{title}{name}", why)
            if key.form is Form.TEXTS:
                value = (value,) if isinstance(value, str) else tuple(value)
            found[name] = value
        elif key.needed:
            source.refuse(path, f"{title}{name}", "is missing")
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"


def _trouble(key: Key, value: Any) -> str:
    """Say why a key cannot have a value; '' if it can."""
    # not isinstance: a bool is an int, and a time is a date
    if type(value) not in TYPES[key.form]:
        return f"takes {key.form}, not {WORDS.get(type(value), 'a time')}"
    if key.form in (Form.TEXT, Form.TEXTS):
        return _trouble_of_texts(key, [value] if isinstance(value, str) else value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"takes {key.form}, not {value}"
    if key.least is not None and value < key.least:
        return f"takes {key.form} of {key.least} or more, not {value}"
    if key.form is Form.SECONDS and key.least is None and value <= 0:
        return f"takes {key.form} above 0, not {value}"
    return ""


def _trouble_of_texts(key: Key, values: Sequence[Any]) -> str:
    if not values or "" in values:
        return "is empty"
    for value in values:
        if not isinstance(value, str):
            return f"takes {key.form}, and has {WORDS.get(type(value), 'a time')} in its list"
        if "\0" in value:
            return "holds a character NUL"
        if key.choices and value not in key.choices:
            return f"takes {_quoted(key.choices)}, not '{value}'"
    return ""


def _quoted(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)
