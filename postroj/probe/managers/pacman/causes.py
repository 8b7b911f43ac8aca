"""Whom to blame if pacman fails: its messages.

Each pattern comes from a recorded output in `tests/data/pacman`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.managers import causes
from postroj.probe.managers.causes import ERROR, FAIL, Cause, first_cause
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

UNMET = r"unable to satisfy dependency '(?P<need>[^']+)' required by (?P<package>\S+)"
VERSION = r"(?:-[^-\s]+-\d[^-\s]*)?"
"""Newer versions of pacman append it to names."""

PACKAGE = (
    Cause(
        pattern=r"^(?P<package>\S+): (?P<path>/.*) exists in filesystem "
        r"\(owned by (?P<other>\S+)\)",
        sentence=causes.SHIPS,
    ),
    Cause(
        pattern=r"^(?P<package>\S+): (?P<path>/.*) exists in filesystem$",
        sentence="'{package}' ships '{path}', which already exists and belongs to no package",
    ),
    Cause(
        pattern=r"^(?P<path>/.*) exists in both '(?P<package>[^']+)' and '(?P<other>[^']+)'",
        sentence=causes.SHIPS,
    ),
    Cause(
        pattern=r"could not extract (?P<path>/.*) \((?P<why>.*)\)\n"
        r"error: problem occurred while \w+ (?P<package>\S+)",
        sentence=causes.UNPACKED,
    ),
    Cause(
        pattern=r"'(?:[^'\n]*/)?(?P<file>[^/'\n]+)': (?:cannot open package file|libarchive error|"
        r"missing package metadata|invalid or corrupted package$)",
        sentence="'{file}' is not a complete pacman package",
    ),
    Cause(
        pattern=r"package (?P<package>\S+?)-[^-\s]+-[^-\s]+-(?P<architecture>[^-\s]+) does "
        r"not have a valid architecture",
        sentence="'{package}' is for {architecture}, which the guest does not have",
    ),
)
FULL_DISK = causes.full_disk(r"Partition \S+ too full|not enough free disk space|\(Write failed\)")
REPOSITORY = causes.not_ours(
    try_it="pacman -Sy",
    unsigned=r"\(PGP signature\)|required key missing|missing required signature|"
    r"is (?:unknown|marginal) trust|\.sig' from",
    mismatch=r"is corrupted \(invalid or corrupted package|invalid or corrupted database|"
    r"Unrecognized archive format",
    unfetched=r"failed retrieving file|failed to synchronize all databases|"
    r"failed to retrieve some files",
    locked=r"unable to lock database",
)
DEPENDENCIES = (
    Cause(
        pattern=rf"^:: (?P<package>\S+?){VERSION} and (?P<other>\S+?){VERSION} are in conflict",
        sentence="'{package}' and '{other}' are in conflict",
    ),
    Cause(
        pattern=r"^:: installing (?P<package>\S+) .*breaks dependency '(?P<need>[^']+)' "
        r"required by (?P<by>\S+)",
        sentence="'{package}' removes '{need}', which '{by}' depends on",
    ),
    Cause(
        pattern=r"target not found: (?P<name>\S+)",
        sentence=causes.NO_PACKAGE,
        outcome=ERROR,
    ),
)

HEADING = re.compile(
    r"^(?:(?P<verb>installing|upgrading|reinstalling|downgrading|removing) (?P<package>\S+)\.\.\.$|"
    r"\(\d+/\d+\) (?P<hook>.+)$)",
    re.MULTILINE,
)
"""A line above the output of scripts and hooks."""

HELD = Cause(
    pattern=r"^warning: (?P<by>\S+) is designated as a HoldPkg\.$",
    sentence="'{by}', which pacman holds, would have to go",
    is_refusal=True,
)
MISSING = re.compile(
    r"^(?:/tmp/alpm_\w+/\.INSTALL: line|/bin/sh:) \d+: "
    r"(?:(?P<command>\S+): (?:command )?not found|"
    r"(?P<path>/\S*/s?bin/\S+): No such file or directory)$",
    re.MULTILINE,
)
"""A script of a package calls what is not there, and goes on."""

SCRIPT = re.compile(
    r"^error: command (?:failed to execute correctly|terminated by signal \d+: (?P<signal>.+))$",
    re.MULTILINE,
)


def blame(status: int, output: str, names: Sequence[str]) -> Blame | None:
    """Explain why pacman failed, or what it passed over; None if it did not fail.

    pacman continues after a failed script and reports success. Scripts of packages that are not
    under test are ignored here as well.
    """
    text = causes.plain(output)
    found = _blame_script(text, names)
    if found and found.outcome is FAIL:
        return found
    if status == 0:
        return _blame_missing(text, names) or found
    return (
        (found and replace(found, outcome=ERROR))
        or first_cause(text, (FULL_DISK, *PACKAGE, HELD, *REPOSITORY), names)
        or causes.unmet(text, UNMET, names)
        or first_cause(text, DEPENDENCIES, names)
        or causes.blame_status(status, "pacman", text)
        or causes.because(text, "pacman failed")
    )


def _blame_script(text: str, names: Sequence[str]) -> Blame | None:
    """Name the package whose script failed; else the first hook, whose owner is not known here."""
    hooks = []
    for match in SCRIPT.finditer(text):
        above = list(HEADING.finditer(text, 0, match.start()))
        if not above or (above[-1]["package"] and above[-1]["package"] not in names):
            continue
        last = above[-1]
        how = f"was killed by a signal ({match['signal']})" if match["signal"] else "failed"
        said = text[last.start() : match.end()]
        if not last["hook"]:
            return causes.because(said, f"a script of '{last['package']}' {how}", outcome=FAIL)
        subject = f"the hook '{last['hook'].removesuffix('...')}' of pacman"
        found = causes.because(said, f"{subject} {how}", outcome=Outcome.PASS)
        hooks.append(replace(found, trigger=last["hook"]))
    return hooks[0] if hooks else None


def _blame_missing(text: str, names: Sequence[str]) -> Blame | None:
    """Name a package whose script has called what is not there, and has gone on."""
    headings = list(HEADING.finditer(text))
    for match in MISSING.finditer(text):
        above = causes.heading_above(headings, match)
        if above and above["package"] in names:
            what = match["command"] or match["path"]
            sentence = f"a script of '{above['package']}' calls '{what}'"
            said = text[above.start() : match.end()]
            return causes.because(said, f"{sentence}, which the guest does not have", outcome=FAIL)
    return None


def blame_timeout(output: str, names: Sequence[str], seconds: float) -> Blame:
    """Explain what was going on when the time was over; until it installs, the network is slow."""
    text = causes.plain(output)
    above = list(HEADING.finditer(text))
    if not above:
        return causes.blame_slowness("pacman", text, seconds)
    last = above[-1]
    doing = f"running the hook '{last['hook']}'" if last["hook"] else last[0].rstrip(".")
    is_ours = last["package"] in names
    said, trigger = text[last.start() :], last["hook"] or ""
    return causes.blame_hang("pacman", doing, said, seconds, is_ours=is_ours, trigger=trigger)
