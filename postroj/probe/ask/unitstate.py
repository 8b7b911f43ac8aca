"""Read the states of units from a guest's manager: properties of org.freedesktop.systemd1(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import Guest

PROPERTIES = (
    "Accept",
    "ActiveEnterTimestampMonotonic",
    "ActiveState",
    "AssertResult",
    "AssertTimestampMonotonic",
    "BindsTo",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "ConflictedBy",
    "Conflicts",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecStart",
    "ExecStop",
    "ExecStopPost",
    "FragmentPath",
    "GuessMainPID",
    "Id",
    "InactiveExitTimestampMonotonic",
    "Job",
    "LastTriggerUSec",
    "Listen",
    "LoadState",
    "MainPID",
    "NAccepted",
    "NRestarts",
    "NeedDaemonReload",
    "Names",
    "RequiredBy",
    "Requires",
    "Requisite",
    "Restart",
    "Result",
    "RuntimeDirectory",
    "SourcePath",
    "StateChangeTimestampMonotonic",
    "SubState",
    "TriggeredBy",
    "Triggers",
    "Type",
    "UnitFileState",
    "WantedBy",
    "WatchdogTimestampMonotonic",
    "WatchdogUSec",
)
STOPS = ("ExecStop", "ExecStopPost")
"""Properties with the commands that run when a unit is stopped."""
UNIT_TYPES = (
    *("service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path"),
    *("slice", "scope"),
)
KILLED = {"2": "killed by signal", "3": "dumped core by signal"}
"""Values of ExecMainCode besides 1, `exited` (wait(2), si_code)."""
BEFORE_START = {
    "200": "CHDIR",
    "203": "EXEC",
    "216": "GROUP",
    "217": "USER",
    "225": "NETWORK",
    "226": "NAMESPACE",
    "233": "RUNTIME_DIRECTORY",
    "238": "STATE_DIRECTORY",
    "239": "CACHE_DIRECTORY",
    "240": "LOGS_DIRECTORY",
    "241": "CONFIGURATION_DIRECTORY",
    "243": "CREDENTIALS",
}
"""Exit statuses by which the manager reports that it could not start a program, systemd.exec(5)."""
UP = ("active", "activating", "reloading")
"""States of a unit that is active, or about to be."""
ENABLED = ("enabled", "enabled-runtime")
"""States of a unit's file in which the unit starts at boot."""

