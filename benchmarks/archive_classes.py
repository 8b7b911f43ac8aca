"""The judgements of a person about failing checks, in a table that is edited by hand.

The column `class` is theirs, and so is `note`:

- true: a maintainer of the package would accept the report of this fault.
- tolerated: a fault by a rule that the distribution does not hold its packages to.
- false: the package is not to blame.

The column `state` is ours: `new` without a class, `changed` if the check now says something else
than in `judged`, `gone` if it no longer fails. To confirm the class of a changed one, empty its
`judged`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from archive_table import Row

CLASSES = ("true", "tolerated", "false")
HEADER = ("class", "package", "step", "subject", "state", "judged", "now", "note")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a person says about one check of one package."""

    class_: str
    """One of CLASSES, or empty."""
    package: str
    step: str
    subject: str
    state: str
    judged: str
    """What the check said when it was judged."""
    now: str
    """What it says in the latest report; empty if it does not fail."""
    note: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a judgement is remembered by."""
        return self.package, self.step, self.subject


class InvalidClassesError(Exception):
    """The table was edited into something that cannot be read."""


def read(text: str) -> list[Judgement]:
    """Parse the table.

    :raises InvalidClassesError: with the number of the line.
    """
    found: dict[tuple[str, str, str], Judgement] = {}
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split("\t")
        if number == 1:
            if tuple(cells) != HEADER:
                message = f"line 1: the columns are not {', '.join(HEADER)}"
                raise InvalidClassesError(message)
            continue
        if not line.strip():
            continue
        # editors strip empty cells at the end of a line
        cells += [""] * (len(HEADER) - len(cells))
        if len(cells) > len(HEADER):
            message = f"line {number}: {len(cells)} columns instead of {len(HEADER)}"
            raise InvalidClassesError(message)
        names = (field.name for field in fields(Judgement))
        judgement = Judgement(**dict(zip(names, (cell.strip() for cell in cells), strict=True)))
        if judgement.class_ not in ("", *CLASSES):
            message = f"line {number}: '{judgement.class_}' is not one of {', '.join(CLASSES)}"
            raise InvalidClassesError(message)
        if judgement.key in found:
            message = f"line {number}: {' '.join(judgement.key)} has a line already"
            raise InvalidClassesError(message)
        found[judgement.key] = judgement
    return list(found.values())


def write(judgements: Iterable[Judgement]) -> str:
    """Return the table as text that `read` understands, sorted by package."""
    names = [field.name for field in fields(Judgement)]
    lines = [[getattr(one, name) for name in names] for one in sorted(judgements, key=_order)]
    return "".join("\t".join(cells) + "\n" for cells in [HEADER, *lines])


def _order(judgement: Judgement) -> str:
    # stable, so steps and checks of a package stay in the order of its report
    return judgement.package


def merge(known: Sequence[Judgement], rows: Iterable[Row]) -> list[Judgement]:
    """Bring what is known together with the latest reports.

    No class is lost: a package without a row stays as it is, and what no longer fails is `gone`.
    What fails no longer and has neither class nor note is dropped.
    """
    left = {judgement.key: judgement for judgement in known}
    found = []
    for row in rows:
        for fault in row.faults:
            key = (row.package, fault.step, fault.subject)
            found.append(_seen(left.pop(key, None), key, fault.sentence))
        for key in [key for key in left if key[0] == row.package]:
            old = left.pop(key)
            if old.class_ or old.note:
                seen = old.judged or old.now
                found.append(replace(old, state="gone", judged=seen, now=""))
    return found + list(left.values())


def _seen(old: Judgement | None, key: tuple[str, str, str], now: str) -> Judgement:
    package, step, subject = key
    class_, judged, note = (old.class_, old.judged, old.note) if old else ("", "", "")
    if not class_:
        state, judged = "new", ""
    else:
        judged = judged or (old.now if old and old.now else now)
        state = "" if _alike(judged, now) else "changed"
    return Judgement(
        class_=class_,
        package=package,
        step=step,
        subject=subject,
        state=state,
        judged=judged,
        now=now,
        note=note,
    )


def _alike(first: str, second: str) -> bool:
    """Whether two sentences differ in numbers at most: in PIDs, times, versions."""
    return re.sub(r"\d+", "0", first) == re.sub(r"\d+", "0", second)
