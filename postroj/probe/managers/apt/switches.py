"""Find a setting by which maintainer scripts disable units whenever they configure a package.

An example is sysstat: its scripts read ENABLED in /etc/default/sysstat, give it to debconf as the
answer to a question, and run `systemctl disable` if it is false. To enable the unit, users change
the setting.
"""

from __future__ import annotations

import re
from pathlib import Path

SCRIPT = Path(__file__).with_name("switches.sh").read_text()
COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
DISABLES = re.compile(r"(?<![\w.-])disable(?![\w.-])")
"""The word by which systemctl, deb-systemd-helper and update-rc.d disable a unit."""
ASKS = re.compile(r"\bdb_get\b")
ANSWER = re.compile(r"[* ] (?P<question>\S+): (?P<value>.*)")
"""A line of debconf-show(1)."""
DEFAULT = re.compile(
    r"(?P<path>/etc/default/[^:]+):\s*(?:export\s+)?"
    r"(?P<setting>(?P<name>\w+)=[\"']?(?P<value>\w*)[\"']?)\s*(?:#.*)?"
)
STARTS = re.compile(r"enable|(?<!re)start|run(?!_?as)|active", re.IGNORECASE)
"""A word in the names of variables and questions that say whether something is started."""
OFF = ("false", "no", "0", "off", "n")


def find(text: str) -> str:
    """Return the setting that is off, from the three parts that `SCRIPT` prints; '' if none is."""
    scripts, answers, defaults = [*text.split("\0"), "", "", ""][:3]
    code = COMMENT.sub("", scripts)
    if not DISABLES.search(code):
        return ""
    for match in filter(None, map(DEFAULT.fullmatch, defaults.splitlines())):
        is_off = match["value"].lower() in OFF and STARTS.search(match["name"])
        if is_off and match["path"] in code:
            return f"{match['setting']} in {match['path']}"
    for match in filter(None, map(ANSWER.fullmatch, answers.splitlines())):
        name = match["question"]
        is_off = match["value"].lower() in OFF and STARTS.search(name.rpartition("/")[2])
        is_read = ASKS.search(code) and re.search(rf"{re.escape(name)}(?![\w.+/-])", code)
        if is_off and is_read:
            return f"the answer '{match['value']}' to {match['question']} (debconf)"
    return ""