NEVER = ("", "0", "n/a", "infinity")
"""Values of a timer's property for a moment that does not exist."""
SLICE = 200
"""Maximum number of names for one command: a package may ship thousands of units."""
SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w|month|y)")
SPAN_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
"""Seconds of the units that systemd prints, systemd.time(7)."""
PROGRAM = re.compile(r"\{ path=(\S+) ;")
LISTEN = re.compile(r"(?P<address>.+) \((?P<kind>\w+)\)")


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """The state of a unit at one moment, as its manager reports it."""

    name: str
    """The real name, even if an alias was asked for."""
    load: str
    active: str
    sub: str
    result: str = ""
    kind: str = ""
    """Type of a service: `simple`, `oneshot`, ..."""
    main_pid: int = 0
    has_daemon: bool = True
    """Whether systemd looks for a main process; scripts that may start none say no."""
    restarts: int = 0
    since: float = 0.0
    """When it became active, in seconds of this host's monotonic clock."""
    started: float = 0.0
    """When it was last started, in the same seconds; 0 if it never was."""
    changed: float = 0.0
    """When its state last changed, also from running to exited, in the same seconds."""
    restart: str = ""
    """When systemd restarts it by itself: `no`, `always`, `on-failure`, ..."""
    watchdog: float = 0.0
    """Seconds within which a service must report to its manager again and again; 0 without."""
    fed: float = 0.0
    """When it last did, in the seconds of `since`; its manager counts the start, too."""
    has_job: bool = False
    exit: str = ""
    """How the main process ended, as a phrase; '' if it has not."""
    exit_status: int = 0
    is_stale: bool = False
    """Whether the unit's file has changed since the manager read it."""
    unmet_condition: bool = False
    unmet_assertion: bool = False
    names: tuple[str, ...] = ()
    """The real name and all aliases."""
    file_state: str = ""
    """As `systemctl is-enabled` prints it."""
    wanted_by: tuple[str, ...] = ()
    """The units that start it, mostly targets."""
    bound_to: tuple[str, ...] = ()
    """The units that must be up for it to start: `BindsTo=` and `Requisite=`."""
    requires: tuple[str, ...] = ()
    """The units whose start must not fail; one that a condition keeps from starting does not."""
    conflicts: tuple[str, ...] = ()
    """The units that cannot run beside it."""
    programs: tuple[str, ...] = ()
    """The programs that a service starts."""
    has_stop: bool = False
    """Whether stopping a service runs a command, or removes a folder of its run-time data.

    `/bin/true` is no command: some units have it so that a restart does not stop what they did.
    """
    file: str = ""
    """The file from which the manager has read it."""
    source: str = ""
    """The SysV script or other file from which it was generated."""
    triggers: tuple[str, ...] = ()
    triggered_by: tuple[str, ...] = ()
    listens: tuple[tuple[str, str], ...] = ()
    """Addresses of a socket, each with its kind (`Stream`, `Datagram`, ...)."""
    accept: bool = False
    """Whether each connection to a socket starts an instance of its service."""
    accepted: int = 0
    """Number of connections that such a socket has accepted so far."""
    elapsed: bool = False
    """Whether a timer has elapsed at least once."""

    @property
    def text(self) -> str:
        """As `systemctl status` prints it: `active (running)`."""
        return f"{self.active} ({self.sub})"

    @property
    def is_sysv(self) -> bool:
        """Whether it was generated from a SysV script."""
        return self.file_state == "generated" and "/init.d/" in self.source

    @property
    def is_of_bus(self) -> bool:
        """Whether D-Bus starts it on demand: by its type, or by the alias of such units."""
        return self.kind == "dbus" or any(name.startswith("dbus-") for name in self.names)

    @property
    def outlasts_stop(self) -> bool:
        """Whether the work of a oneshot service stays done, as stopping the unit undoes nothing."""
        return self.kind == "oneshot" and not self.has_stop


def unit_name(text: str) -> str:
    """Complete a unit's name as systemctl does: `nginx` is `nginx.service`."""
    return text if text.rpartition(".")[2] in UNIT_TYPES else f"{text}.service"


def is_template(name: str) -> bool:
    """Whether a name is that of a template, `NAME@.TYPE`."""
    return name.rpartition(".")[0].endswith("@")


def template_of(name: str) -> str:
    """Return the template of an instance, `NAME@.TYPE`; '' for other units."""
    stem, at, instance = name.rpartition(".")[0].partition("@")
    return f"{stem}@.{name.rpartition('.')[2]}" if at and instance else ""


