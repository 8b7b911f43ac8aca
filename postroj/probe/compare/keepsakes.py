"""Leave in a guest what a step must keep: an administrator's lines and a user's files.

A line is a comment, so it changes no daemon. After the step both are taken away again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe.compare.losses import loss
from postroj.verdict import Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.compare.state import GuestState
    from postroj.probe.managers.base import PackageManager, Shipped
    from postroj.verdict import CheckResult

SETTINGS = "changed configuration stays"
DATA = "the user's data stays"
LINE = "a line of the administrator, added by postroj"
NAME = "postroj-users-data"
PLACE = Path(__file__).with_name("place.sh").read_text()
LONGEST = 64 << 10
"""Bytes of a configuration file that is changed."""
MOST = 40
"""Number of configuration files that are changed at most."""
PATIENCE = 60.0

COMMENTS = (
    (re.compile(r"^#(?:[ \t#!]|$)", re.MULTILINE), f"# {LINE}\n"),
    (re.compile(r"\A\s*<(?:\?xml|!--|!DOCTYPE)"), f"<!-- {LINE} -->\n"),
    (re.compile(r"^;", re.MULTILINE), f"; {LINE}\n"),
    (re.compile(r"^(?://|/\*)", re.MULTILINE), f"// {LINE}\n"),
)
"""What a file has in which a comment can be appended, and the comment."""
GENERATED = re.compile(
    r"do(?:n't| not) (?:edit|modify|change)|generated|managed by|overwritten", re.IGNORECASE
)
NOT_SETTINGS = re.compile(
    r"/etc/(systemd|init\.d|rc[^/]*|alternatives|ssl|pki|rpm|udev|bash_completion\.d"
    r"|ld\.so\.conf\.d|ca-certificates)/.*|.*(\.db|\.cache|~)",
    re.DOTALL,
)
"""Files of which the manager of units keeps account, and those that nobody edits."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A line that was appended to a configuration file."""

    path: str
    content: bytes
    """Without the line."""
    line: bytes
    is_owned: bool
    """Whether a package ships the file; otherwise a script has made it."""


def edit(
    guest: OwnGuest, now: GuestState, first: GuestState, shipped: Sequence[Shipped]
) -> list[Edit]:
    """Append a line to the configuration of the packages under test.

    `shipped` are the files of the packages that the step brings, if they differ from those that are
    installed. A file that the package manager would not replace after the change, though the new
    package has another one, stays as it is: the daemon has to run with the new one.
    """
    found: list[Edit] = []
    for path in sorted(now.settings):
        if len(found) < MOST and is_setting(path, now, first):
            try:
                content = guest.read_file(path, LONGEST)
            except OSError:  # it has vanished
                continue
            if (line := line_for(content)) and may_change(path, content, shipped):
                is_owned = path in now.listed.own.paths
                found.append(Edit(path=path, content=content, line=line, is_owned=is_owned))
    for line in {one.line for one in found}:
        paths = [one.path for one in found if one.line == line]
        script = 'line=$1; shift; for path; do printf %s "$line" >>"$path"; done'
        argv = ["sh", "-c", script, "sh", line.decode(), *paths]
        guest.run(argv, ok=range(256), timeout=PATIENCE)
    return found


def is_setting(path: str, now: GuestState, first: GuestState) -> bool:
    """Whether a file below `/etc` came with the packages under test, and can be edited."""
    file = now.written.get(path)
    if not file or file.kind is not FileKind.FILE or file.size >= LONGEST:
        return False
    is_own = path in now.listed.own.paths
    is_made = path not in now.listed.paths and path not in first.settings
    return (is_own or is_made) and not NOT_SETTINGS.fullmatch(path)


