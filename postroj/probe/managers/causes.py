"""Causes for which package managers fail, and whom to blame for each."""

from __future__ import annotations

import re
import signal
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroj import causes
from postroj.probe.managers.base import Blame
from postroj.process import LONGEST, last_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FAIL, ERROR = Outcome.FAIL, Outcome.ERROR

NOT_FOUND = 127
KILLED = 128 + signal.SIGKILL
"""Status of a command that does not exist, and of one that the kernel had no memory for."""

DISK = "a guest writes to memory: at most half of this host's, shared by those of `--jobs`"
KEYS = "`postroj pull --force NAME` rebuilds the image with today's keys"
LATER = "it may be in the middle of an update: try again later"
SEVERAL = "several packages that need each other: give each with a `--package` of its own"
EXTRA = (
    "a repository may be missing in the image, as EPEL or CRB: `--setup` can enable one; "
    "several packages that need each other: give each with a `--package` of its own"
)
SLOW = "is the mirror slow? `--timeout` gives it more time"
MORE_TIME = "`--timeout` gives it more time"

SHIPS = "'{package}' ships '{path}', which is also in package '{other}'"
UNPACKED = "'{path}' of '{package}' cannot be unpacked: {why}"
NO_PACKAGE = "the guest's repositories have no package '{name}'"

MEMORY = r"MemoryError|Cannot allocate memory|bad_alloc|failed to map segment|Out of memory"
UNREACHABLE = (
    r"[Cc]ould(?:n't| not) (?:resolve|connect)|Failed to connect|Connection (?:failed|refused)|"
    r"Connection timed out|Curl error \((?:5|6|7|28)\)|Network is unreachable"
)
"""Messages of libcurl, which dnf, zypper and pacman use."""


@dataclass(frozen=True, kw_only=True)
class Cause(causes.Cause):
    """A known cause for which a package manager fails.

    The groups of its pattern fill in its sentence; `package` and `other` are the packages that it
    concerns.
    """

    outcome: Outcome = FAIL
    """`FAIL` becomes `ERROR` if it concerns only packages that are not under test."""
    is_refusal: bool = False
    """As in `Blame`."""


def first_cause(
    text: str, table: Iterable[Cause], names: Sequence[str], name_of: Callable[[str], str] = str
) -> Blame | None:
    """Blame the first cause in a text, preferably where it concerns a package under test.

    `name_of` returns the name in what a text calls a package, as `foo-1.0-1.noarch`.
    """
    found = causes.find(table, text)
    if found is None:
        return None
    cause, matches = found
    ours = next((match for match in matches if _is_ours(match, names, name_of)), None)
    match = ours or matches[0]
    groups = {key: value or "" for key, value in match.groupdict().items()}
    named = {key: name_of(groups[key]) for key in ("package", "other") if key in groups}
    sentence = cause.sentence.format(**(groups | named))
    is_foreign = cause.outcome is FAIL and not ours
    return Blame(
        outcome=ERROR if is_foreign else cause.outcome,
        sentence=f"{sentence}; it is not under test" if is_foreign else sentence,
        evidence=evidence(text, match),
        hint=cause.hint,
        is_refusal=cause.is_refusal,
    )


def _is_ours(match: re.Match[str], names: Sequence[str], name_of: Callable[[str], str]) -> bool:
    """Return whether a match concerns a package under test, or names no package."""
    groups = match.groupdict()
    about = [name_of(groups[key]) for key in ("package", "other") if groups.get(key)]
    return not about or any(name in names for name in about)


def evidence(text: str, match: re.Match[str], count: int = 20) -> str:
    """Return the last lines of a text, and above them the matched line if they do not have it."""
    tail = last_lines(text, count)
    found = match[0].strip().splitlines()[0] if match[0].strip() else ""
    if found in tail:
        return tail
    return "\n".join([found, "...", *tail.splitlines()[2 - count :]])


def full_disk(pattern: str) -> Cause:
    """Return the cause for a full disk; `pattern` matches what else a manager prints then.

    It is apart from `not_ours` because it comes first: other errors follow from it.
    """
    return Cause(
        pattern=rf"No space left on device|Disk quota exceeded|{pattern}",
        sentence="the guest's disk is full",
        outcome=ERROR,
        hint=DISK,
    )


