"""Whom to blame if apt fails: messages of apt-get and dpkg.

Each pattern comes from a recorded output in `tests/data/apt`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.causes import find
from postroj.probe.managers import causes
from postroj.probe.managers.causes import ERROR, FAIL, Cause, first_cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

OWN = r"^E: .*"
"""Beginning of apt's own lines: a maintainer script may print the same words after it."""

FULL_DISK = causes.full_disk("You don't have enough free space")
US = (
    Cause(
        pattern=rf"{OWN}Release file for \S+ is expired",
        sentence="a Release file of the guest's mirror has expired",
        outcome=ERROR,
        hint="`postroj pull --force --allow-expired NAME` makes an image that accepts it",
    ),
    Cause(
        pattern=rf"{OWN}Release file for \S+ is not valid yet",
        sentence="a Release file of the guest's mirror is dated in the future",
        outcome=ERROR,
        hint="is the clock of this host right?",
    ),
    *causes.not_ours(
        try_it="apt-get update",
        unsigned=r"is not signed|NO_PUBKEY|EXPKEYSIG|BADSIG",
        mismatch=r"Hash Sum mismatch|File has unexpected size",
        unreachable=r"Temporary failure resolving|Could not resolve|Could not connect|"
        r"Unable to connect|Connection (?:failed|timed out|refused)",
        unfetched=r"Failed to fetch|Unable to fetch some archives|"
        r"Some index files failed to download|does not have a Release file",
        locked=r"Could not get lock|Unable to acquire the dpkg frontend lock",
        own=OWN,
    ),
    Cause(
        pattern=rf"{OWN}dpkg was interrupted",
        sentence="dpkg was interrupted in the guest before",
        outcome=ERROR,
        hint="`postroj pull --force NAME` rebuilds the image",
    ),
    causes.newer_installed(rf"{OWN}Packages were downgraded"),
    Cause(
        pattern=rf"{OWN}Problem executing scripts (?P<hook>\S+) '(?P<command>.*)'$",
        sentence="a hook of apt fails: {hook} '{command}'",
    ),
    Cause(
        pattern=rf"{OWN}(?:Essential packages were removed|Removing essential)",
        sentence="the package would remove essential packages of the guest",
        is_refusal=True,
    ),
)
"""Failures of the network, the mirror or the image, mostly; they come before dependencies."""

UNMET_HEAD = "The following packages have unmet dependencies:\n"
UNMET = re.compile(
    r" +(?:(?P<name>\S+) : )?(?:(?P<kind>\w+): )?(?P<need>.+?)"
    r"(?: but (?P<why>.+?)| which is a virtual package.*?)?(?P<more> or)?"
)
KINDS = {"Conflicts": "conflicts with", "Breaks": "breaks"}
"""Relations other than `Depends` and `Pre-Depends`."""

ARCHIVES = (
    Cause(
        pattern=r"package architecture \((?P<has>\S+)\) does not match system \((?P<other>\S+)\)",
        sentence="is for {has}, the guest is {other}",
    ),
    Cause(
        pattern=r"trying to overwrite '(?P<path>.+)', which is also in package (?P<other>\S+)",
        sentence="ships '{path}', which is also in package '{other}'",
    ),
    Cause(
        pattern=r"is not a Debian format archive|Invalid archive|could not locate member|"
        r"unexpected end of (?:file|input)|(?:lzma|zstd|gzip) error|corrupted filesystem tarfile|"
        r"uses unknown compression",
        sentence="is not a complete .deb package",
    ),
)
"""Defects of an archive; dpkg names the archive on another line, `IN_ARCHIVE`."""

IN_ARCHIVE = re.compile(r"dpkg: error processing (?:archive|package) (.+?) \(--")
# The line below "dpkg: error processing"; if dpkg tries another script, it is only a warning.
SCRIPT = re.compile(
    r"^ (?:installed|new|old) (?P<name>\S+) package (?P<script>\S+) (?:maintainer )?script "
    r"subprocess (?:(?:returned error|failed with) exit status (?P<status>\d+)|"
    r"was killed by signal \((?P<signal>[^)]+)\))",
    re.MULTILINE,
)
UNDER_WAY = re.compile(
    r"^(?P<phase>Setting up|Preparing to unpack|Unpacking|Processing triggers for|Removing|"
    r"Purging configuration files for) (?P<what>\S+)",
    re.MULTILINE,
)
LOCAL = re.compile(r"^Get:\d+ /(?:\S*/)?(?P<file>\S+) ", re.MULTILINE)
"""A file under test: apt "gets" it from its folder."""

FETCHED = re.compile(r"^Get:\d+ https?://\S+ \S+ \S+ (\S+) ", re.MULTILINE)
"""The name of a package that was downloaded from a mirror."""

NOT_STARTED = re.compile(
    r"^(\S+\.\w+) is a disabled or a static unit(?: not running)?, not starting it", re.MULTILINE
)
"""deb-systemd-invoke(1)"""

