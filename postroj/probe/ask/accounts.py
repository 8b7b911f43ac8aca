"""Look up users and groups of a guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Question

DATABASES = {CheckKind.USER: "passwd", CheckKind.GROUP: "group"}
LIMIT = 4 << 20
"""Bytes of a file of accounts."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A line of passwd(5) or group(5)."""

    name: str
    number: int
    rest: tuple[str, ...]
    """The fields after the number."""


def check(guest: Guest, question: Question) -> tuple[Outcome, str]:
    """Check that a user or group exists."""
    found = find(guest, question.kind, question.subject)
    if found is None:
        return Outcome.FAIL, f"there is no such {question.kind}"
    if question.kind is CheckKind.GROUP:
        members = f", members {found.rest[0]}" if found.rest and found.rest[0] else ""
        return Outcome.PASS, f"GID {found.number}{members}"
    gid, _, home, shell = (*found.rest, "", "", "", "")[:4]
    return Outcome.PASS, f"UID {found.number}, GID {gid}, home {home}, shell {shell}"


def find(guest: Guest, kind: CheckKind, key: str) -> Account | None:
    """Return the user or group with a name or number; None if there is none.

    The files of accounts come first, which need no command; getent(1) knows further sources.
    """
    database = DATABASES[kind]
    try:
        text = guest.read_file(f"/etc/{database}", LIMIT).decode(errors="replace")
    except OSError:
        text = ""
    if found := _named(parse(text), key):
        return found
    done = guest.run(["getent", database, key], ok=range(256), timeout=30)
    return _named(parse(done.text), key) if done.status == 0 else None


def parse(text: str) -> list[Account]:
    """Parse lines of passwd(5) or group(5); others are left out."""
    rows = (line.split(":") for line in text.splitlines())
    return [
        Account(name=row[0], number=int(row[2]), rest=tuple(row[3:]))
        for row in rows
        if len(row) > 2 and row[2].isascii() and row[2].isdigit()
    ]


def _named(accounts: Sequence[Account], key: str) -> Account | None:
    return next((one for one in accounts if key in (one.name, str(one.number))), None)
