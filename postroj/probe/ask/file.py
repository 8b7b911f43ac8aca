"""Check a file of a guest: its type, mode, owner and content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Question, Required

TYPES = {
    "file": ("regular file", "regular empty file"),
    "folder": ("directory",),
    "link": ("symbolic link",),
    "socket": ("socket",),
    "fifo": ("fifo",),
    "device": ("block special file", "character special file"),
}
"""Types of files, each with its names in stat(1)."""
FORMAT = "%F\t%s\t%a\t%U\t%G\t%u\t%g"
READ = 1 << 20
"""Bytes of a file in which its content is searched."""
SHOWN = 20
"""Maximum number of lines of a file to show."""


def check(guest: Guest, question: Question) -> tuple[Outcome, str]:
    """Look at a file once; links are followed in the guest, unless a link is required."""
    path, required = question.subject, question.required
    # without long options, which busybox lacks
    follow = [] if required.type == "link" else ["-L"]
    argv = ["stat", *follow, "-c", FORMAT, "--", path]
    done = guest.run(argv, ok=range(256), timeout=30)
    facts = done.text.split("\t")
    if done.status or len(facts) != len(FORMAT.split("\t")):
        return Outcome.FAIL, f"there is no such file ({done.output.rpartition(': ')[2]})"
    wrong = list(_differences(facts, required))
    evidence: list[str] = []
    if required.content:
        try:
            text = guest.read_file(path, READ).decode(errors="replace")
        except OSError as error:
            wrong.append(f"its content cannot be read ({error.strerror or error})")
        else:
            if not re.search(required.content, text, re.MULTILINE):
                wrong.append(f"nothing in it matches '{required.content}'")
                evidence = text.splitlines()[:SHOWN]
    if wrong:
        return Outcome.FAIL, "\n".join([", ".join(wrong), *evidence])
    kind, size, mode, user, group, *_ = facts
    matches = f", matches '{required.content}'" if required.content else ""
    return Outcome.PASS, f"{kind}, {size} bytes, mode {mode}, owner {user}:{group}{matches}"


def _differences(facts: list[str], required: Required) -> Iterator[str]:
    kind, _, mode, user, group, uid, gid = facts
    if required.type and kind not in TYPES[required.type]:
        yield f"{kind} instead of {TYPES[required.type][0]}"
    if required.mode and int(mode, 8) != int(required.mode, 8):
        yield f"mode {mode} instead of {required.mode.lstrip('0') or '0'}"
    owner, _, owning = required.owner.partition(":")
    is_wrong = (owner and owner not in (user, uid)) or (owning and owning not in (group, gid))
    if is_wrong:
        yield f"owner {user}:{group} instead of {required.owner}"
