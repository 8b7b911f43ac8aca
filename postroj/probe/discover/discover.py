"""Discover what an installation has brought, and decide which of its units are judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import (
    ENABLED,
    is_template,
    read_states,
    template_of,
    unit_name,
)
from postroj.probe.discover import examine, ownership, payload, snapshot
from postroj.verdict import CheckKind, Discovery, Listener

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.discover.payload import Payload
    from postroj.probe.discover.snapshot import Snapshot
    from postroj.probe.managers.base import PackageManager

APPEARING = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".swap")
"""Types of units that count even if no package owns them."""
SHOWN = 5
"""Maximum number of remarks in the text of a step."""
TRIGGERED = (".service", ".socket", ".timer", ".path")
OF_SESSIONS = ("user@", "user-runtime-dir@")
"""Beginnings of units that logind starts for a session, as su(1) opens one: user@.service(5)."""
NOT_ENABLED = "not enabled by the package"
RUNNING = ("active", "activating", "reloading", "deactivating", "failed")


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What an installation has brought to a guest."""

    payload: Payload
    states: tuple[UnitState, ...]
    """The packages' units and other new ones, each once and without templates."""
    questions: tuple[Question, ...]
    """One for each unit; a skipped question has the reason."""
    users: tuple[str, ...]
    groups: tuple[str, ...]
    dependencies: tuple[str, ...] = ()
    """The names of those of the units that came with dependencies in the same transaction."""
    remarks: tuple[str, ...] = ()
    """Sentences about files of the packages that are not held against them."""

    @property
    def judged(self) -> frozenset[str]:
        """The names of the units that are judged, with all their aliases."""
        asked = {question.subject for question in self.questions if not question.skip}
        return frozenset(
            name for state in self.states if state.name in asked for name in state.names
        )

    @property
    def sentence(self) -> str:
        """What the packages bring, in numbers; '' if there is nothing to report."""
        counts = {
            "unit": len(self.payload.units),
            "user unit": len(self.payload.user_unit_files),
            "SysV script": len(self.payload.scripts),
            "generator": len(self.payload.generators),
            "D-Bus service": len(self.payload.bus_services),
            "cron file": len(self.payload.cron),
            "configuration file": len(self.payload.configuration),
            "program": len(self.payload.programs),
        }
        parts = [f"{count} {word}{'s'[: count > 1]}" for word, count in counts.items() if count]
        if self.payload.drop_ins:
            parts.append(f"drop-ins for {', '.join(self.payload.changed_units)}")
        groups = [name for name in self.groups if name not in self.users]
        for word, names in {"user": self.users, "group": groups}.items():
            if names:
                parts.append(f"{word}{'s'[: len(names) > 1]} {', '.join(names)}")
        brings = [f"brings {', '.join(parts)}"] if parts else []
        return "\n".join([*brings, *shortened(self.remarks)])

    def describe(self, listening: Iterable[Socket]) -> Discovery:
        """Describe everything for the report; `listening` are the new sockets."""
        return Discovery(
            units=tuple(sorted({state.name for state in self.states} | {*self.payload.units})),
            dependencies=tuple(sorted(self.dependencies)),
            scripts=self.payload.scripts,
            configuration=self.payload.configuration,
            programs=self.payload.programs,
            users=self.users,
            groups=self.groups,
            sockets=tuple(
                Listener(
                    protocol=socket.entry.protocol,
                    address=socket.entry.text.rpartition(" ")[2]
                    if socket.entry.port
                    else socket.entry.address,
                    unit=socket.unit,
                    process=socket.process,
                )
                for socket in listening
            ),
            user_units=self.payload.user_unit_files,
            drop_ins=self.payload.drop_ins,
            generators=self.payload.generators,
            bus_services=self.payload.bus_services,
            cron=self.payload.cron,
            logrotate=self.payload.logrotate,
        )