def parse(text: str, clock_offset: float = 0.0) -> UnitState:
    """Parse what `systemctl show` prints about one unit; see `Guest.clock_offset`."""
    pairs = [line.partition("=")[::2] for line in text.splitlines()]
    values = dict(pairs)

    def seconds(name: str) -> float:
        moment = _number(values.get(name, ""))
        return moment / 1e6 + clock_offset if moment else 0.0

    def names(*keys: str) -> tuple[str, ...]:
        return tuple(word for key in keys for word in values.get(key, "").split())

    def programs(*keys: str) -> tuple[str, ...]:
        """Return those of all commands: each has a line of its own."""
        return tuple(path for key, text in pairs if key in keys for path in PROGRAM.findall(text))

    code, status = values.get("ExecMainCode", "0"), values.get("ExecMainStatus", "")
    tested, asserted = "ConditionTimestampMonotonic", "AssertTimestampMonotonic"
    return UnitState(
        name=values.get("Id", ""),
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        result=values.get("Result", ""),
        kind=values.get("Type", ""),
        main_pid=_number(values.get("MainPID", "")),
        has_daemon=values.get("GuessMainPID") != "no",
        restarts=_number(values.get("NRestarts", "")),
        since=seconds("ActiveEnterTimestampMonotonic"),
        started=seconds("InactiveExitTimestampMonotonic"),
        changed=seconds("StateChangeTimestampMonotonic"),
        restart=values.get("Restart", ""),
        watchdog=parse_span(values.get("WatchdogUSec", "")),
        fed=seconds("WatchdogTimestampMonotonic"),
        has_job=values.get("Job", "") not in ("", "0"),
        exit=_exit(code, status),
        exit_status=_number(status),
        is_stale=values.get("NeedDaemonReload") == "yes",
        # a condition that was never tested is "no", too
        unmet_condition=values.get("ConditionResult") == "no" and seconds(tested) > 0,
        unmet_assertion=values.get("AssertResult") == "no" and seconds(asserted) > 0,
        names=names("Names"),
        file_state=values.get("UnitFileState", ""),
        wanted_by=names("WantedBy", "RequiredBy"),
        bound_to=names("BindsTo", "Requisite"),
        requires=names("Requires"),
        conflicts=names("Conflicts", "ConflictedBy"),
        programs=programs("ExecStart"),
        has_stop=bool(values.get("RuntimeDirectory"))
        or any(not path.endswith("/true") for path in programs(*STOPS)),
        file=values.get("FragmentPath", ""),
        source=values.get("SourcePath", ""),
        triggers=names("Triggers"),
        triggered_by=names("TriggeredBy"),
        listens=tuple(_listens(pairs)),
        accept=values.get("Accept") == "yes",
        accepted=_number(values.get("NAccepted", "")),
        elapsed=values.get("LastTriggerUSec", "") not in NEVER,
    )


def parse_span(text: str) -> float:
    """Parse a time span as systemctl prints it, `1min 30s`; 0 for `infinity` and other text."""
    parts = [SPAN.fullmatch(word) for word in text.split()]
    return sum(float(part[1]) * SPAN_UNITS[part[2]] for part in parts if part)


def _number(text: str) -> int:
    """Parse a number; 0 for other text, as a package may have replaced systemctl."""
    return int(text) if text.isascii() and text.isdigit() else 0


def _exit(code: str, status: str) -> str:
    if code == "0":
        return ""
    if code in KILLED:
        return f"{KILLED[code]} {status}"
    stage = f" ({BEFORE_START[status]})" if status in BEFORE_START else ""
    return f"ended with status {status}{stage}"


def _listens(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parse `Listen=ADDRESS (KIND)`, and `ListenKIND=ADDRESS` of systemd before 227."""
    found = []
    for key, value in pairs:
        if key == "Listen" and (match := LISTEN.fullmatch(value)):
            found.append((match["address"], match["kind"]))
        elif key.startswith("Listen") and key != "Listen" and value:
            found.append((value, key.removeprefix("Listen")))
    return found


def read_state(guest: Guest, name: str) -> UnitState:
    """Read the state of a unit from the guest's manager."""
    return parse(systemctl(guest.run, _show([name]), timeout=30).text, guest.clock_offset)


def read_states(guest: Guest, names: Sequence[str]) -> list[UnitState]:
    """Read the states of many units, in their order; `names` must not contain templates."""
    texts = [systemctl(guest.run, _show(some), timeout=60).text for some in slices(names)]
    blocks = (block for text in texts for block in text.split("\n\n") if block.strip())
    return [parse(block, guest.clock_offset) for block in blocks]


def slices(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split names into groups of at most `SLICE`."""
    return (names[start : start + SLICE] for start in range(0, len(names), SLICE))


def _show(names: Sequence[str]) -> list[str]:
    return ["show", f"--property={','.join(PROPERTIES)}", "--", *names]
