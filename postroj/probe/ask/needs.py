"""Find what a container lacks that a machine has, where a unit of a guest did not come up.

The guest is asked here; `ask.lacking` and `ask.machine` have the rules.
"""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.boot.masks import MASKED
from postroj.container.manager import systemctl
from postroj.errors import PostrojError
from postroj.probe.ask import executable, journal, lacking, machine
from postroj.probe.ask.conditions import unmet
from postroj.probe.ask.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from postroj.container.guest import Guest

PROPERTIES = (
    *("ActiveState", "AmbientCapabilities", "AssertResult", "AssertTimestampMonotonic", "BindsTo"),
    *("CapabilityBoundingSet", "ConditionResult", "ConditionTimestampMonotonic", "DevicePolicy"),
    *("DynamicUser", "ExecMainCode", "ExecMainStatus", "ExecStart"),
    *("ExecStartPre", "InactiveExitTimestampMonotonic", "LoadState", "NRestarts"),
    *("PrivateDevices", "ProcSubset", "SubState", "Type"),
    *("ProtectControlGroups", "ProtectKernelModules", "ProtectKernelTunables", "ReadOnlyPaths"),
    *("RequiredBy", "Requires", "Requisite", "RestrictAddressFamilies", "Result", "StandardInput"),
    *("StandardOutput", "TTYPath", "Triggers", "User", "WantedBy", "Wants"),
)
SKIPPED = re.compile(r"was skipped because of an unmet condition check \((?P<condition>.+)\)")
MOST_SHOWN = 1 << 18
"""Bytes of the properties of a unit; a guest may print without end."""
DEEPEST = 4
"""Maximum number of units in a chain of failed dependencies."""
LINES = 200
"""Maximum number of lines of a unit's log to read."""
STARTS = 2
"""Number of a unit's last starts whose lines count: the manager may be about to start it again."""
PROGRAM = 16 << 20
"""Maximum number of bytes of a program to read."""
FIELDS = ("MESSAGE", "INVOCATION_ID", "_SYSTEMD_INVOCATION_ID", "_SYSTEMD_UNIT", "_PID")
LOG_FILES = (
    *("find", "/var/log", "-xdev", "-type", "f", "!", "-path", "/var/log/journal/*"),
    *("-newermt", "@{since}", "-print0"),
)
EARLIER = 10.0
"""Seconds before the last start of a unit in which an earlier start may have written its log."""
SHOWN = 8
"""Maximum number of programs of a script to read."""
INTERPRETERS = frozenset({"bash", "env", "perl", "python3", "sh"})
"""Programs whose name says nothing about their unit."""
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
MANAGER, OF_MANAGER = "1", "init.scope"
"""PID and unit of the manager, in the journal."""


def of_unit(guest: Guest, name: str) -> str:
    """Return what a machine has and a container lacks, and without which a unit is not up.

    Return '' if nothing shows such a cause: then the unit itself is to blame.
    """
    try:
        return _of_unit(guest, name, frozenset())
    except PostrojError:  # the guest is lost, or can no longer run a command
        return ""


def of_output(guest: Guest, output: str) -> str:
    """Return what a container lacks, by the output of a maintainer script; '' if nothing shows it.

    Root runs such a script, and no setting keeps it from anything.
    """
    try:
        return lacking.of_facts(_facts(guest, {}, tuple(output.splitlines())))
    except PostrojError:
        return ""


def _of_unit(guest: Guest, name: str, above: frozenset[str]) -> str:
    unit = _properties(guest, name)
    # a removal may have taken the file of a unit that failed meanwhile
    if unit.get("LoadState") != "loaded" and unit.get("ActiveState") != "failed":
        return ""
    messages, is_silent = _log(guest, name, unit)
    found = ""
    if untried := _unmet(guest, name, unit, messages):
        found = machine.of_conditions(untried, guest.lacking_capabilities())
    elif may_have_failed(unit, messages) and not was_stopped(unit, messages):
        facts = _facts(guest, unit, messages, is_silent=is_silent)
        found = lacking.of_facts(facts)
        logs = _log_files(guest, name, unit) if is_silent and not found else ()
        asked = (lacking.of_facts(replace(facts, log=log, is_silent=False)) for log in logs)
        found = found or next(filter(None, asked), "")
    if found or len(above) >= DEEPEST:
        return found
    return _of_others(guest, name, unit, above, is_silent=is_silent)