ALONE = re.compile(r"^dpkg: error processing ", re.MULTILINE)
"""A failure of dpkg that was not called by apt."""

NUMBER = re.compile(r"^\d+-")
"""A prefix of the names of archives if apt passes many of them to dpkg."""


def blame(status: int, output: str, names: Sequence[str]) -> Blame | None:
    """Explain why a command failed; `names` are the packages under test.

    As soon as dpkg runs, apt has downloaded everything, so later messages are not of the network.
    """
    if status == 0:
        return None
    text = causes.plain(output)
    return (
        _blame_disk(text, names)
        or _blame_script(text, names)
        or _blame_files(text)
        or first_cause(text, US, names)
        or _blame_dependencies(text)
        or causes.blame_status(status, "apt-get", text)
        or (
            causes.because(text, "dpkg refused the package", outcome=FAIL)
            if "Sub-process /usr/bin/dpkg returned an error code" in text
            else causes.because(text, "dpkg failed" if ALONE.search(text) else "apt-get failed")
        )
    )


def blame_timeout(output: str, names: Sequence[str], seconds: float) -> Blame:
    """Explain what was going on when the time was over; before dpkg runs, the network is slow."""
    text = causes.plain(output)
    found = list(UNDER_WAY.finditer(text))
    if not found:
        return causes.blame_slowness("apt-get", text, seconds)
    last = found[-1]
    phase = last.group(0)[0].lower() + last.group(0)[1:]
    is_ours = _is_ours(last, text, names)
    trigger = last["what"] if last["phase"].startswith("Processing") and not is_ours else ""
    said = text[last.start() :]
    return causes.blame_hang("apt-get", phase, said, seconds, is_ours=is_ours, trigger=trigger)


def _is_ours(last: re.Match[str], text: str, names: Sequence[str]) -> bool:
    """Return whether dpkg works on a package under test."""
    if last["phase"] == "Preparing to unpack":
        local = [match["file"] for match in LOCAL.finditer(text)]
        return NUMBER.sub("", last["what"].rpartition("/")[2]) in local
    return last["what"].partition(":")[0] in names


def _blame_disk(text: str, names: Sequence[str]) -> Blame | None:
    """Explain a full disk; the package is to blame if its own script has filled it."""
    full = first_cause(text, [FULL_DISK], names)
    script = full and _blame_script(text, names)
    if script and script.outcome is FAIL:
        return replace(
            script, sentence=f"{script.sentence}: the guest's disk is full", hint=causes.DISK
        )
    return full


def _blame_dependencies(text: str) -> Blame | None:
    """Read the table of unmet dependencies: a name, and its needs below each other."""
    _, _, below = text.partition(UNMET_HEAD)
    needs: dict[tuple[str, str], str] = {}
    name = kind = glue = ""
    for line in below.splitlines():
        match = UNMET.fullmatch(line)
        if not match:
            break
        name, kind = match["name"] or name, match["kind"] or kind
        need = f"'{match['need']}'" + (f" ({match['why']})" if match["why"] else "")
        key = (name, KINDS.get(kind, "depends on"))
        needs[key] = f"{needs[key]}{glue or ', '}{need}" if key in needs else need
        glue = match["more"] and f"{match['more']} "
    if not needs:
        return None
    (name, verb), need = next(iter(needs.items()))
    hint = causes.SEVERAL if verb == "depends on" else ""
    found = causes.because(below, f"'{name}' {verb} {need}", hint, outcome=FAIL)
    return replace(found, is_refusal=True)


def _blame_files(text: str) -> Blame | None:
    """Explain a defect of the archive or of the files in it."""
    archive = IN_ARCHIVE.search(text)
    if not archive:
        return None
    found = find(ARCHIVES, text)
    if not found:
        return None
    cause, matches = found
    subject = NUMBER.sub("", archive[1].rpartition("/")[2])
    sentence = f"'{subject}' {cause.sentence.format(**matches[0].groupdict())}"
    if any(subject.startswith(f"{name}_") for name in FETCHED.findall(text)):
        return causes.because(text, f"{sentence}; it is not under test")
    return causes.because(text, sentence, outcome=FAIL)


def _blame_script(text: str, names: Sequence[str]) -> Blame | None:
    """Name the maintainer script that failed, with its last output."""
    match = SCRIPT.search(text)
    if not match:
        return None
    name = match["name"]
    how = f"ended with status {match['status']}"
    if match["signal"]:
        how = f"was killed by a signal ({match['signal']})"
    before = text[: match.end()]
    last = max(UNDER_WAY.finditer(before), key=re.Match.start, default=None)
    return causes.blame_script(
        match["script"],
        name,
        how,
        before[last.start() if last else 0 :],
        is_ours=name.partition(":")[0] in names,
        is_trigger=last is not None and last["phase"].startswith("Processing"),
    )
