"""Read what a history needs from JSON reports, which may come from anywhere.

Nothing in them is trusted: sizes are limited, types are checked, and all text is made visible.
Reports of older versions lack some keys.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postroj.errors import UsageError
from postroj.report.history import Fault, Run
from postroj.report.visible import visible
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 256 << 20
"""Bytes of a report; the evidence of 100 failed probes takes less."""
LONGEST = 500
"""Characters of a text that is kept."""
MOST = 100_000
"""Limit for the items of a list."""
SCHEMA = 1

FILE_NAMES = (
    re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_.]+)\.d?deb"),
    re.compile(r"(?P<name>.+)-(?P<version>[^-]+-[^-]+)\.(?P<architecture>[^.-]+)\.rpm"),
    re.compile(r"(?P<name>.+)-(?P<version>[^-]+-[^-]+)-(?P<architecture>[^-]+)\.pkg\.tar\.?\w*"),
)
"""How package managers name files: the name and version where a report has only these."""


class NotAReport(ValueError):
    """Something is not as in a report; the text says what, as the end of a sentence."""


def read(content: bytes, name: str, modified: float) -> tuple[Run, ...]:
    """Return the runs in a report, one for each probe.

    `name` is shown for the file, `modified` is when that was written, in seconds since the epoch:
    the date of runs whose report has none.

    :raises UsageError: if it is not a JSON report of postroj.
    """
    try:
        return tuple(_runs(_load(content), visible(name), modified))
    except NotAReport as error:
        message = f"'{name}' is not a JSON report of postroj: {error}"
        raise UsageError(message, hint="`--report json=FILE` writes one") from None


def _load(content: bytes) -> dict[str, Any]:
    if len(content) > LARGEST:
        reason = f"it is larger than {LARGEST >> 20} MiB"
        raise NotAReport(reason)
    try:
        return _object(json.loads(content), "it")
    except (ValueError, RecursionError) as error:
        if isinstance(error, NotAReport):
            raise
        reason = "it cannot be parsed"
        raise NotAReport(reason) from None


def _runs(document: dict[str, Any], file: str, modified: float) -> Iterator[Run]:
    if document.get("schema") != SCHEMA or "probes" not in document:
        reason = f"it has no 'probes' and not the schema {SCHEMA}"
        raise NotAReport(reason)
    host = _object(document.get("host") or {}, "'host'")
    for probe in _list(document, "probes"):
        probe = _object(probe, "a probe")
        date = _date(_text(probe, "date") or _text(document, "date"))
        name, version = _identity(probe)
        yield Run(
            package=name,
            version=version,
            image=_text(probe, "image"),
            architecture=_text(probe, "architecture"),
            outcome=_outcome(probe, "outcome"),
            date=date or datetime.fromtimestamp(modified, UTC),
            is_dated=date is not None,
            digests=tuple(sorted(_digests(probe))),
            image_digest=_text(probe, "image_digest"),
            postroj=_text(document, "version"),
            kernel=_text(host, "kernel"),
            distribution=_text(host, "distribution"),
            faults=tuple(_faults(probe)),
            file=file,
        )


def _date(text: str) -> datetime | None:
    """Return a time in UTC; None if the text is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def _identity(probe: dict[str, Any]) -> tuple[str, str]:
    """Return the name of the packages, which is the same for all versions, and the version."""
    versions: dict[str, str] = {}
    for package in _list(probe, "packages"):
        package = _object(package, "a package")
        name, version = _text(package, "name"), _text(package, "version")
        versions |= {name: version} if name else _of_file(_text(package, "file"))
    for file in () if versions else _text(probe, "package").split(" "):
        versions |= _of_file(file)
    names = " ".join(sorted(versions)) or "no package"
    if len(versions) == 1:
        return names, next(iter(versions.values()))
    return names, ", ".join(f"{name} {versions[name]}".strip() for name in sorted(versions))


def _of_file(file: str) -> dict[str, str]:
    found = next(filter(None, (form.fullmatch(file) for form in FILE_NAMES)), None)
    return {found["name"]: found["version"]} if found else {file: ""}


def _digests(probe: dict[str, Any]) -> Iterator[str]:
    for package in _list(probe, "packages"):
        if digest := _text(package, "sha256"):
            yield digest


def _faults(probe: dict[str, Any]) -> Iterator[Fault]:
    """Yield what went wrong, the first lines only."""
    if reason := _text(probe, "reason"):
        yield Fault("probe", reason)
    for step in _list(probe, "steps"):
        step = _object(step, "a step")
        name = _text(step, "name")
        if _outcome(step, "done").is_bad:
            yield Fault(name, _text(step, "reason"))
        for check in _list(step, "checks"):
            check = _object(check, "a check")
            if _outcome(check, "outcome").is_bad:
                what = f"{name}: {_text(check, 'kind')} {_text(check, 'subject')}"
                yield Fault(what, _text(check, "reason"))


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        reason = f"{what} is not an object"
        raise NotAReport(reason)
    return value


def _list(parent: dict[str, Any], key: str) -> list[Any]:
    value = parent.get(key, [])
    if not isinstance(value, list) or len(value) > MOST:
        reason = f"'{key}' is not a list, or too long"
        raise NotAReport(reason)
    return value


def _text(parent: dict[str, Any], key: str) -> str:
    """Return the first line of a text; '' if the report has none."""
    value = parent.get(key, "")
    if not isinstance(value, str):
        reason = f"'{key}' is not a text"
        raise NotAReport(reason)
    return visible(value.partition("\n")[0][:LONGEST])


def _outcome(parent: dict[str, Any], key: str) -> Outcome:
    try:
        return Outcome(_text(parent, key))
    except ValueError as error:
        if isinstance(error, NotAReport):
            raise
        reason = f"'{key}' is not an outcome"
        raise NotAReport(reason) from None