def _of_others(
    guest: Guest, name: str, unit: Mapping[str, str], above: frozenset[str], *, is_silent: bool
) -> str:
    """Return the need of a unit on which this one depends.

    It requires or starts that one, is started by it alone, or wants it and ends without a message.
    """
    others = _names(unit, "Triggers")
    if unit.get("ActiveState") != "active":
        others += _names(unit, "BindsTo", "Requires", "Requisite")
    if unit.get("ActiveState") == "inactive":
        wanted_by = _names(unit, "WantedBy", "RequiredBy")
        others += [] if any(map(guest.is_active, wanted_by)) else wanted_by
    if is_silent:
        failed = guest.failed_units()
        others += [other for other in _names(unit, "Wants") if other in failed]
    for other in others:
        if other in MASKED:
            return f"the unit {other}, which guests do not start"
        if other in above or guest.is_active(other):
            continue
        if other.endswith(".device"):
            return f"the device '{device_path(other)}'"
        if found := _of_unit(guest, other, above | {name}):
            return found
    return ""


def _unmet(guest: Guest, name: str, unit: Mapping[str, str], messages: Sequence[str]) -> list[str]:
    """Return the conditions that kept a unit from starting.

    The manager forgets the result if it unloads the unit, but it has reported it.
    """
    if is_unmet(unit):
        return [found for what in ("Conditions", "Asserts") for found in unmet(guest, name, what)]
    last = (
        SKIPPED.search(messages[-1]) if messages and unit.get("ActiveState") == "inactive" else None
    )
    return [last["condition"]] if last else []


def is_unmet(unit: Mapping[str, str]) -> bool:
    """Whether a condition or an assertion kept a unit from starting."""
    is_no = any(
        # one that was never tested is "no", too
        unit.get(f"{what}Result") == "no" and unit.get(f"{what}TimestampMonotonic", "0") != "0"
        for what in ("Condition", "Assert")
    )
    return unit.get("ActiveState") == "inactive" and is_no


def may_have_failed(unit: Mapping[str, str], messages: Sequence[str] = ()) -> bool:
    """Whether a unit has failed, has ended, or is being started again.

    The manager forgets how a unit has ended that nothing needs, but it has reported it. It calls a
    SysV script active whose daemon has ended.
    """
    if (unit.get("ActiveState"), unit.get("SubState")) == ("active", "exited"):
        return unit.get("Type") == "forking"
    restarted = unit.get("NRestarts", "0") not in ("0", "")
    failed = unit.get("Result", "success") != "success"
    is_told = any(map(journal.ENDED.search, messages))
    is_over = unit.get("ExecMainCode", "0") != "0" or is_told
    ended = unit.get("ActiveState") == "inactive" and is_over
    return unit.get("ActiveState") in ("failed", "activating") or restarted or failed or ended


def was_stopped(unit: Mapping[str, str], messages: Sequence[str]) -> bool:
    """Whether somebody has stopped a unit, which then ended as it should."""
    is_clean = unit.get("Result", "success") == "success" and unit.get("ActiveState") == "inactive"
    return is_clean and any(message.startswith("Stopping ") for message in messages)


def _names(unit: Mapping[str, str], *properties: str) -> list[str]:
    """Return the names of units in properties; systemctl quotes those with a backslash."""
    words = shlex.split(" ".join(unit.get(name, "") for name in properties))
    return [name for name in dict.fromkeys(words) if not name.endswith(".slice")]


def device_path(unit: str) -> str:
    """Return the path of a device unit, systemd.device(5): `dev-tty8.device` is `/dev/tty8`."""
    path = "/" + unit.removesuffix(".device").replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), path)


def _facts(
    guest: Guest, unit: Mapping[str, str], log: tuple[str, ...], *, is_silent: bool = False
) -> Facts:
    return Facts(
        unit=unit,
        log=log,
        is_silent=is_silent,
        lacking=guest.lacking_capabilities(),
        has=guest.exists,
        writes=lambda path: guest.run(["test", "-w", path], ok=range(256), timeout=30).status == 0,
        program=lambda: b"".join(_programs(guest, _paths(unit))),
        daemon=lambda: _daemon(guest, unit),
        file_systems=guest.file_systems(),
    )


