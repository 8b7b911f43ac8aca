"""Check that a removed package is gone: its units no longer run, its ports are closed.

The questions are those of `postroj.probe.ask.checks`, but the opposite passes. Dependencies stay
installed, so their units are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import checks, closed, journal, ports, running, sockets
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import is_template, read_state, template_of, unit_name
from postroj.probe.compare import survivors
from postroj.probe.discover import payload
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.checks import Answer
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.managers.base import PackageManager
    from postroj.verdict import CheckResult

PROCESSES = Question(kind=CheckKind.SYSTEM, subject="no process runs on", is_found=True)
REMOVAL = "the removal began"
STOPPED = ("inactive", "failed")
PATIENCE = 5.0
"""Seconds for units, processes and sockets to vanish after the removal."""
SHUTDOWN = 95.0
"""Seconds for a unit that is being stopped: systemd kills it after 90 (DefaultTimeoutStopSec=)."""
INTERVAL = 0.2


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """The units and files that packages own."""

    units: frozenset[str]
    paths: frozenset[str]
    """Files and folders, also folders that other packages share."""

    def owns(self, unit: str) -> bool:
        """Whether a unit belongs to the packages, or is an instance of their template."""
        return unit in self.units or template_of(unit) in self.units

    def others(self, units: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
        """Return those units that do not belong to the packages, and were `known` before them."""
        return tuple(
            unit for unit in units if not self.owns(unit) and {unit, template_of(unit)} & {*known}
        )

    def generates(self, unit: UnitState) -> bool:
        """Whether a generated unit comes from the packages, and not from whoever generates it."""
        return self.owns(unit.name) or any(map(payload.GENERATOR.fullmatch, self.paths))


def read_belongings(guest: Guest, manager: PackageManager, names: Sequence[str]) -> Belongings:
    """Return the belongings of installed packages."""
    files = [operations.ask(guest, manager.files(name)) for name in names]
    paths = [path for one in files for path in one.files]
    brought = payload.classify(paths)
    scripts = (f"{name}.service" for name in brought.scripts)
    return Belongings(units=frozenset([*brought.units, *scripts]), paths=frozenset(paths))


def ask_all(
    guest: Guest,
    questions: Sequence[Question],
    belongings: Belongings,
    failed: Sequence[str],
    known: Collection[str] = (),
    earlier: Mapping[str, UnitState] | None = None,
    killed: Callable[[], Collection[str]] = tuple,
    left: Collection[str] = (),
) -> Iterator[CheckResult]:
    """Ask whether everything is gone.

    `failed` are the units that had failed before the removal, `known` those that the guest had
    before the installation, `earlier` the states of units while their files were there. `killed`
    returns units that did not stop in time, which `stops.QUESTION` judges. `left` are units of
    other packages that were removed as well.
    """
    units = survivors.loaded(guest)
    made = {
        name
        for name, unit in (earlier or {}).items()
        if unit.file_state == "generated" and not belongings.generates(unit)
    }
    others = {*known, *made}
    orphans = [
        n for n, unit in units.items() if unit.is_orphan and not {n, template_of(n)} & others
    ]
    belongings = replace(belongings, units=belongings.units.union(orphans))
    asked = [q for q in questions if not q.skip]
    named = {unit_name(q.subject) for q in asked if q.kind is CheckKind.UNIT}
    shipped = {*payload.unit_names(belongings.paths)}
    native = {n for n, unit in (earlier or {}).items() if _is_of_others(unit, shipped)}
    rest = [
        Question(kind=CheckKind.UNIT, subject=name, is_found=True)
        for name in sorted(belongings.units - named - native.intersection(known))
        if not is_template(name)
    ]
    yield from checks.side_by_side([*asked, *rest], partial(_ask, guest, belongings, earlier or {}))
    yield from _when_bad(PROCESSES, partial(_ask_processes, guest, belongings, known, units))
    question = Question(kind=CheckKind.SYSTEM, subject=checks.NEW_FAILURES)

    def ask() -> Answer:
        known = (*failed, *belongings.others(guest.failed_units(), left))
        return checks.ask_failures(guest, known, killed=killed, since=REMOVAL)

    yield checks.timed(question, ask)


def _is_of_others(unit: UnitState, shipped: Collection[str]) -> bool:
    """Whether a unit is none that is `shipped`, even if a SysV script has its name."""
    is_generated = unit.file_state == "generated" or "/init.d/" in unit.source
    is_native = unit.load == "loaded" and not is_generated
    return is_native and not {unit.name, *unit.names} & {*shipped}


def _when_bad(question: Question, ask: Callable[[], Answer]) -> Iterator[CheckResult]:
    """Ask a question whose good answer goes without saying."""
    result = checks.timed(question, ask)
    if result.outcome is not Outcome.PASS:
        yield result


def _ask_processes(
    guest: Guest,
    belongings: Belongings,
    known: Collection[str],
    units: Mapping[str, survivors.Loaded],
) -> Answer:
    """Ask whether processes of the packages run on; those of active units are judged with them."""
    deadline = Deadline(PATIENCE)
    while found := survivors.left_behind(
        guest.processes(), units, belongings.owns, belongings.paths, known
    ):
        if not deadline.wait(INTERVAL):
            return Outcome.FAIL, "\n".join(["still running after the removal", *found])
        units = survivors.loaded(guest)
    return Outcome.PASS, "none"


def _ask(
    guest: Guest,
    belongings: Belongings,
    earlier: Mapping[str, UnitState],
    question: Question,
    over: threading.Event,
) -> Answer:
    deadline = Deadline(PATIENCE, over)
    match question.kind:
        case CheckKind.UNIT:
            name = unit_name(question.subject)
            return _ask_unit(guest, belongings, earlier.get(name), name, deadline)
        case CheckKind.NETWORK if question.unix:
            return _ask_unix(guest, belongings, question, deadline)
        case CheckKind.NETWORK:
            return _ask_port(guest, belongings, question.subject, deadline)
        case CheckKind.PROCESS:
            return _ask_program(guest, belongings, question.subject, deadline)
        case CheckKind.CLOSED:
            return closed.check(guest, question.subject)
        case _:
            return Outcome.SKIP, "the package is removed"


def _ask_unit(
    guest: Guest,
    belongings: Belongings,
    earlier: UnitState | None,
    name: str,
    deadline: Deadline,
) -> Answer:
    if not belongings.owns(name):
        return Outcome.SKIP, "not a unit of the package: it may stay"
    while (state := read_state(guest, name)).active not in STOPPED:
        if state.active == "deactivating" and deadline.seconds < SHUTDOWN:
            deadline = Deadline(SHUTDOWN, deadline.over)
        file = "its file is gone" if state.load == "not-found" else "its file is there"
        if is_harmless(state, earlier or state) and not _has_process(guest, state):
            idle = f"still {state.text} without a process"
            return Outcome.PASS, f"{idle}, {file}: it has nothing left to stop"
        if not deadline.wait(INTERVAL):
            pid = f", main PID {state.main_pid}" if state.main_pid else ""
            sentence = f"still {state.text}{pid}, {file}, {deadline.seconds:g} s after the removal"
            return Outcome.FAIL, f"{sentence}\n{journal.last(guest, name)}".rstrip()
    there = {"not-found": "gone", "masked": "masked"}.get(state.load, "its file is there")
    return Outcome.PASS, f"does not run, {there}"


def is_harmless(state: UnitState, earlier: UnitState) -> bool:
    """Whether a unit that is still active has done its work, and stopping it would undo nothing.

    `earlier` is its state while its file was there: without a file, the manager forgets most of its
    settings. A generated unit always has an ExecStop=, the `stop` of its script.
    """
    is_over = (state.active, state.sub) == ("active", "exited") and not state.main_pid
    return is_over and (earlier.is_sysv or earlier.outlasts_stop) and not state.has_job


def _has_process(guest: Guest, state: UnitState) -> bool:
    return any(process.unit in (state.name, *state.names) for process in guest.processes())


def _ask_program(guest: Guest, belongings: Belongings, name: str, deadline: Deadline) -> Answer:
    """Check that a program does not run, unless another package runs it."""
    while found := running.matching(guest.processes(), name):
        own = [p for p in found if belongings.owns(p.unit) or p.executable in belongings.paths]
        if not own and all(process.unit for process in found):
            names = ", ".join(sorted({process.unit for process in found}))
            return Outcome.SKIP, f"{names} runs it and does not belong to the package"
        if not deadline.wait(INTERVAL):
            return Outcome.FAIL, f"still runs after the removal: {running.listed(found)}"
    return Outcome.PASS, "does not run"


def _ask_port(guest: Guest, belongings: Belongings, url: str, deadline: Deadline) -> Answer:
    where = ports.endpoint(url)
    if where.scheme != "udp":
        where = replace(where, scheme="tcp")
    while True:
        attempt = Deadline(0, deadline.over)
        outcome, reason = ports.check(guest, where, ports.HttpCriteria(), deadline=attempt)
        if outcome is not Outcome.PASS:
            return Outcome.PASS, f"closed: {reason.partition(' for ')[0]}"
        if not deadline.wait(INTERVAL):
            break
    protocol = "udp" if where.scheme == "udp" else "tcp"
    holders = [
        socket
        for socket in sockets.listening(guest)
        if (socket.entry.protocol, socket.entry.port) == (protocol, where.port)
    ]
    return _judge_open(belongings, holders)


def _ask_unix(
    guest: Guest, belongings: Belongings, question: Question, deadline: Deadline
) -> Answer:
    wanted = {socket.entry.address for socket in question.unix}
    while holders := [s for s in sockets.listening(guest) if s.entry.address in wanted]:
        if not deadline.wait(INTERVAL):
            return _judge_open(belongings, holders)
    return Outcome.PASS, "closed"


def _judge_open(belongings: Belongings, holders: Sequence[Socket]) -> Answer:
    """Fail for what still listens, unless it belongs to others."""
    names = ", ".join(sorted({socket.unit or f"process '{socket.process}'" for socket in holders}))
    if holders and all(socket.unit and not belongings.owns(socket.unit) for socket in holders):
        return Outcome.SKIP, f"{names} listens there and does not belong to the package"
    known = names or "an unknown process"
    return Outcome.FAIL, f"still open after the removal: {known} listens there"
