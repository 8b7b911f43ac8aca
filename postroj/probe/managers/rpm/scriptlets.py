"""Whom to blame for scriptlets of rpm: those that fail, and those that go on after an error.

Pure; the patterns come from recorded outputs in `tests/data/rpm`.
"""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.managers import causes
from postroj.probe.managers.causes import FAIL, Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

SCRIPT = re.compile(
    r"%(?P<script>\w+)\((?P<nevra>[^)\s]+)\) scriptlet failed, "
    r"(?:exit status (?P<status>\d+)|signal (?P<signal>\d+))|"
    r"^Warning: (?P<file>\S+) %(?P<late>\w+) script failed \(returned (?P<returned>\d+)\)|"
    r"lua script failed: \[string \"%(?P<lua>\w+)\((?P<of>[^)\s]+)\)\"\]:\d+: (?P<error>.*)|"
    r"^Error in (?P<phase>(?:PRE|POST)(?:IN|UN|TRANS)) scriptlet in rpm package (?P<name>\S+)",
    re.MULTILINE,
)
BEGIN = re.compile(
    r"^ *(?:Running scriptlet: |Running %\w+ scriptlet: |"
    r"\(\d+/\d+\) (?:Installing|Removing)|Preparing \[|"
    r"Executing %)",
    re.MULTILINE,
)
AFTER = re.compile(r"\n(?:(?!\(\d+/).*\n)*?(?:attention|error|\.*done)\]")
"""What a script has printed may follow the report of its failure in zypper."""
FATAL = ("pretrans", "pre", "preun", "preuntrans")
"""Scripts whose failure makes rpm skip their package; it only reports that others have failed."""
IN_SPEC = {"prein": "pre", "postin": "post"}

HEADING = re.compile(
    r"^ *(?:(?:Running scriptlet|Installing|Upgrading|Reinstalling|Downgrading|Cleanup|Erasing)"
    r" *: (?P<dnf>\S+) |"
    r"\[\d+/\d+\] \w+ (?P<cut>\S+) +\d+% |Running %\w+ scriptlet: (?P<dnf5>\S+)$|"
    r"\(\d+/\d+\) (?:Installing|Removing|Cleaning up):? (?P<zypper>\S+) \[|"
    r"\(\d+/\d+\) Executing \w+ script for: (?P<script>\S+) \[|"
    r"Executing %\w+ script '(?P<file>\S+)')",
    re.MULTILINE,
)
"""A line above what rpm and scriptlets print about a package; dnf 5 cuts long names."""

COMPLAINTS = (
    Cause(
        pattern=r"\buser (?P<user>\S+) does not exist - using root$",
        sentence="files of '{package}' are for the user '{user}', which does not exist: "
        "root owns them",
        hint="an earlier scriptlet, or sysusers.d of the package, has to make the user",
    ),
    Cause(
        pattern=r"\bgroup (?P<group>\S+) does not exist - using root$",
        sentence="files of '{package}' are for the group '{group}', which does not exist: "
        "root owns them",
        hint="an earlier scriptlet, or sysusers.d of the package, has to make the group",
    ),
    Cause(
        pattern=r"/rpm-tmp\.\w+: (?:line )?\d+: (?P<command>\S+): (?:command )?not found$|"
        r"/rpm-tmp\.\w+: line \d+: (?P<path>/\S*/s?bin/\S+): No such file or directory$",
        sentence="a scriptlet of '{package}' calls '{command}{path}', "
        "which the guest does not have",
        hint="does the package lack a dependency, as `Requires(post)`?",
    ),
)
"""Errors after which rpm and the scriptlet go on; the heading above shows whose they are."""


def name_of(nevra: str) -> str:
    """Return the name in `foo-bar-1:1.0-1.noarch`, with `.rpm` or without."""
    parts = nevra.rstrip(":").rsplit("-", 2)
    return parts[0] if len(parts) == 3 else nevra


def blame_failure(text: str, found: Sequence[re.Match[str]], names: Sequence[str]) -> Blame | None:
    """Name the script that failed, preferably of a package under test, or a trigger."""
    ours = [match for match in found if package(match) in names]
    pulled = [match for match in found if "trigger" in script(match)]
    fatal = [match for match in found if script(match) in FATAL]
    for match in (*ours, *fatal, *pulled):
        begins = [begin.start() for begin in BEGIN.finditer(text, 0, match.start())]
        after = AFTER.match(text, match.end())
        end = after.end() if after else match.end()
        return causes.blame_script(
            f"%{script(match)}",
            package(match),
            _how(match),
            text[begins[-1] if begins else 0 : end],
            is_ours=match in ours,
            is_trigger=match in pulled,
        )
    return None


def blame_complaint(text: str, names: Sequence[str]) -> Blame | None:
    """Name the error of a package under test after which its installation has gone on."""
    headings = list(HEADING.finditer(text))
    for cause in COMPLAINTS:
        for match in re.finditer(cause.pattern, text, re.MULTILINE):
            above = causes.heading_above(headings, match)
            if above and (owner := _named(above, names)):
                groups = {key: value or "" for key, value in match.groupdict().items()}
                sentence = cause.sentence.format(package=owner, **groups)
                said = text[above.start() : text.find("\n", match.end()) + 1 or None]
                return replace(causes.because(said, sentence, cause.hint), outcome=FAIL)
    return None


def package(match: re.Match[str]) -> str:
    """Return the name of the package whose script failed."""
    return str(match["name"] or name_of(match["nevra"] or match["file"] or match["of"]))


def script(match: re.Match[str]) -> str:
    """Return the name of a script as spec files write it."""
    return in_spec(match["script"] or match["late"] or match["lua"] or match["phase"].lower())


def in_spec(script: str) -> str:
    """Return the name of a script as spec files write it."""
    return IN_SPEC.get(script, script)


def _how(match: re.Match[str]) -> str:
    number = match["signal"]
    if number:
        return f"was killed by a signal ({signal.strsignal(int(number)) or number})"
    if match["lua"]:
        return f"raised an error in Lua: {match['error']}"
    status = match["status"] or match["returned"]
    return f"ended with status {status}" if status else "failed"


def _named(heading: re.Match[str], names: Sequence[str]) -> str:
    """Return the package under test that a heading names; '' if it is of another package."""
    nevra = next(filter(None, heading.groups()))
    for name in names:
        rest = nevra.removeprefix(f"{name}-")
        if rest != nevra and rest[:1].isdigit() and rest.count("-") <= 1:
            return name
        if heading["cut"] and f"{name}-".startswith(nevra):
            return name
    return ""
