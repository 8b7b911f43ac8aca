"""The judgements of a person about failing checks, in a table that is edited by hand.

The column `class` is theirs, and so is `note`:

- true: a maintainer of the package would accept the report of this fault.
- tolerated: a fault by a rule that the distribution does not hold its packages to.
- false: the package is not to blame.

A package that passed though none of its own services is running has a line, too: `true` if the
verdict hides that, `false` if a service has run and ended, or if the verdict says that none ran.

A line of one's own may have a pattern as step or subject: `*` is any step, `eb_*` any such unit. It
holds for failing checks without a class of their own.

The column `state` is ours: `new` without a class, `changed` if the check now says something else
than in `judged`, `gone` if it no longer fails. To confirm the class of a changed one, empty its
`judged`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from archive_table import Fault, Row

CLASSES = ("true", "tolerated", "false")
COVERED = "covered"
"""The state of a failing check that a pattern judges; it has no line of its own."""
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
    own = [one for one in sorted(judgements, key=_order) if one.state != COVERED]
    lines = [[getattr(one, name) for name in names] for one in own]
    return "".join("\t".join(cells) + "\n" for cells in [HEADER, *lines])


def _order(judgement: Judgement) -> str:
    # stable, so steps and checks of a package stay in the order of its report
    return judgement.package


def merge(known: Sequence[Judgement], rows: Sequence[Row]) -> list[Judgement]:
    """Bring what is known together with the latest reports.

    No class is lost: a package without a row stays as it is, and what no longer fails is `gone`.
    What fails no longer and has neither class nor note is dropped.
    """
    patterns = {one.key: one for one in known if "*" in one.step + one.subject}
    left = {one.key: one for one in known if one.key not in patterns}
    found, used = [], set()
    for row in rows:
        for fault in row.faults:
            old = left.pop((row.package, fault.step, fault.subject), _new(row, fault))
            if not old.class_ and (pattern := _match(patterns.values(), old)):
                used.add(pattern.key)
                found.append(replace(old, class_=pattern.class_, state=COVERED, now=fault.sentence))
            else:
                found.append(_seen(old, fault.sentence))
        for key in [key for key in left if key[0] == row.package]:
            old = left.pop(key)
            if old.class_ or old.note:
                seen = old.judged or old.now
                found.append(replace(old, state="gone", judged=seen, now=""))
        found += [
            replace(one, state="" if key in used else "gone")
            for key, one in patterns.items()
            if one.package == row.package
        ]
    here = {row.package for row in rows}
    others = [one for one in patterns.values() if one.package not in here]
    return found + others + list(left.values())


def _new(row: Row, fault: Fault) -> Judgement:
    return Judgement(
        class_="",
        package=row.package,
        step=fault.step,
        subject=fault.subject,
        state="new",
        judged="",
        now="",
        note="",
    )


def _match(patterns: Iterable[Judgement], one: Judgement) -> Judgement | None:
    for pattern in patterns:
        same = pattern.package == one.package and fnmatchcase(one.step, pattern.step)
        if pattern.class_ and same and fnmatchcase(one.subject, pattern.subject):
            return pattern
    return None


def _seen(old: Judgement, now: str) -> Judgement:
    if not old.class_:
        return replace(old, state="new", judged="", now=now)
    judged = old.judged or old.now or now
    return replace(old, state="" if _alike(judged, now) else "changed", judged=judged, now=now)


def _alike(first: str, second: str) -> bool:
    """Whether two sentences differ in numbers at most: in PIDs, times, versions."""
    return re.sub(r"\d+", "0", first) == re.sub(r"\d+", "0", second)