def discover(
    guest: Guest,
    manager: PackageManager,
    names: Sequence[str],
    before: Snapshot,
    company: Sequence[str] = (),
    after: Snapshot | None = None,
    *,
    since: float = 0.0,
) -> Brought:
    """Compare a guest with its state `before` these packages were installed.

    All units that are new are theirs, except those of packages in their `company`, which came in
    the same transaction. `after` is its state now, if that is known. What units did before `since`
    does not count.
    """
    brought = _payload(guest, manager, names)
    foreign = _payload(guest, manager, company).all_units
    after = after or snapshot.take(guest)
    wanted = candidates(brought, before, after)
    states = {state.name: state for state in read_states(guest, wanted)}  # each alias once
    states |= {state.name: state for state in read_states(guest, woken(before, after, states))}
    taken = dict(ownership.superseded(brought, states.values(), before, after, foreign))
    brought = replace(brought, superseded=frozenset(taken))
    others = {s.name for s in taken.values() if not {s.name, *s.names} & foreign}
    states = {name: pruned(state, after, since) for name, state in states.items()}
    states = {
        name: state
        for name, state in states.items()
        if (name in wanted or _stays(state))
        and not _is_of_generator(state, brought)
        and name not in others
    }
    untried = [s for s in states.values() if s.file_state in ENABLED and not s.started]
    refused = _refused(guest) if untried else set()
    units = unit_questions(brought, after, tuple(states.values()), refused, foreign)
    companion = partial(_companion, guest, manager, names, {})
    faulty, remarks = examine.examine(guest, brought, states, units, after, companion)
    theirs = (s.name for s in states.values() if not ownership.is_own(s, brought, foreign))
    return Brought(
        payload=brought,
        states=tuple(states.values()),
        questions=tuple(faulty),
        users=tuple(sorted(after.users - before.users)),
        groups=tuple(sorted(after.groups - before.groups)),
        dependencies=tuple(theirs),
        remarks=(*ownership.describe(taken), *remarks),
    )


def _payload(guest: Guest, manager: PackageManager, names: Sequence[str]) -> Payload:
    owned = [operations.ask(guest, manager.files(name)) for name in names]
    return payload.classify(
        [path for one in owned for path in one.files],
        {path for one in owned for path in one.configuration},
    )


def _companion(
    guest: Guest, manager: PackageManager, names: Sequence[str], known: dict[str, str]
) -> str:
    """Name a package of the same source that depends on one under test and is not installed."""
    for name in names:
        if name not in known:
            query = manager.companions(name)
            found = operations.ask(guest, query) if query else ()
            known[name] = found[0] if found else ""
    return next(filter(None, known.values()), "")


