"""Find processes that outlive their package, or the restart of their unit.

A process is the package's if its program or the script that it interprets is a file of the package,
or if it is in the control group of a unit of the package, also of one that systemd has forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import read_states, template_of
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from postroj.container.guest import Guest, Process
    from postroj.probe.ask.checks import Answer
    from postroj.probe.ask.unitstate import UnitState
    from postroj.verdict import StepName

OLD = Question(kind=CheckKind.SYSTEM, subject="no old process runs on", is_found=True)
PROGRAMS = re.compile(r"^(?:/usr)?/s?bin/")
LIBRARIES = re.compile(r"^/usr(?=/lib)")
SHOWN = 10
"""Maximum number of processes to name."""


def canonical(path: str) -> str:
    """Return one path for a file that has several, as `/bin` may be a link to `/usr/bin`."""
    return LIBRARIES.sub("", PROGRAMS.sub("/bin/", path))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A unit that the manager has loaded, as systemctl(1) lists it."""

    load: str
    active: str

    @property
    def is_up(self) -> bool:
        """Whether it is active, or becomes so or inactive."""
        return self.active not in ("inactive", "failed")

    @property
    def is_orphan(self) -> bool:
        """Whether it is up although its file is gone."""
        return self.load == "not-found" and self.is_up


def loaded(guest: Guest) -> dict[str, Loaded]:
    """List the units that the manager has loaded, by name."""
    words = ["list-units", "--all", "--full", "--plain", "--no-legend", "--no-pager"]
    rows = [line.split() for line in systemctl(guest.run, words, timeout=30).text.splitlines()]
    return {row[0]: Loaded(load=row[1], active=row[2]) for row in rows if len(row) > 2}


def left_behind(
    processes: Sequence[Process],
    units: Mapping[str, Loaded],
    owns: Callable[[str], bool],
    paths: Collection[str],
    known: Collection[str],
) -> list[str]:
    """Describe the processes that outlive a removed package.

    `units` are the loaded ones, `owns` tells which units are the package's, `paths` are its files,
    and `known` the units that the guest had before the installation.
    """
    files = programs(paths)
    found = []
    for process in processes:
        unit = units.get(process.unit)
        is_own = bool(process.unit) and owns(process.unit)
        is_judged = is_own and unit is not None and unit.is_up
        is_gone = bool(process.unit) and (unit is None or unit.load == "not-found")
        is_forgotten = is_gone and not is_known(process.unit, known)
        is_left = is_own or is_forgotten or runs(process, files)
        if process.pid != 1 and is_left and not is_judged:
            found.append(describe(process))
    return shortened(found)


def is_known(unit: str, known: Collection[str]) -> bool:
    """Whether a unit, or the template of which it is an instance, is among these."""
    return unit in known or template_of(unit) in known


def programs(paths: Collection[str]) -> set[str]:
    """Return the files among the paths of a package that a process can run, in canonical form."""
    folders = {path.rpartition("/")[0] for path in paths}
    return {canonical(path) for path in paths if path not in folders and path[:5] != "/etc/"}


def runs(process: Process, files: Collection[str]) -> bool:
    """Whether a process runs one of these files, or interprets it, as `perl FILE` does."""
    script = next((word for word in process.arguments[1:] if not word.startswith("-")), "")
    return canonical(process.executable) in files or canonical(script) in files


def describe(process: Process) -> str:
    """Describe a process for a person."""
    gone = " (deleted)" if process.is_deleted else ""
    where = f"in {process.unit}" if process.unit else "in no unit"
    return f"'{process.name}' (PID {process.pid}) of {process.executable}{gone}, {where}"


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and how many there are beside them."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def ask_old(
    guest: Guest,
    step: StepName,
    processes: Sequence[Process],
    units: Mapping[str, UnitState],
    paths: Callable[[], Collection[str]],
) -> Answer:
    """Ask which processes of an older package run on after a step that brought another.

    `processes` and `units` are those before the step; `paths` returns the files of the packages. If
    a unit was restarted, its old processes must be gone. If it was not, that may be intended, and
    is told.
    """
    before = {(process.pid, process.started) for process in processes}
    old = [p for p in guest.processes() if p.pid != 1 and (p.pid, p.started) in before]
    restarted = _restarted(guest, units, {process.unit for process in old})
    mains = {state.main_pid for state in units.values() if state.main_pid}
    programs_of = {p.unit: p.executable for p in processes if p.pid in mains}
    found = [p for p in old if p.unit in restarted and p.executable == programs_of.get(p.unit)]
    deleted = [p for p in old if p.is_deleted and p not in found]
    if deleted:
        files = programs(paths())
        deleted = [process for process in deleted if canonical(process.executable) in files]
        found += [process for process in deleted if process.unit in restarted]
    if found:
        units_of = ", ".join(sorted({process.unit for process in found}))
        first = f"the {step} has restarted {units_of}, but old processes run on"
        return Outcome.FAIL, "\n".join([first, *shortened([describe(p) for p in found])])
    if deleted:
        first = f"the {step} has not restarted these, as may be intended: they run older programs"
        return Outcome.PASS, "\n".join([first, *shortened([describe(p) for p in deleted])])
    return Outcome.PASS, ""


def _restarted(guest: Guest, before: Mapping[str, UnitState], names: set[str]) -> set[str]:
    """Return those of the units that run and have been started anew."""
    wanted = sorted(name for name in names if name in before)
    return {
        name
        for state in read_states(guest, wanted)
        for name in (state.name, *state.names)
        if name in before and state.active == "active" and state.started != before[name].started
    }
