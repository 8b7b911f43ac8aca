"""Ask which preconditions of a unit are not met, systemd.unit(5)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState

NOT_MET = " failed."
"""The end of a line by which systemd-analyze(1) names a precondition that is not met."""


def describe(guest: Guest, state: UnitState) -> str:
    """Name the conditions or assertions that kept a unit from starting; '' if none did."""
    if state.result == "exec-condition":
        return ""
    if state.unmet_condition:
        return ", ".join(unmet(guest, state.name, "Conditions"))
    return ", ".join(unmet(guest, state.name, "Asserts")) if state.unmet_assertion else ""


def foresee(guest: Guest, name: str) -> str | None:
    """Name the preconditions that would keep a unit from starting now; '' if none would.

    None means that this systemd, older than 250, cannot tell.
    """
    argv = ["systemd-analyze", "condition", f"--unit={name}"]
    done = guest.run(argv, ok=range(256), timeout=30)
    lines = [line.strip() for line in done.output.splitlines()]
    if not done.status:
        return ""
    if not any(line in ("Conditions failed.", "Asserts failed.") for line in lines):
        return None
    found = [line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: ")]
    return ", ".join(line.removesuffix(NOT_MET) for line in found if line.endswith(NOT_MET))


def unmet(guest: Guest, name: str, what: str) -> list[str]:
    """Return the `Conditions` or `Asserts` of a unit that are not met: `ConditionPathExists=/x`.

    If the manager cannot tell, without a bus or after it has reloaded the unit's files, return all
    that the files have.
    """
    path = f"/org/freedesktop/systemd1/unit/{escape(name)}"
    interface = ("org.freedesktop.systemd1", path, "org.freedesktop.systemd1.Unit", what)
    done = guest.run(["busctl", "get-property", *interface], ok=range(256), timeout=30)
    if found := parse_unmet("" if done.status else done.text):
        return found
    prefix = what.removesuffix("s")
    return [line for line in declared(guest, name) if line.startswith(prefix)]


def declared(guest: Guest, name: str) -> list[str]:
    """Return the lines of a unit's files that declare conditions or assertions."""
    text = guest.run(["systemctl", "cat", "--", name], ok=range(256), timeout=30).text
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line.startswith(("Condition", "Assert")) and "=" in line]


def parse_unmet(text: str) -> list[str]:
    """Return the failed entries of an array of (name, trigger, negated, parameter, result).

    Conditions with `|` are triggers: one of them that is met suffices.
    """
    try:
        words = shlex.split(text)[2:]
    except ValueError:  # a quotation mark that busctl has not escaped
        return []
    rows = [words[i : i + 5] for i in range(0, len(words) - 4, 5)]
    alternatives = [row for row in rows if row[1] == "true"]
    none = all(row[4].startswith("-") for row in alternatives)
    return [
        f"{name}={'|' if trigger == 'true' else ''}{'!' if negated == 'true' else ''}{parameter}"
        for name, trigger, negated, parameter, result in reversed(rows)
        if result.startswith("-") and (trigger == "false" or none)
    ]


def escape(name: str) -> str:
    """Escape a unit's name as a label of a D-Bus path, sd_bus_path_encode(3)."""
    return "".join(
        char
        if char.isascii() and (char.isalpha() or (char.isdigit() and place))
        else "".join(f"_{byte:02x}" for byte in char.encode())
        for place, char in enumerate(name)
    )
