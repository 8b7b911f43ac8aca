"""Causes: the reasons for which package managers fail, told by what they say."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroj.probe.managers.base import Blame
from postroj.process import LONGEST, last_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FAIL, ERROR = Outcome.FAIL, Outcome.ERROR

NOT_FOUND = 127
KILLED = 128 + signal.SIGKILL
"""The status of a command that is not there, and of one that the kernel had no memory for."""

FULL = r"No space left on device|Disk quota exceeded"
DISK = "a guest writes to memory: at most half of this host's"
KEYS = "`postroj pull --force NAME` makes the image anew, with today's keys"
LATER = "it may be in the middle of an update: try again later"
SEVERAL = "several packages that need each other: give each with a `--package` of its own"
SLOW = "is the mirror slow? `--timeout` gives it more time"
MORE_TIME = "`--timeout` gives it more time"

MEMORY = r"MemoryError|Cannot allocate memory|bad_alloc|failed to map segment|Out of memory"
UNREACHABLE = (
    r"[Cc]ould(?:n't| not) (?:resolve|connect)|Failed to connect|Connection (?:failed|refused)|"
    r"Connection timed out|Curl error \((?:5|6|7|28)\)|Network is unreachable"
)
"""In the words of libcurl, which dnf, zypper and pacman use."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One of the reasons for which a package manager fails."""

    pattern: str
    """A regular expression; `^` and `$` are ends of lines, and `.` is no end of one.

    Its groups `package` and `other` are the packages that it is about.
    """
    sentence: str
    """With the groups of `pattern` in braces."""
    outcome: Outcome
    """`FAIL` becomes `ERROR` where it is about packages that are not under test."""
    hint: str = ""


def first_cause(
    text: str, causes: Iterable[Cause], names: Sequence[str], name_of: Callable[[str], str] = str
) -> Blame | None:
    """Return the first of the causes that the text shows, best of a package under test.

    `name_of` makes a name of what a text calls a package, as `foo-1.0-1.noarch`.
    """
    for cause in causes:
        matches = list(re.finditer(cause.pattern, text, re.MULTILINE))
        ours = (match for match in matches if _is_ours(match, names, name_of))
        if match := next(ours, None):
            return _because(text, match, cause, name_of)
        if matches:
            return _because(text, matches[0], cause, name_of, ours=False)
    return None


def _is_ours(match: re.Match[str], names: Sequence[str], name_of: Callable[[str], str]) -> bool:
    """Whether it is about a package under test, or about none."""
    groups = match.groupdict()
    about = [name_of(groups[key]) for key in ("package", "other") if groups.get(key)]
    return not about or any(name in names for name in about)


def _because(
    text: str,
    match: re.Match[str],
    cause: Cause,
    name_of: Callable[[str], str],
    *,
    ours: bool = True,
) -> Blame:
    groups = {key: value or "" for key, value in match.groupdict().items()}
    named = {key: name_of(groups[key]) for key in ("package", "other") if key in groups}
    sentence = cause.sentence.format(**(groups | named))
    foreign = cause.outcome is FAIL and not ours
    return Blame(
        outcome=ERROR if foreign else cause.outcome,
        sentence=f"{sentence}; it is not under test" if foreign else sentence,
        evidence=evidence(text, match),
        hint=cause.hint,
    )


def evidence(text: str, match: re.Match[str], count: int = 20) -> str:
    """Return the last lines of a text, and above them what was found, if it is not in them."""
    tail = last_lines(text, count)
    found = match[0].strip().splitlines()[0] if match[0].strip() else ""
    if found in tail:
        return tail
    return "\n".join([found, "...", *tail.splitlines()[2 - count :]])


def not_ours(
    *, try_it: str, full: str, unsigned: str, mismatch: str, unfetched: str, locked: str
) -> tuple[Cause, ...]:
    """Return the causes for which no package is to blame, from the patterns of a manager."""
    hint = f"is this host online? `postroj run --image NAME -- {try_it}` tries it alone"
    told = (
        (full, "the guest's disk is full", DISK),
        (unsigned, "the signature of a package repository is not valid in the guest", KEYS),
        (mismatch, "the guest's mirror has other files than its index says", LATER),
        (UNREACHABLE, "the guest could not reach its package repositories", hint),
        (unfetched, "the guest could not fetch from its package repositories", hint),
        (locked, "another package manager was at work in the guest", ""),
        (MEMORY, "there was not enough memory in the guest", ""),
    )
    return tuple(
        Cause(pattern=pattern, sentence=sentence, outcome=ERROR, hint=hint)
        for pattern, sentence, hint in told
    )


def blame_status(status: int, tool: str, text: str) -> Blame | None:
    """Say what a status alone tells: no such tool, or killed; None if it tells nothing."""
    if status == KILLED:
        return unknown(text, f"{tool} was killed in the guest", "is there enough memory?")
    if status == NOT_FOUND:
        return unknown(text, f"the guest has no {tool}", "`postroj list-images` shows others")
    return None


def unknown(text: str, sentence: str, hint: str = "") -> Blame:
    """Say what cannot be held against a package."""
    return Blame(outcome=ERROR, sentence=sentence, evidence=last_lines(text), hint=hint)


def blame_hang(tool: str, action: str, said: str, seconds: float, *, is_ours: bool) -> Blame:
    """Blame what a tool was doing when its time was over; `said` is what it has printed since."""
    return Blame(
        outcome=FAIL if is_ours else ERROR,
        sentence=f"{tool} hung for {seconds:g} s while {action}",
        evidence=last_lines(said),
        hint=MORE_TIME,
        tool=tool,
        action=action,
    )


def blame_slowness(tool: str, text: str, seconds: float) -> Blame:
    """Blame the network for a tool that had not begun to change the guest."""
    found = unknown(text, f"{tool} did not end within {seconds:g} s", SLOW)
    return replace(found, tool=tool)


def plain(output: str) -> str:
    """Return an output without what its progress lines had overwritten, and long lines cut.

    The time that patterns take grows faster than lines do.
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in output.split("\n"))
    return "\n".join(line[:LONGEST] for line in lines)


def unmet(
    text: str, pattern: str, names: Sequence[str], name_of: Callable[[str], str] = str
) -> Blame | None:
    """Say what a package needs in vain; groups `package`, `need` and, if it is told, `why`."""
    needs: dict[str, dict[str, str]] = {}
    for match in re.finditer(pattern, text, re.MULTILINE):
        groups = match.groupdict()
        why = f" ({groups['why']})" if groups.get("why") else ""
        needs.setdefault(name_of(groups["package"]), {})[groups["need"]] = why
    if not needs:
        return None
    package = next((name for name in names if name in needs), next(iter(needs)))
    said = ", ".join(f"'{need}'{why}" for need, why in needs[package].items())
    return Blame(
        outcome=FAIL,
        sentence=f"'{package}' depends on {said}",
        evidence=last_lines(text),
        hint=SEVERAL,
    )
