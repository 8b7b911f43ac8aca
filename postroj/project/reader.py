"""Read and validate the values of a project file."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from datetime import date
from glob import glob
from typing import TYPE_CHECKING, Any, NoReturn

from postroj import away
from postroj.errors import UsageError
from postroj.image import architectures, selection
from postroj.probe.course import REPOSITORY
from postroj.probe.excuse.expectations import Expectation
from postroj.project.check_keys import CHECK, CHECK_KEYS, REQUIREMENTS, SUBJECTS
from postroj.project.keys import (
    EXPECT,
    EXPECT_KEYS,
    KEYS,
    LATE,
    PACKAGE,
    PACKAGE_KEYS,
    Form,
)
from postroj.verdict import CheckKind, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.probe.excuse.expectations import Expectations
    from postroj.project.keys import Key
    from postroj.project.lines import KeyPath
    from postroj.project.project_file import ProjectFile

TYPES = {
    Form.TEXT: (str,),
    Form.TEXTS: (str, list),
    Form.SECONDS: (int, float),
    Form.NUMBER: (int,),
    Form.FLAG: (bool,),
    Form.FLAG_OR_TEXTS: (bool, str, list),
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
"""Types of TOML, in words."""


@dataclass(frozen=True, kw_only=True)
class CheckTable:
    """A table `check`: checks that are bound to a step, or to some images."""

    path: KeyPath
    subjects: tuple[tuple[CheckKind, str], ...]
    requirements: Mapping[str, Any]
    """Values of those of `REQUIREMENTS` that are in the table."""
    step: str
    """The first step after which they are asked; '' for the usual one."""
    timeout: float | None
    """Seconds within which they must pass; None for the usual ones, as for `settle`."""
    settle: float | None
    images: frozenset[str] | None
    """Names of the images in the catalog; None for all."""
    formats: tuple[str, ...]
    """Formats of packages; empty for all."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """The validated content of a project file."""

    file: ProjectFile
    values: Mapping[str, Any]
    """Values by key: str, tuple[str, ...], int, float or bool; only keys in the file."""
    expectations: Expectations
    checks: tuple[CheckTable, ...] = ()
    package_tables: tuple[tuple[str, ...], ...] = ()
    """The key `file` of each table `package`."""

    def option_of(self, key: str) -> str:
        """Return the option that a key sets: `start` has one for a flag and one for names."""
        is_named = key == "start" and isinstance(self.values[key], tuple)
        return "--start-unit" if is_named else f"--{key}"

    def refuse(self, key: str, why: str, hint: str = "") -> NoReturn:
        """Raise a usage error about a key."""
        self.file.refuse((key,), key, why, hint)

    def option(self, key: str) -> Any:
        """Convert a value to that of its option: expanded paths, comma-separated steps.

        :raises UsageError: if a file pattern matches nothing.
        """
        value = self.values[key]
        match key:
            case "package" | "upgrade-from":
                return tuple(dict.fromkeys(self._files((key,), key, value)))
            case "report":
                return tuple(map(self._report, value))
            case "steps":
                return ",".join(value)
            case "arch":
                return architectures.machine(value)
            case "goss":
                return str(self.file.path.parent / value)
            case "check-goss" | "goss-vars":
                return tuple(str(self.file.path.parent / text) for text in value)
            case "put":
                return tuple(map(self._put, value))
            case _:
                return value

    def package_sets(self) -> tuple[tuple[str, ...], ...]:
        """Return the files of each table `package`: expanded paths, and URLs.

        :raises UsageError: if a pattern matches nothing.
        """
        return tuple(
            tuple(dict.fromkeys(self._files((PACKAGE, number, "file"), f"{PACKAGE}.file", texts)))
            for number, texts in enumerate(self.package_tables)
        )

    def _files(self, path: KeyPath, key: str, texts: Sequence[str]) -> Iterator[str]:
        """Yield the files that the values of a key select, and URLs unchanged."""
        folder = self.file.path.parent
        for text in texts:
            if "://" in text or (key == "upgrade-from" and text == REPOSITORY):
                yield text
                continue
            file = folder / away.here(text)
            if file.is_file():
                yield str(file)
                continue
            names = sorted(glob(away.here(text), root_dir=folder, recursive=True))  # noqa: PTH207 absolute too
            found = [folder / name for name in names if (folder / name).is_file()]
            if not found:
                hint = f"build the package first; paths are relative to '{folder}'"
                self.file.refuse(path, key, f"no file matches '{text}'", hint)
            yield from map(str, found)

    def _report(self, text: str) -> str:
        kind, equals, name = text.partition("=")
        if not equals:  # a file whose suffix says its kind
            return text if "." not in text else str(self.file.path.parent / away.here(text))
        return text if name in ("", "-") else f"{kind}={self.file.path.parent / away.here(name)}"

    def _put(self, text: str) -> str:
        late = LATE if text.startswith(LATE) else ""
        return f"{late}{self.file.path.parent / away.here(text.removeprefix(LATE))}"


def read(file: ProjectFile, today: date) -> Project:
    """Read all keys; expectations that ended before `today` are marked as expired.

    :raises UsageError: if a key is invalid, with its file and line.
    """
    table = dict(file.table)
    expected, checks = (_tables(file, table, name) for name in (EXPECT, CHECK))
    has_tables = isinstance(table.get(PACKAGE), list) and dict in map(type, table[PACKAGE])
    packages = _tables(file, table, PACKAGE) if has_tables else []
    return Project(
        file=file,
        values=_values(file, table, KEYS, (), (EXPECT, CHECK)),
        expectations=tuple(
            _expectation(file, number, one, today) for number, one in enumerate(expected)
        ),
        checks=tuple(_check(file, number, one) for number, one in enumerate(checks)),
        package_tables=tuple(
            _values(file, one, PACKAGE_KEYS, (PACKAGE, number))["file"]
            for number, one in enumerate(packages)
        ),
    )


def _tables(file: ProjectFile, table: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Take a list of tables out of a table."""
    found = table.pop(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        file.refuse((name,), name, "must be a list of tables", f"begin each with `[[{name}]]`")
    return found


def _check(file: ProjectFile, number: int, table: Mapping[str, Any]) -> CheckTable:
    path = (CHECK, number)
    values = _values(file, table, CHECK_KEYS, path)
    kinds = [CheckKind(key.name) for key in SUBJECTS if key.name in values]
    if not kinds:
        hint = f"needs {_ticked([key.name for key in SUBJECTS])}"
        file.refuse(path, CHECK, "asks nothing", hint)
    return CheckTable(
        path=path,
        subjects=tuple((kind, subject) for kind in kinds for subject in values[kind]),
        requirements={key.name: values[key.name] for key in REQUIREMENTS if key.name in values},
        step=values.get("step", ""),
        timeout=values.get("timeout"),
        settle=values.get("settle"),
        images=_images(file, path, values["image"]) if "image" in values else None,
        formats=values.get("format", ()),
    )


def _images(file: ProjectFile, path: KeyPath, texts: Sequence[str]) -> frozenset[str]:
    """Return the names of images that names and patterns match."""
    images: set[str] = set()
    for text in texts:
        try:
            images.update(selection.names_matching(text))
        except UsageError as error:
            file.refuse((*path, "image"), f"{path[0]}.image", error.message, error.hint)
    return frozenset(images)


def _expectation(
    file: ProjectFile, number: int, table: Mapping[str, Any], today: date
) -> Expectation:
    path = (EXPECT, number)
    values = _values(file, table, EXPECT_KEYS, path)
    outcome = Outcome(values["outcome"])
    narrow = next((key for key in ("step", "check") if key in values), None)
    if outcome is Outcome.SKIP and narrow:
        hint = 'skipped images are not probed at all; `outcome = "fail"` excuses a step or check'
        file.refuse((*path, narrow), f"{EXPECT}.{narrow}", 'needs `outcome = "fail"`', hint)
    return Expectation(
        images=_images(file, path, values["image"]),
        outcome=outcome,
        reason=" ".join(values["reason"].split()),
        until=values["until"],
        expired=values["until"] < today,
        step=StepName(values["step"]) if "step" in values else None,
        checks=values.get("check", ()),
    )


def _values(
    file: ProjectFile,
    table: Mapping[str, Any],
    keys: Sequence[Key],
    path: KeyPath,
    more: KeyPath = (),
) -> dict[str, Any]:
    """Return the values of a table; `more` are further keys to suggest for unknown ones."""
    title = "".join(f"{part}." for part in path if isinstance(part, str))
    known = {key.name: key for key in keys}
    for name in table:
        if name not in known:
            hint = _nearest(name, [*known, *map(str, more)])
            file.refuse((*path, name), f"{title}{name}", "unknown key", hint)
    found = {}
    for name, key in known.items():
        if name in table:
            value = table[name]
            if why := _fault(key, value):
                file.refuse((*path, name), f"{title}{name}", why)
            if key.form in (Form.TEXTS, Form.FLAG_OR_TEXTS) and value not in (True, False):
                value = (value,) if isinstance(value, str) else tuple(value)
            found[name] = value
        elif key.needed:
            file.refuse(path, f"{title}{name}", "is missing")
    for name in found:
        beside = known[name].beside
        if beside and not any(other in found for other in beside):
            file.refuse((*path, name), f"{title}{name}", f"needs {_ticked(beside)}")
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"


def _fault(key: Key, value: Any) -> str:
    """Return why a value is invalid; '' if it is valid."""
    # not isinstance: a bool is an int, and a time is a date
    if type(value) not in TYPES[key.form]:
        return f"takes {key.form}, not {WORDS.get(type(value), 'a time')}"
    if type(value) in (str, list):
        return _fault_of_texts(key, [value] if isinstance(value, str) else value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"takes {key.form}, not {value}"
    if key.least is not None and value < key.least:
        return f"takes {key.form} of {key.least} or more, not {value}"
    if key.form is Form.SECONDS and key.least is None and value <= 0:
        return f"takes {key.form} above 0, not {value}"
    return ""


def _fault_of_texts(key: Key, values: Sequence[Any]) -> str:
    if not values or "" in values:
        return "is empty"
    for value in values:
        if not isinstance(value, str):
            return f"takes {key.form}, not a list with {WORDS.get(type(value), 'a time')}"
        if "\0" in value:
            return "contains a NUL character"
        if key.choices and value not in key.choices:
            return f"takes {_quoted(key.choices)}, not '{value}'"
    return ""


def _quoted(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


def _ticked(names: Sequence[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} or {last}" if most else last
