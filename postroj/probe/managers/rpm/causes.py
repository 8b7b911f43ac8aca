"""Whom to blame if dnf or zypper fails: their messages and those of rpm.

The patterns come from recorded outputs in `tests/data/rpm`, except a few messages of yum and dnf
that differ between versions.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.managers import causes
from postroj.probe.managers.causes import ERROR, Cause, first_cause
from postroj.probe.managers.rpm import scriptlets
from postroj.probe.managers.rpm.scriptlets import SCRIPT, name_of
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

NOTHING_PROVIDES = (
    r"nothing provides '?(?P<need>[^'\n]+?)'? needed by (?:the to be installed )?"
    r"(?P<package>\S+?)(?: from \S+)?$"
)
NO_PROVIDER = (
    r"(?<!\S)(?P<package>\S+?)(?: from \S+)? requires "
    r"'?(?P<need>[^'\n]+?)'?, but (?P<why>none of the providers can be installed|"
    r"this requirement cannot be provided)"
)

CONFLICTS = (
    Cause(
        pattern=r"(?<!\S)(?P<package>\S+?)(?: from \S+)? "
        r"conflicts with '?(?P<need>[^'\n]+?)'? provided by (?:the (?:to be )?installed )?"
        r"(?P<by>\S+)",
        sentence="'{package}' conflicts with '{need}', which '{by}' provides",
    ),
    Cause(
        pattern=r"package (?P<package>\S+?)(?: from \S+)? obsoletes '?(?P<need>[^'\n]+?)'? "
        r"provided by (?P<by>\S+)",
        sentence="'{package}' would replace '{need}', which '{by}' provides",
    ),
)

UNVERIFIED = (
    "'{package}{other}' has no signature that rpm can verify in the guest, and rpm demands one"
)
LEVEL = "`--setup` can change what '%_pkgverify_level' demands, rpm-macros(7), or import a key"

FILES_OF = (
    Cause(
        pattern=r"file (?P<path>/.*?) from install of (?P<package>\S+) conflicts with file from "
        r"package (?P<other>\S+)",
        sentence=causes.SHIPS,
    ),
    Cause(
        pattern=r"file (?P<path>/.*?) conflicts between attempted installs of (?P<package>\S+) and "
        r"(?P<other>\S+)",
        sentence=causes.SHIPS,
    ),
    Cause(  # zypper
        pattern=r"^File (?P<path>/.*)\n +from install of\n +(?P<package>\S+) .*\n +conflicts with "
        r"file from (?:package|install of)\n +(?P<other>\S+)",
        sentence=causes.SHIPS,
    ),
    Cause(
        pattern=r"unpacking of archive failed(?: on file (?P<path>/[^;\n]*?)(?:;[0-9a-f]+)?)?: "
        r"(?:cpio: )?(?P<why>.*)\n(?:.*\n)*?(?:error: |Unpack error: )(?P<package>\S+)",
        sentence=causes.UNPACKED,
    ),
    Cause(
        pattern=r"Error unpacking rpm package (?P<package>\S+)",
        sentence="the files of '{package}' cannot be unpacked",
        hint="is there a directory in the place of one of its files?",
    ),
    Cause(
        pattern=r"^Package (?P<package>\S+) is not signed$|"
        r"^(?P<other>\S+) \(Plain RPM files cache\): Signature verification failed \[[456]-",
        sentence=UNVERIFIED,
        outcome=ERROR,
        hint=LEVEL,
    ),
    Cause(
        pattern=r"^Public key for (?P<package>\S+) is not installed(?P<other>)$",
        sentence=UNVERIFIED,
        outcome=ERROR,
        hint=LEVEL,
    ),
    Cause(
        pattern=r"package (?P<package>\S+) does not verify: .*digest|"
        r"^(?P<other>\S+) \(Plain RPM files cache\): Signature verification failed \[2-",
        sentence="'{package}{other}' is not a complete .rpm package",
    ),
    Cause(
        pattern=r"(?:Failed to read package header from file \"|Problem reading the RPM header of |"
        r"Can not load RPM file: |Could not open: |Failed to add local package:? \"?)"
        r"(?:\S*/)?(?P<file>[^/\s\"]+?)\"?[.:]?(?:\s|$)",
        sentence="'{file}' is not a complete .rpm package",
    ),
    Cause(
        pattern=r"package (?P<package>\S+?)(?: from \S+)? does not have a compatible architecture",
        sentence="'{package}' is for an architecture that the guest does not have",
    ),
    Cause(  # zypper prints nothing more exact
        pattern=r"No provider of '_tmpRPMcache_:(?P<name>[^='\n]+)[=']",
        sentence="zypper finds no package '{name}' in its file: is it for another architecture?",
    ),
)

PASSED_OVER = (
    causes.newer_installed(
        r"'(?P<package>\S+)' from repository '.*' has lower version than the installed one"
    ),
    Cause(
        pattern=r"(?:No match for argument: |Argument resolves to no package: |No package \"?)"
        r"(?P<name>[^\s\"/]+)",
        sentence=causes.NO_PACKAGE,
        outcome=ERROR,
    ),
)
"""Some versions of zypper only warn of these."""

PROTECTED = Cause(
    pattern=r"The operation would result in (?:removing|broken dependencies for) the following "
    r"protected packages: (?P<by>.+)",
    sentence="protected packages of the guest would have to go: {by}",
    is_refusal=True,
)
FULL_DISK = causes.full_disk(
    r"needs \S+ more space on the|Failed writing received data|"
    r"Can't hardlink/copy|Not enough disk space|Failure writing output"
)
REPOSITORY = causes.not_ours(
    try_it="dnf makecache` or `zypper refresh",
    unsigned=r"GPG verification is enabled|You have enabled checking of packages via GPG|"
    r"Signature verification failed|OpenPGP check for package .* has failed|GPG check FAILED|"
    r"Public key for .* is not installed",
    mismatch=r"checksum doesn't match|Digest verification failed|has wrong checksum",
    unfetched=r"Failed to download (?:metadata|packages)|Error downloading packages|"
    r"Could not refresh the repositories|not found on medium|Can't provide file|"
    r"Valid metadata not found|Timeout exceeded when accessing|"
    r"^Preloading: .*\[(?!done)[^\]\n]+\]|Failed to retrieve new repository metadata",
    locked=r"Waiting for (?:a lock|process)|System management is locked|"
    r"Another app is currently holding the yum lock",
)
_, _, UNREACHED, UNFETCHED, LOCKED, _ = REPOSITORY
TRANSACTION_FAILED = re.compile(
    r"^(?:Transaction failed: Rpm transaction failed|Error: Could not run transaction)",
    re.MULTILINE,
)
NOT_DONE = re.compile(r": (?:install|erase) failed$|^Unpack error|^Failed:$", re.MULTILINE)
UNDER_WAY = re.compile(
    r"^ *(?:Running scriptlet: (?P<scriptlet>\S+)|"
    r"\(\d+/\d+\) (?P<verb>Installing|Removing):? (?P<package>\S+) \[|"
    r"Executing %(?P<late>\w+) script '(?P<file>\S+)'|"
    r"\(\d+/\d+\) Executing (?P<script>\w+) script for: (?P<nevra>\S+) \[)",
    re.MULTILINE,
)
TRANSACTION = re.compile(r"^Running transaction$", re.MULTILINE)
FINISHED = re.compile(
    r"^\[\d+/\d+\] (?:Installing|Upgrading|Downgrading|Reinstalling|Removing) (\S+)", re.MULTILINE
)
DEPENDENCIES = re.compile(r"^Installing (?:weak )?dependencies:\n((?: .+\n)+)", re.MULTILINE)


VERBS = {"Installing": "installing", "Removing": "removing"}


def plain(output: str) -> str:
    """Return an output without overwritten progress lines, and without the prefixes of dnf 5."""
    return re.sub(r"^(?:>>> )?(?:\[RPM\] )?", "", causes.plain(output), flags=re.MULTILINE)


def blame(tool: str, status: int, output: str, names: Sequence[str]) -> Blame | None:
    """Explain why dnf or zypper failed, or what it passed over; None if it did not fail.

    rpm continues after most failed scripts, and dnf 4 and zypper then end with the status of a
    success. Such scripts of packages that are not under test are ignored here as well.
    """
    text = plain(output)
    scripts = list(SCRIPT.finditer(text))
    is_done = status in SUCCESS or bool(scripts and _is_all_said(text))
    found = scriptlets.blame_failure(text, scripts, names)
    if is_done and (not found or found.trigger):
        return (
            scriptlets.blame_complaint(text, names)
            or first_cause(text, PASSED_OVER, names, name_of)
            or (found and replace(found, outcome=Outcome.PASS))
        )
    return (
        found
        or first_cause(text, (FULL_DISK, *FILES_OF, PROTECTED, *REPOSITORY), names, name_of)
        or causes.unmet(text, NOTHING_PROVIDES, names, name_of, causes.EXTRA)
        or first_cause(text, CONFLICTS, names, name_of)
        or causes.unmet(text, NO_PROVIDER, names, name_of)
        or first_cause(text, PASSED_OVER, names, name_of)
        or causes.blame_status(status, tool, text)
        or causes.because(text, f"{tool} failed")
    )


SUCCESS = (0, 102, 103, 106, 107)
"""Statuses of a success; above 100 zypper wants a reboot (102), or itself restarted (103), has left
out a repository (106), or a script has failed (107), zypper(8)."""


def _is_all_said(text: str) -> bool:
    """Return whether dnf failed only because of scripts, which are judged already."""
    return bool(TRANSACTION_FAILED.search(text)) and not NOT_DONE.search(text)


def blame_timeout(tool: str, output: str, names: Sequence[str], seconds: float) -> Blame:
    """Explain what was going on when the time was over: a script, or nothing of a package yet."""
    text = plain(output)
    if found := first_cause(text, (LOCKED, UNREACHED, UNFETCHED), names):
        return replace(found, tool=tool)
    steps = list(UNDER_WAY.finditer(text))
    if steps:
        last = steps[-1]
        package = name_of(
            next(filter(None, map(last.group, ("scriptlet", "package", "file", "nevra"))))
        )
        doing = VERBS.get(last["verb"] or "", "running a script of")
        if last["late"] or last["script"]:
            doing = f"running the %{scriptlets.in_spec(last['late'] or last['script'])} script of"
        action, said = f"{doing} '{package}'", text[last.start() :]
        return causes.blame_hang(tool, action, said, seconds, is_ours=package in names)
    if begun := TRANSACTION.search(text):
        return _blame_silence(tool, text, begun.start(), names, seconds)
    return causes.blame_slowness(tool, text, seconds)


def _blame_silence(tool: str, text: str, begun: int, names: Sequence[str], seconds: float) -> Blame:
    """Guess what hangs in dnf 5, which names a package only after it has finished with it.

    Dependencies come first: as long as one of them is not finished, it may be the one that hangs.
    """
    done = [name_of(word) for word in FINISHED.findall(text)]
    tables = "".join(DEPENDENCIES.findall(text))
    waiting = [
        row.split()[0]
        for row in tables.splitlines()
        if not any(row.split()[0].startswith(name) for name in done)
    ]
    package = waiting[0] if waiting else next((n for n in names if n not in done), "")
    action = f"installing or removing '{package}'"
    return causes.blame_hang(tool, action, text[begun:], seconds, is_ours=not waiting)
