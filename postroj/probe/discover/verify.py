"""Let systemd verify unit files: `systemd-analyze verify` loads them, and starts nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import slices

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from postroj.container.guest import Guest

RUNTIME = {
    "XDG_RUNTIME_DIR": "/run",
    "HOME": "/root",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_LOG_COLOR": "0",
}
"""What the manager of a user has, and `verify --user` needs."""
WARNING = re.compile(r"(?P<path>/.+?):\d+: .+")
COMMAND = re.compile(r"(?P<unit>\S+): Command (?P<path>/.+) is not executable: ")
INSTANCES = re.compile(r"@(?:i|test_instance)\.")
"""Instances of templates that `verify` makes up."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What systemd says about unit files."""

    lines: tuple[str, ...] = ()

    @cached_property
    def _by_unit(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.lines:
            unit = INSTANCES.sub("@.", line.partition(": ")[0])
            found.setdefault(unit, []).append(line)
        return found

    def about(self, unit: str) -> str:
        """Return the lines about one unit or template."""
        return "\n".join(self._by_unit.get(unit, ()))

    def warnings(self, paths: Collection[str]) -> list[str]:
        """Return the lines about settings in these files."""
        found = (
            match[0]
            for line in self.lines
            if (match := WARNING.fullmatch(line)) and match["path"] in paths
        )
        return list(dict.fromkeys(found))

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Return units, each with a program of it that cannot be executed."""
        found = [match for line in self.lines if (match := COMMAND.match(line))]
        return [(INSTANCES.sub("@.", match["unit"]), match["path"]) for match in found]


def verify(guest: Guest, paths: Sequence[str], *, is_user: bool = False) -> Verified:
    """Verify unit files of the system, or of users."""
    argv = ["systemd-analyze", "verify", *(["--user"] if is_user else []), "--man=no", "--"]
    lines = []
    for some in slices(paths):
        done = guest.run([*argv, *some], ok=range(256), timeout=60, env=RUNTIME)
        lines += done.output.splitlines()
    return Verified(lines=tuple(lines))