def _properties(guest: Guest, name: str) -> dict[str, str]:
    words = ["show", f"--property={','.join(PROPERTIES)}", "--", name]
    some = partial(guest.run, limit=MOST_SHOWN)
    shown = systemctl(some, words, ok=range(256), timeout=30).text
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def _paths(unit: Mapping[str, str]) -> list[str]:
    """Return the possible paths of a unit's programs: `ExecStart={ path=/usr/sbin/x ; argv[]=...`.

    The manager searches for a program without a slash, systemd.service(5).
    """
    text = f"{unit.get('ExecStart', '')} {unit.get('ExecStartPre', '')}"
    names = re.findall(r"\bpath=(\S+)", text)
    return [name if "/" in name else f"{folder}/{name}" for name in names for folder in FOLDERS]


def _programs(guest: Guest, paths: Iterable[str]) -> list[bytes]:
    """Return the content of those programs that exist."""
    found = []
    for path in dict.fromkeys(paths):
        with suppress(OSError):
            found.append(guest.read_file(path, PROGRAM))
    return found


def _daemon(guest: Guest, unit: Mapping[str, str]) -> bytes:
    """Return the content of a unit's binaries, and of those that its scripts name."""
    found = _programs(guest, _paths(unit))
    scripts = b"\n".join(content for content in found if content.startswith(b"#!"))
    named = executable.named_programs(scripts.decode(errors="replace"))
    found += _programs(guest, named[:SHOWN])
    return b"".join(content for content in found if content.startswith(executable.ELF))


def _log_files(guest: Guest, name: str, unit: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield the last lines of log files that were written since a unit's last starts.

    They are named for the unit or for its program: others may write at the same time.
    """
    started = unit.get("InactiveExitTimestampMonotonic", "")
    if not started.isdigit() or started == "0":
        return
    moment = int(started) / 1e6 + guest.clock_offset
    since = f"{journal.wall_time(moment) - EARLIER:.6f}"
    argv = [part.format(since=since) for part in LOG_FILES]
    programs = {path.rpartition("/")[2] for path in _paths(unit)} - INTERPRETERS
    names = {name.rpartition(".")[0].partition("@")[0], *programs}
    for path in guest.run(argv, ok=range(256), timeout=30).text.split("\0"):
        if any(one in path.removeprefix("/var/log/") for one in names):
            tail = ["tail", "-n", str(LINES), "--", path]
            yield tuple(guest.run(tail, ok=range(256), timeout=30).text.splitlines())


def _log(guest: Guest, name: str, unit: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Return the messages about a unit since its last starts, and whether all are the manager's.

    journald no longer knows the unit of a process that has ended, but the name of its program.
    """
    guest.run(["journalctl", "--sync"], ok=range(256), timeout=30)  # wait for the last messages
    argv = ["journalctl", "--boot", f"--lines={LINES}", "--no-pager", "--quiet", "--output=json"]
    argv += [f"--output-fields={','.join(FIELDS)}", *journal.about([name])]
    for program in sorted({path.rpartition("/")[2] for path in _paths(unit)} - INTERPRETERS):
        argv += ["+", f"SYSLOG_IDENTIFIER={program}"]
    return recent(guest.run(argv, ok=range(256), timeout=30).text.splitlines(), name)


def recent(lines: Iterable[str], name: str) -> tuple[tuple[str, ...], bool]:
    """Parse entries of the journal as JSON: the messages of a unit's last starts.

    Return also whether all of them are the manager's. Other units may run the same program.
    """
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # an entry that was cut
            continue
        if entry.get("_SYSTEMD_UNIT", name) not in (name, OF_MANAGER):
            continue
        start = entry.get("INVOCATION_ID") or entry.get("_SYSTEMD_INVOCATION_ID") or ""
        entries.append((start, entry.get("_PID"), _text(entry.get("MESSAGE"))))
    starts = list(dict.fromkeys(start for start, _, _ in entries if start))[-STARTS:]
    first = next((i for i, (start, _, _) in enumerate(entries) if start in starts), 0)
    kept = [entry for entry in entries[first:] if entry[0] in ("", *starts)]
    return tuple(text for _, _, text in kept), all(pid == MANAGER for _, pid, _ in kept)


def _text(message: object) -> str:
    """Return a message, which is a list of bytes if it is no plain text."""
    if isinstance(message, list):
        return bytes(byte for byte in message if isinstance(byte, int)).decode(errors="replace")
    return message if isinstance(message, str) else ""
