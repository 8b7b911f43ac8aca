"""Tell why a unit that postroj has started did not come up, from the exit statuses of its programs.

What no configuration can add is the package's fault. A program that says that it is not configured
is not faulty, and neither are two units that are alternatives to each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PROPERTIES = (
    *("ActiveState", "Type", "Result", "ExecMainCode", "ExecMainStatus"),
    *("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"),
)
HOPELESS = {
    200: "its working directory",
    203: "its program or interpreter",
    210: "its root directory",
    216: "its group",
    217: "its user",
    226: "a path of its sandbox",
    127: "a command or library",
}
"""Exit statuses that mean that something is missing which no configuration of the program adds.

systemd.exec(5), and for 127 what a shell and the dynamic linker do.
"""
DOUBTFUL = (226,)
"""Those of them that have other causes, too."""
MISSING = "No such file or directory"
UNCONFIGURED = {6: "LSB: not configured", 78: "EX_CONFIG"}
"""Exit statuses by which a program reports that it is not configured, systemd.exec(5)."""
IN_USE = re.compile(r"address already in use", re.IGNORECASE)
SAID = re.compile(r"\w{3} +\d+ [\d:]{8} \S+ (?P<said>[^:]+: .*\w.*)")
"""A line of `journalctl` with at least one word."""
EXITED = "1"
"""Value of ExecMainCode for `exited`, wait(2)."""
STATUS = re.compile(r"code=exited ; status=(\d+)")

Pairs = list[tuple[str, str]]
"""Names and values of properties; one with several values occurs several times."""


def parse(text: str) -> dict[str, Pairs]:
    """Parse what `systemctl show` prints about several units, `Id` among it."""
    found = {}
    for block in text.split("\n\n"):
        lines = [line.partition("=")[::2] for line in block.splitlines()]
        found[dict(lines).get("Id", "")] = [pair for pair in lines if pair[0] != "Id"]
    return found


def statuses(pairs: Pairs) -> set[int]:
    """Return the exit statuses of all programs of a unit."""
    found = {int(number) for _, value in pairs for number in STATUS.findall(value)}
    if ("ExecMainCode", EXITED) in pairs:  # outlives a reload, unlike the others
        found |= {int(value) for key, value in pairs if key == "ExecMainStatus" and value.isdigit()}
    return found


def missing(pairs: Pairs, journal: Sequence[str]) -> str:
    """Return what is missing so that no configuration lets a unit start; '' if that is not so."""
    if ("Result", "resources") in pairs and any("environment file" in line for line in journal):
        return "its EnvironmentFile"
    met = statuses(pairs)
    for status, word in HOPELESS.items():
        is_sure = status not in DOUBTFUL or any(MISSING in line for line in journal)
        if status in met and is_sure:
            return word
    return ""


def excuse(pairs: Pairs, journal: Sequence[str], *, has_rivals: bool) -> str:
    """Return why no package is to blame, whatever the policy of the distribution; '' if one is.

    `has_rivals` says whether other units of the packages were started, too.
    """
    for status in UNCONFIGURED.keys() & statuses(pairs):
        word = UNCONFIGURED[status]
        return f"its program reports that it is not configured (status {status}, {word})"
    if has_rivals and any(IN_USE.search(line) for line in journal):
        return "perhaps an alternative to another unit of the package, whose address it wants"
    if {("Type", "oneshot"), ("ActiveState", "activating")} <= {*pairs}:
        return "still at work"
    return ""


def last_words(journal: Sequence[str]) -> str:
    """Return the last line of a journal that a program has written, without date and host."""
    for line in reversed(journal):
        match = SAID.fullmatch(line.strip())
        if match and not match["said"].startswith("systemd["):
            return match["said"]
    return ""


def names_of(pairs: Pairs) -> set[str]:
    """Return all words of all values, such as the names of units."""
    return {word for _, value in pairs for word in value.split()}
