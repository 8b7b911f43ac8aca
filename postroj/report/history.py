"""The history of packages on images: what broke since when, and what has changed in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

DIGITS = 12
"""Hex digits of a digest that are shown."""


class Fault(NamedTuple):
    """Something that went wrong in a run."""

    where: str
    """The step, and the check if it is one."""
    sentence: str


class Change(NamedTuple):
    """A difference between two runs."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what} {self.before} → {self.after}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One probe, as a report tells it; all text is visible. What is not known is ''."""

    package: str
    """Names of the packages, without their versions."""
    version: str
    image: str
    architecture: str
    outcome: Outcome
    date: datetime
    """In UTC; when the report was written if it has no date."""
    is_dated: bool
    digests: tuple[str, ...]
    """SHA-256 of the package files."""
    image_digest: str
    postroj: str
    """Version of postroj."""
    kernel: str
    distribution: str
    """Of the host."""
    faults: tuple[Fault, ...]
    file: str = field(compare=False)
    """The report that has it."""

    @property
    def when(self) -> str:
        """The date as people read it."""
        text = self.date.strftime("%Y-%m-%d %H:%M")
        return text if self.is_dated else f"{text}?"


@dataclass(frozen=True, kw_only=True)
class History:
    """All runs of a package on an image."""

    package: str
    image: str
    architecture: str
    """Of the image; '' if it is not known."""
    runs: tuple[Run, ...]
    """At least one, the newest first."""

    @property
    def newest(self) -> Run:
        """The run that counts."""
        return self.runs[0]

    @property
    def outcome(self) -> Outcome:
        """That of the newest run."""
        return self.newest.outcome

    @property
    def since(self) -> Run | None:
        """The first run with the outcome of the newest after the last one that passed.

        None if the newest is not bad.
        """
        if not self.outcome.is_bad:
            return None
        bad = (run for run in reversed(self._after_last_pass()) if run.outcome is self.outcome)
        return next(bad)

    @property
    def last_pass(self) -> Run | None:
        """The newest run that passed; None if none has."""
        return next((run for run in self.runs if run.outcome is Outcome.PASS), None)

    @property
    def is_broken(self) -> bool:
        """Whether it has passed once, and the newest run is bad."""
        return self.outcome.is_bad and self.last_pass is not None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What differs between the last run that passed and the first of those that are bad."""
        before, after = self.last_pass, self.since
        return changes(before, after) if before and after else ()

    def _after_last_pass(self) -> Sequence[Run]:
        passed = self.last_pass
        return self.runs[: self.runs.index(passed)] if passed else self.runs


def histories(runs: Iterable[Run]) -> list[History]:
    """Sort runs into histories; a run that several reports have counts once."""
    found: dict[tuple[str, str, str], list[Run]] = {}
    for run in dict.fromkeys(runs):
        found.setdefault((run.package, run.image, run.architecture), []).append(run)
    _adopt(found)
    return [
        History(
            package=package,
            image=image,
            architecture=architecture,
            runs=tuple(sorted(some, key=lambda run: run.date, reverse=True)),
        )
        for (package, image, architecture), some in sorted(found.items())
    ]


def _adopt(found: dict[tuple[str, str, str], list[Run]]) -> None:
    """Add the runs of unknown architecture to those of the only one that is known."""
    for package, image, architecture in list(found):
        known = [key for key in found if key[:2] == (package, image) and key[2]]
        if not architecture and len(known) == 1:
            found[known[0]] += found.pop((package, image, ""))


def changes(before: Run, after: Run) -> tuple[Change, ...]:
    """Return what differs between two runs, as far as both reports say it."""
    return tuple(_changes(before, after))


def _changes(before: Run, after: Run) -> Iterator[Change]:
    is_rebuilt = before.version == after.version
    pairs = {
        "version": (before.version, after.version),
        "package file": (_short(before.digests), _short(after.digests)) if is_rebuilt else ("", ""),
        "image": (before.image_digest[:DIGITS], after.image_digest[:DIGITS]),
        "postroj": (before.postroj, after.postroj),
        "distribution of the host": (before.distribution, after.distribution),
        "kernel": (before.kernel, after.kernel),
    }
    for what, (old, new) in pairs.items():
        if old and new and old != new:
            yield Change(what, old, new)


def _short(digests: Iterable[str]) -> str:
    return " ".join(digest[:DIGITS] for digest in digests)
