"""Parse what files of a package declare: tmpfiles.d(5), sysusers.d(5), D-Bus services, units."""

from __future__ import annotations

import re
from dataclasses import dataclass

IGNORED = "xXrRtThHaA"
"""Types of lines in tmpfiles.d for which user and group have no meaning."""
FIELD = re.compile(r'"(?:\\.|[^"])*"|\'(?:\\.|[^\'])*\'|\S+')
EXECUTED = re.compile(
    r"^Exec(?:StartPre|Start|StartPost)\s*=\s*(?P<prefix>[-@:+!|]*)\s*\"?(?P<path>/[^\s\"]*)",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user or group that a line of a file names."""

    kind: str
    """`user` or `group`."""
    name: str
    line: int


@dataclass(frozen=True, kw_only=True)
class BusService:
    """A service that D-Bus starts on demand, dbus-daemon(1)."""

    name: str = ""
    program: str = ""
    """What `Exec=` runs; D-Bus ignores it if there is a unit."""
    user: str = ""
    unit: str = ""
    """The unit that is started instead of the program."""


def accounts(text: str) -> list[Account]:
    """Return the users and groups that a file of tmpfiles.d(5) names."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip("\"'") for field in FIELD.findall(line)]
        kind = fields[0] if fields else "#"
        if kind[0] in f"#{IGNORED}" or "-" in kind:  # "-" allows failure
            continue
        for what, field in zip(("user", "group"), fields[3:5], strict=False):
            name = field.removeprefix(":")
            if name not in ("", "-") and not name.isdigit() and "%" not in name:
                found.append(Account(kind=what, name=name, line=number))
    return found


def declared(text: str) -> set[str]:
    """Return the names of the users and groups that a file of sysusers.d(5) declares."""
    lines = (line.split() for line in text.splitlines())
    return {
        words[1].strip("\"'")
        for words in lines
        if len(words) > 1 and words[0].rstrip("!") in ("u", "g") and "%" not in words[1]
    }


def bus_service(text: str) -> BusService:
    """Parse a file of D-Bus services."""
    pairs = (line.partition("=")[::2] for line in text.splitlines())
    values = {key.strip(): value.strip() for key, value in pairs}
    words = FIELD.findall(values.get("Exec", ""))
    return BusService(
        name=values.get("Name", ""),
        program=words[0].strip("\"'") if words else "",
        user=values.get("User", ""),
        unit=values.get("SystemdService", ""),
    )


def aliases(text: str) -> set[str]:
    """Return the other names that a unit gets when it is enabled."""
    return {
        word
        for match in re.finditer(r"^Alias\s*=(.*)$", text, re.MULTILINE)
        for word in match[1].split()
    }


def executed(text: str) -> set[str]:
    """Return the programs without which a unit with this text does not start."""
    lines = EXECUTED.finditer(text.replace("\\\n", " "))
    return {match["path"] for match in lines if "-" not in match["prefix"]}
