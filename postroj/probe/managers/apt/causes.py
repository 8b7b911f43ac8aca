"""Whom to blame when apt fails: what apt-get and dpkg say.

Each pattern is of a recorded output: `tests/data/apt`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.managers.base import Blame
from postroj.probe.managers.causes import MEMORY, blame_hang, blame_slowness, blame_status, plain
from postroj.process import last_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of apt's own lines, which begin with "E: ": a maintainer script may say the same of other things.
UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|"
    r"Connection (?:failed|timed out|refused)"
)
UNFETCHED = re.compile(
    r"Failed to fetch|Unable to fetch some archives|Some index files failed to download|"
    r"does not have a Release file"
)
MISMATCH = re.compile(r"Hash Sum mismatch|File has unexpected size")
EXPIRED = re.compile(r"Release file for \S+ is expired")
NOT_YET = re.compile(r"Release file for \S+ is not valid yet")
UNSIGNED = re.compile(r"is not signed|NO_PUBKEY|EXPKEYSIG|BADSIG")
INTERRUPTED = re.compile(r"dpkg was interrupted")
LOCKED = re.compile(r"Could not get lock|Unable to acquire the dpkg frontend lock")
DOWNGRADED = re.compile(r"Packages were downgraded")
ESSENTIAL = re.compile(r"Essential packages were removed|Removing essential")

NO_SPACE = re.compile(r"No space left on device|You don't have enough free space")
UNMET_HEAD = "The following packages have unmet dependencies:\n"
UNMET = re.compile(
    r" +(?:(?P<name>\S+) : )?(?:(?P<kind>\w+): )?(?P<need>.+?)"
    r"(?: but (?P<why>.+?)| which is a virtual package.*?)?(?P<more> or)?"
)
KINDS = {"Conflicts": "conflicts with", "Breaks": "breaks"}
"""What is no `Depends` or `Pre-Depends`."""

NO_PACKAGE = re.compile(
    r"is not a Debian format archive|Invalid archive|could not locate member|"
    r"unexpected end of (?:file|input)|(?:lzma|zstd|gzip) error|corrupted filesystem tarfile|"
    r"uses unknown compression"
)
ARCHITECTURE = re.compile(r"package architecture \((\S+)\) does not match system \((\S+)\)")
OVERWRITE = re.compile(r"trying to overwrite '(.+)', which is also in package (\S+)")
IN_ARCHIVE = re.compile(r"dpkg: error processing (?:archive|package) (.+?) \(--")
# The line below "dpkg: error processing"; where dpkg tries another script it is a warning only.
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
"""A file under test, which apt "gets" from where it lies."""

FETCHED = re.compile(r"^Get:\d+ https?://\S+ \S+ \S+ (\S+) ", re.MULTILINE)
"""The name of a package that came from a mirror."""

NUMBER = re.compile(r"^\d+-")
"""Before the names of archives, where apt hands many to dpkg."""


def blame(status: int, output: str, names: Sequence[str]) -> Blame | None:
    """Say why a command failed; `names` are the packages under test.

    Once dpkg runs, apt has fetched all: what it complains of then is not the network.
    """
    if status == 0:
        return None
    text = plain(output)
    return (
        _blame_disk(text, names)
        or _blame_script(text, names)
        or _blame_files(text)
        or _blame_us(text)
        or _blame_dependencies(text)
        or blame_status(status, "apt-get", text)
        or (
            _because(text, "dpkg refused the package", fails=True)
            if "Sub-process /usr/bin/dpkg returned an error code" in text
            else _because(text, "apt-get failed")
        )
    )


def blame_timeout(output: str, names: Sequence[str], seconds: float) -> Blame:
    """Say what was going on when the time was over; before dpkg runs, the network is slow."""
    text = plain(output)
    found = list(UNDER_WAY.finditer(text))
    if not found:
        return blame_slowness("apt-get", text, seconds)
    last = found[-1]
    phase = last.group(0)[0].lower() + last.group(0)[1:]
    is_ours = _is_ours(last, text, names)
    return blame_hang("apt-get", phase, text[last.start() :], seconds, is_ours=is_ours)


def _because(text: str, sentence: str, hint: str = "", *, fails: bool = False) -> Blame:
    outcome = Outcome.FAIL if fails else Outcome.ERROR
    return Blame(outcome=outcome, sentence=sentence, evidence=last_lines(text), hint=hint)


def _is_ours(last: re.Match[str], text: str, names: Sequence[str]) -> bool:
    """Whether what is under way is a package under test, or a trigger that one has pulled."""
    if last["phase"] == "Preparing to unpack":
        local = [match["file"] for match in LOCAL.finditer(text)]
        return NUMBER.sub("", last["what"].rpartition("/")[2]) in local
    return last["phase"].startswith("Processing") or last["what"].partition(":")[0] in names


def _blame_disk(text: str, names: Sequence[str]) -> Blame | None:
    """Say that the disk is full; a script under test that fills it has done so itself."""
    if not NO_SPACE.search(text):
        return None
    hint = "a guest writes to memory: at most half of this host's, shared by those of `--jobs`"
    script = _blame_script(text, names)
    if script and script.outcome is Outcome.FAIL:
        return replace(script, sentence=f"{script.sentence}: the guest's disk is full", hint=hint)
    return _because(text, "the guest's disk is full", hint)


def _blame_us(text: str) -> Blame | None:
    """Network, mirror, image: the package was not judged, or cannot be."""
    said = "\n".join(line for line in text.splitlines() if line.startswith("E: "))
    if EXPIRED.search(said):
        hint = "`postroj pull --force --allow-expired NAME` makes an image that accepts it"
        return _because(text, "a Release file of the guest's mirror has expired", hint)
    if NOT_YET.search(said):
        sentence = "a Release file of the guest's mirror is from the future"
        return _because(text, sentence, "is the clock of this host right?")
    if UNSIGNED.search(said):
        sentence = "the signature of a package repository is not valid in the guest"
        hint = "`postroj pull --force NAME` makes the image anew, with today's keys"
        return _because(text, sentence, hint)
    if MISMATCH.search(said):
        sentence = "the guest's mirror has other files than its index says"
        return _because(text, sentence, "it may be in the middle of an update: try again later")
    if UNREACHABLE.search(said) or UNFETCHED.search(said):
        verb = "reach" if UNREACHABLE.search(said) else "fetch from"
        hint = "is this host online? `postroj run -- apt-get update` tries it alone"
        return _because(text, f"the guest could not {verb} its package repositories", hint)
    if INTERRUPTED.search(said):
        hint = "`postroj pull --force NAME` makes the image anew"
        return _because(text, "dpkg had been interrupted in the guest", hint)
    if re.search(MEMORY, said):
        return _because(text, "there was not enough memory in the guest")
    if LOCKED.search(said):
        return _because(text, "another package manager was at work in the guest")
    if DOWNGRADED.search(said):
        hint = "give the package a higher version, or choose an older image"
        return _because(text, "the guest has a newer version of the package already", hint)
    if ESSENTIAL.search(said):
        sentence = "the package would remove essential packages of the guest"
        return _because(text, sentence, fails=True)
    return None


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
    return Blame(
        outcome=Outcome.FAIL,
        sentence=f"'{name}' {verb} {need}",
        evidence=last_lines(below),
        hint="several packages that need each other: give each with a `--package` of its own"
        if verb == "depends on"
        else "",
    )


def _blame_files(text: str) -> Blame | None:
    """Say what is wrong with the archive, or with the files in it."""
    archive = IN_ARCHIVE.search(text)
    if not archive:
        return None
    subject = NUMBER.sub("", archive[1].rpartition("/")[2])
    if match := ARCHITECTURE.search(text):
        sentence = f"'{subject}' is for {match[1]}, the guest is {match[2]}"
    elif match := OVERWRITE.search(text):
        sentence = f"'{subject}' ships '{match[1]}', which is also in package '{match[2]}'"
    elif NO_PACKAGE.search(text):
        sentence = f"'{subject}' is not a complete .deb package"
    else:
        return None
    ours = not any(subject.startswith(f"{name}_") for name in FETCHED.findall(text))
    return _because(text, sentence if ours else f"{sentence}; it is not under test", fails=ours)


def _blame_script(text: str, names: Sequence[str]) -> Blame | None:
    """Name the maintainer script that failed, with what it said last."""
    match = SCRIPT.search(text)
    if not match:
        return None
    name = match["name"]
    how = f"ended with status {match['status']}"
    if match["signal"]:
        how = f"was killed by a signal ({match['signal']})"
    before = text[: match.end()]
    last = max(UNDER_WAY.finditer(before), key=re.Match.start, default=None)
    ours = name.partition(":")[0] in names
    pulled = last is not None and last["phase"].startswith("Processing")
    return Blame(
        outcome=Outcome.FAIL if ours or pulled else Outcome.ERROR,
        sentence=f"the {match['script']} script of '{name}'"
        + ("" if ours or pulled else ", which is not under test,")
        + f" {how}"
        + (" in a trigger" if pulled else ""),
        evidence=last_lines(before[last.start() if last else 0 :]),
    )