def not_ours(
    *,
    try_it: str,
    unsigned: str,
    mismatch: str,
    unfetched: str,
    locked: str,
    unreachable: str = UNREACHABLE,
    own: str = "",
) -> tuple[Cause, ...]:
    """Return the causes for which no package is to blame, from the patterns of a manager.

    `own` matches the beginning of the manager's own lines, if that shows whose they are.
    """
    hint = f"is this host online? `postroj run --image NAME -- {try_it}` tries it alone"
    rows = (
        (unsigned, "the signature of a package repository is not valid in the guest", KEYS),
        (mismatch, "the files of the guest's mirror do not match its index", LATER),
        (unreachable, "the guest could not reach its package repositories", hint),
        (unfetched, "the guest could not fetch from its package repositories", hint),
        (locked, "another package manager was at work in the guest", ""),
        (MEMORY, "there was not enough memory in the guest", ""),
    )
    return tuple(
        Cause(pattern=f"{own}(?:{pattern})", sentence=sentence, outcome=ERROR, hint=hint)
        for pattern, sentence, hint in rows
    )


def newer_installed(pattern: str) -> Cause:
    """Return the cause for a guest that has a newer version than the one to install."""
    return Cause(
        pattern=pattern,
        sentence="the guest already has a newer version of the package",
        outcome=ERROR,
        hint="give the package a higher version, or choose an older image",
    )


def blame_status(status: int, tool: str, text: str) -> Blame | None:
    """Explain a failure by its exit status alone: no such tool, or killed; None for others."""
    if status == KILLED:
        return because(text, f"{tool} was killed in the guest", "is there enough memory?")
    if status == NOT_FOUND:
        return because(text, f"the guest has no {tool}", "`postroj list-images` shows others")
    return None


def because(text: str, sentence: str, hint: str = "", *, outcome: Outcome = ERROR) -> Blame:
    """Return a blame with the last lines of a text as evidence; by default no package has it."""
    return Blame(outcome=outcome, sentence=sentence, evidence=last_lines(text), hint=hint)


def blame_script(
    script: str, package: str, how: str, said: str, *, is_ours: bool, is_trigger: bool
) -> Blame:
    """Blame a script that failed; `how` describes its end, `said` is what it printed."""
    whose = f"'{package}'" if is_ours else f"'{package}', which is not under test,"
    sentence = f"the {script} script of {whose} {how}{' in a trigger' if is_trigger else ''}"
    found = because(said, sentence, outcome=FAIL if is_ours else ERROR)
    return replace(found, trigger=package) if is_trigger and not is_ours else found


def blame_hang(
    tool: str, action: str, said: str, seconds: float, *, is_ours: bool, trigger: str = ""
) -> Blame:
    """Blame the action that a tool did not finish in time; `said` is its output since then."""
    return Blame(
        outcome=FAIL if is_ours else ERROR,
        sentence=f"{tool} hung for {seconds:g} s while {action}",
        evidence=last_lines(said),
        hint=MORE_TIME,
        tool=tool,
        action=action,
        trigger=trigger,
    )


def blame_slowness(tool: str, text: str, seconds: float) -> Blame:
    """Blame the network, because the tool had not begun to change the guest."""
    found = because(text, f"{tool} did not end within {seconds:g} s", SLOW)
    return replace(found, tool=tool)


def plain(output: str) -> str:
    """Return an output without overwritten progress lines, and with long lines cut.

    The time for a pattern grows faster than the length of a line.
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in output.split("\n"))
    return "\n".join(line[:LONGEST] for line in lines)


def heading_above(headings: Sequence[re.Match[str]], match: re.Match[str]) -> re.Match[str] | None:
    """Return the last heading above a match; None if there is none."""
    place = bisect_left(headings, match.start(), key=re.Match.start)
    return headings[place - 1] if place else None


def unmet(
    text: str,
    pattern: str,
    names: Sequence[str],
    name_of: Callable[[str], str] = str,
    hint: str = SEVERAL,
) -> Blame | None:
    """Blame a package whose dependencies are unmet.

    The pattern has the groups `package`, `need` and perhaps `why`.
    """
    needs: dict[str, dict[str, str]] = {}
    for match in re.finditer(pattern, text, re.MULTILINE):
        groups = match.groupdict()
        why = f" ({groups['why']})" if groups.get("why") else ""
        needs.setdefault(name_of(groups["package"]), {})[groups["need"]] = why
    if not needs:
        return None
    package = next((name for name in names if name in needs), next(iter(needs)))
    said = ", ".join(f"'{need}'{why}" for need, why in needs[package].items())
    found = because(text, f"'{package}' depends on {said}", hint, outcome=FAIL)
    return replace(found, is_refusal=True)