def line_for(content: bytes) -> bytes:
    """Return a comment to append to a configuration file; empty if its format is not clear."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return b""
    head = "\n".join(text.splitlines()[:20])
    if "\0" in text or GENERATED.search(head) or text.rstrip().endswith("\\"):
        return b""
    comment = next((line for pattern, line in COMMENTS if pattern.search(text)), "")
    return (comment and ("" if text.endswith("\n") else "\n") + comment).encode()


def may_change(path: str, content: bytes, shipped: Sequence[Shipped]) -> bool:
    """Whether a changed file would give way to that of the new packages, or is the same there."""
    digest = hashlib.sha256(content).hexdigest()
    return not any(path in one.kept and one.digests.get(path, digest) != digest for one in shipped)


def lost_lines(
    guest: OwnGuest,
    manager: PackageManager,
    edits: Sequence[Edit],
    now: GuestState,
    names: Sequence[str],
    step: StepName,
) -> Iterator[CheckResult]:
    """Answer for each line that a step has taken away, unless nothing reads its file any more."""
    for one in edits:
        try:
            content: bytes | None = guest.read_file(one.path, LONGEST + len(one.line))
        except OSError:
            content = None
        if content is not None and one.line.strip() in content:
            continue
        is_read = one.path in now.listed.paths or (not one.is_owned and step is StepName.REINSTALL)
        if content is None and not is_read:
            continue
        what = "is gone" if content is None else "has lost the administrator's line"
        copies = [f"{one.path}{end}" for end in manager.saved if guest.exists(f"{one.path}{end}")]
        aside = f"; a copy is in {copies[0]}" if copies else ""
        found = loss(SETTINGS, f"{one.path} {what} after the {step}{aside}")
        asks = manager.debconf and any(guest.exists(manager.debconf.format(n)) for n in names)
        if not one.is_owned and asks:
            why = "it may be written anew from answers to debconf"
            yield replace(found, outcome=Outcome.SKIP, reason=f"{found.reason}; {why}")
        else:
            yield found


def undo(guest: OwnGuest, edits: Sequence[Edit]) -> None:
    """Remove the lines from files that are otherwise as they were."""
    sizes = []
    for one in edits:
        try:
            is_same = guest.read_file(one.path, 2 * LONGEST) == one.content + one.line
        except OSError:
            continue
        if is_same:
            sizes += [str(len(one.content)), one.path]
    if sizes:
        script = 'while [ $# -gt 0 ]; do truncate --size="$1" -- "$2"; shift 2; done'
        guest.run(["sh", "-c", script, "sh", *sizes], ok=range(256), timeout=PATIENCE)


def place(guest: OwnGuest, now: GuestState, first: GuestState) -> list[str]:
    """Write a file into each data folder that came with the packages; return the folders."""
    others = now.listed.paths - now.listed.own.paths
    folders = sorted(
        folder
        for folder in now.folders - first.folders - others
        if not folder.endswith(("/private", "/systemd"))
    )[:MOST]
    if folders:
        guest.run(["sh", "-c", PLACE, "sh", NAME, *folders], ok=range(256), timeout=PATIENCE)
    return [folder for folder in folders if guest.exists(f"{folder}/{NAME}")]


def lost_data(
    guest: OwnGuest, folders: Sequence[str], now: GuestState, step: StepName
) -> Iterator[CheckResult]:
    """Answer for each file that a step has taken away; it may have been moved."""
    moved = any(path.endswith(f"/{NAME}") for path in now.written.keys() - set(_placed(folders)))
    for folder in folders:
        if not moved and not guest.exists(f"{folder}/{NAME}"):
            reason = f"a user's file in {folder} is gone after the {step}"
            yield loss(DATA, reason)


def take_away(guest: OwnGuest, folders: Sequence[str], owned: frozenset[str]) -> None:
    """Remove the files, and the folders that the package manager kept only for their sake."""
    if not folders:
        return
    guest.run(["rm", "-f", "--", *_placed(folders)], ok=range(256), timeout=PATIENCE)
    if empty := sorted(owned.intersection(folders)):
        argv = ["rmdir", "--ignore-fail-on-non-empty", "--", *empty]
        guest.run(argv, ok=range(256), timeout=PATIENCE)


def _placed(folders: Sequence[str]) -> list[str]:
    return [f"{folder}/{NAME}" for folder in folders]