def shortened(remarks: Sequence[str]) -> list[str]:
    """Return the first remarks, and say how many there are more."""
    more = len(remarks) - SHOWN
    return [*remarks[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def candidates(brought: Payload, before: Snapshot, after: Snapshot) -> list[str]:
    """Return the names of the units of the packages and their scripts, and of other new units."""
    own = brought.all_units
    new_files = {name for name in after.unit_files if name not in before.unit_files}
    new_units = {
        name
        for name in after.units - before.units
        if name in new_files or template_of(name) in own | new_files
    }
    appeared = {
        name
        for name in new_files | new_units
        if name.endswith(APPEARING) and after.unit_files.get(name) != "transient"
    }
    return sorted(name for name in own | appeared if not is_template(name))


def woken(before: Snapshot, after: Snapshot, known: Collection[str]) -> list[str]:
    """Return the names of other units that were there, and only came up with the packages.

    Such is the unit of a package for several servers, as nginx.service of nginx-common, and an
    instance of its template, as of postgresql@.service.
    """
    found = after.up - before.up - {*known}
    return sorted(
        name for name in found if name.endswith(TRIGGERED) and not name.startswith(OF_SESSIONS)
    )


def pruned(state: UnitState, after: Snapshot, since: float) -> UnitState:
    """Drop from `wanted_by` the units that nothing starts, and a start before `since`."""
    starters = (
        name
        for name in state.wanted_by
        if name.endswith(".target") or name in after.up or after.unit_files.get(name) in ENABLED
    )
    started = state.started if state.started > since else 0.0
    return replace(state, wanted_by=tuple(starters), started=started)


def _is_of_generator(state: UnitState, brought: Payload) -> bool:
    """Whether a generator has made a unit that the packages neither ship nor generate."""
    is_own = bool({state.name, *state.names} & brought.all_units) or bool(brought.generators)
    return state.file_state == "generated" and not is_own


def _stays(state: UnitState) -> bool:
    """Whether a unit is up for good, and not for a moment in which somebody needs it."""
    return state.file_state in ENABLED or bool(state.wanted_by)


def unit_questions(
    brought: Payload,
    after: Snapshot,
    states: Sequence[UnitState],
    refused: Collection[str],
    foreign: Collection[str] = (),
) -> list[Question]:
    """Make a question for each unit, with a reason if it is not judged; judged units come first.

    `refused` are the units whose start job failed, for example because a unit that they require
    could not start. Of units that are `foreign`, those that are not judged are left out.
    """
    own = brought.all_units
    scripts = own - {*brought.units}
    found = []
    for state in states:
        is_refused = state.name in refused and not state.started
        reason = why_not(state, is_script=state.name in scripts, is_refused=is_refused)
        is_own = ownership.is_own(state, brought, foreign)
        if is_own or not (reason or state.unmet_condition or state.unmet_assertion):
            question = Question(
                kind=CheckKind.UNIT,
                subject=state.name,
                is_found=True,
                skip=reason,
                is_dependency=not is_own,
            )
            found.append(question)
    made: dict[str, list[str]] = {}
    for state in states:
        made.setdefault(template_of(state.name), []).append(state.name)
    for name in brought.units:
        if not is_template(name) or after.unit_files.get(name) == "alias":
            continue
        instances = ", ".join(made.get(name, []))
        reason = f"a template, instantiated as {instances}" if instances else "a template"
        found.append(Question(kind=CheckKind.UNIT, subject=name, is_found=True, skip=reason))
    return sorted(found, key=lambda question: (bool(question.skip), question.subject))


def why_not(state: UnitState, *, is_script: bool = False, is_refused: bool = False) -> str:
    """Return why a unit is not judged; '' if it is.

    A unit is judged if the installation has started it or should have, or if it cannot be loaded.
    """
    trigger = " and ".join(state.triggered_by)
    if state.load == "masked":
        return "masked"
    if state.load == "not-found" and is_script:
        return "systemd has generated no unit from this SysV script"
    if state.load != "loaded" or is_refused:
        return ""
    if trigger and state.kind == "oneshot" and state.active == "activating":
        return f"still at work, started by {trigger}"
    if state.active in RUNNING or state.has_job:
        return ""
    if state.file_state in ENABLED or state.wanted_by:
        if state.started or state.unmet_condition or state.unmet_assertion:
            return ""
        return f"waits for {trigger}" if trigger else "enabled, but not started by the installation"
    if trigger:
        return f"waits for {trigger}"
    if state.file_state == "static":
        return "static, and nothing has started it"
    return NOT_ENABLED


def _refused(guest: Guest) -> set[str]:
    """Return the units whose jobs failed: only the journal records that, and scripts ignore it."""
    jobs = [f"JOB_RESULT={result}" for result in ("dependency", "failed", "timeout")]
    argv = ["journalctl", "--boot", "--quiet", "--no-pager", "--output=json", "_PID=1", *jobs]
    lines = guest.run(argv, ok=range(256), timeout=30).text.splitlines()
    found = set()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.add(str(entry.get("UNIT", "")))
    return found


def unasked_units(brought: Brought, asked: Iterable[Question]) -> list[Question]:
    """Return the questions about units that are not `asked` about under any of their names."""
    names = {unit_name(question.subject) for question in asked if question.kind is CheckKind.UNIT}
    known = {name for state in brought.states if {*state.names} & names for name in state.names}
    return [question for question in brought.questions if question.subject not in known | names]


def with_faults(asked: Iterable[Question], brought: Brought) -> list[Question]:
    """Add to the user's questions the faults that discovery has found in their units."""
    faults = {q.subject: q.fault for q in brought.questions if q.fault}
    names = {name: state.name for state in brought.states for name in (state.name, *state.names)}

    def fault_of(question: Question) -> str:
        if question.kind is not CheckKind.UNIT or question.demand:
            return question.fault
        name = unit_name(question.subject)
        return faults.get(names.get(name, name), question.fault)

    return [replace(question, fault=fault_of(question)) for question in asked]
