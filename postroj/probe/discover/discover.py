"""What an installation has brought, and which of it is to be judged without being asked."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import sockets
from postroj.probe.ask.addresses import destination
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import (
    ENABLED,
    is_template,
    look_all,
    template_of,
    unit_name,
)
from postroj.probe.discover import payload, snapshot
from postroj.verdict import CheckKind, Discovery, Listener

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.discover.payload import Payload
    from postroj.probe.discover.snapshot import Snapshot
    from postroj.probe.managers.base import PackageManager

APPEARING = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".swap")
"""Kinds of units that matter, wherever they come from; others must be the package's own."""
SYSUSERS_LIMIT = 1 << 20
"""Bytes of a file that declares users and groups."""
RUNNING = ("active", "activating", "reloading", "deactivating", "failed")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an installation has brought."""

    payload: Payload
    states: tuple[UnitState, ...]
    """Units that the package brings, or that appeared with it: each once, without templates."""
    questions: tuple[Question, ...]
    """One for each unit; those that are not judged say why."""
    users: tuple[str, ...]
    groups: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Users and groups that the package declares, and that are not there."""

    @property
    def judged(self) -> frozenset[str]:
        """Names of the units that are judged, with all their aliases."""
        asked = {question.subject for question in self.questions if not question.skip}
        return frozenset(
            name for state in self.states if state.name in asked for name in state.names
        )

    @property
    def sentence(self) -> str:
        """What the package brings, in numbers; '' if it is nothing of interest."""
        counts = {
            "unit": len(self.payload.units),
            "SysV script": len(self.payload.scripts),
            "configuration file": len(self.payload.configuration),
            "program": len(self.payload.programs),
        }
        parts = [f"{count} {word}{'s'[: count > 1]}" for word, count in counts.items() if count]
        groups = [name for name in self.groups if name not in self.users]
        for word, names in {"user": self.users, "group": groups}.items():
            if names:
                parts.append(f"{word}{'s'[: len(names) > 1]} {', '.join(names)}")
        brings = [f"brings {', '.join(parts)}"] if parts else []
        lacks = [f"declared in sysusers.d, but not there: {', '.join(self.missing)}"]
        return "\n".join(brings + (lacks if self.missing else []))

    def told(self, heard: Iterable[Socket]) -> Discovery:
        """All of it, for the report."""
        return Discovery(
            units=tuple(sorted({state.name for state in self.states} | {*self.payload.units})),
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
                for socket in heard
            ),
        )


def discover(
    guest: Guest, manager: PackageManager, names: Sequence[str], before: Snapshot
) -> Found:
    """Compare a guest with what it was before packages of these names were installed."""
    owned = [operations.ask(guest, manager.files(name)) for name in names]
    brought = payload.classify(
        [path for one in owned for path in one.files],
        {path for one in owned for path in one.configuration},
    )
    after = snapshot.take(guest)
    wanted = candidates(brought, before, after)
    states = {state.name: state for state in look_all(guest, wanted)}  # each alias once
    idle = [state for state in states.values() if state.file_state in ENABLED and not state.started]
    refused = _refused(guest) if idle else set()
    return Found(
        payload=brought,
        states=tuple(states.values()),
        questions=tuple(questions(brought, after, tuple(states.values()), refused)),
        users=tuple(sorted(after.users - before.users)),
        groups=tuple(sorted(after.groups - before.groups)),
        missing=tuple(sorted(_declared(guest, brought) - after.users - after.groups)),
    )


def _declared(guest: Guest, brought: Payload) -> set[str]:
    found = set()
    for path in brought.sysusers:
        with suppress(OSError):  # it is not there
            found |= payload.declared(
                guest.read_file(path, SYSUSERS_LIMIT).decode(errors="replace")
            )
    return found


def candidates(brought: Payload, before: Snapshot, after: Snapshot) -> list[str]:
    """Names of units to look at: the package's own, those of its scripts, and what appeared."""
    own = {*brought.units, *(f"{name}.service" for name in brought.scripts)}
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


def questions(
    brought: Payload,
    after: Snapshot,
    states: Sequence[UnitState],
    refused: Collection[str],
) -> list[Question]:
    """Ask about each unit, or say why not; what is judged comes first.

    What came with a dependency, and is not judged, is nobody's business. `refused` are the units
    that could not be started, since something else could not.
    """
    own = {*brought.units, *(f"{name}.service" for name in brought.scripts)}
    scripts = own - {*brought.units}
    found = []
    for state in states:
        is_refused = state.name in refused and not state.started
        reason = why_not(state, is_script=state.name in scripts, is_refused=is_refused)
        is_own = bool(own & {*state.names, state.name})
        if is_own or not (reason or state.unmet_condition):
            question = Question(
                kind=CheckKind.UNIT,
                subject=state.name,
                is_found=True,
                skip=reason,
                note="" if is_own else "it came with a dependency",
            )
            found.append(question)
    made: dict[str, list[str]] = {}
    for state in states:
        made.setdefault(template_of(state.name), []).append(state.name)
    for name in brought.units:
        if not is_template(name) or after.unit_files.get(name) == "alias":
            continue
        instances = ", ".join(made.get(name, []))
        reason = f"a template, of which it has made {instances}" if instances else "a template"
        found.append(Question(kind=CheckKind.UNIT, subject=name, is_found=True, skip=reason))
    return sorted(found, key=lambda question: (bool(question.skip), question.subject))


def why_not(state: UnitState, *, is_script: bool = False, is_refused: bool = False) -> str:
    """Say why a unit is not judged; '' if it is.

    Judged is what the installation has started or would have, and what cannot be loaded.
    """
    trigger = " and ".join(state.triggered_by)
    if state.load == "masked":
        return "masked"
    if state.load == "not-found" and is_script:
        return "systemd has made no unit of this SysV script"
    if state.load != "loaded" or is_refused:
        return ""
    if trigger and state.kind == "oneshot" and state.active == "activating":
        return f"at work, which {trigger} started"
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
    return "not enabled by the package"


def _refused(guest: Guest) -> set[str]:
    """Units whose jobs could not be done: nothing else keeps that, and packages do not mind."""
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


def heard(guest: Guest, found: Found, before: Snapshot) -> list[Socket]:
    """Sockets that have come with the package: of its units, or of a process without any."""
    known = {(socket.entry.text, socket.entry.protocol, socket.unit) for socket in before.sockets}
    judged = found.judged
    given = _given(found)
    return [
        socket
        for socket in sockets.listening(guest)
        if (socket.entry.text, socket.entry.protocol, socket.unit) not in known
        and (
            socket.unit in judged
            or socket.entry.text in given
            or not (socket.unit or socket.is_of_init)
        )
    ]


def _given(found: Found) -> set[str]:
    """Addresses of the socket units that are judged: they are knocked on already."""
    return {
        address
        for state in found.states
        if state.name in found.judged
        for address, _ in state.listens
    }


def ask_sockets(found: Found, new: Sequence[Socket], asked: Collection[str]) -> list[Question]:
    """Ask whether one can connect to what listens; `asked` are subjects that are asked anyway.

    There is one question for each TCP address, and one for all unix sockets of a unit: some have
    dozens. A UDP socket is told of, but nobody knows what it answers to.
    """
    given = _given(found)
    urls: dict[str, list[str]] = {}
    unix: dict[str, list[Socket]] = {}
    for socket in new:
        entry = socket.entry
        holder = socket.unit or f"process '{socket.process}', which is in no unit,"
        if entry.protocol == "tcp" and entry.text not in given:
            host = destination(entry.address.strip("[]"))
            scope = f"%{socket.interface}" if socket.interface else ""
            at = f"[{host}{scope}]" if ":" in host else host
            said = urls.setdefault(f"tcp://{at}:{entry.port}", [])
            said.append(f"{holder} listens on {entry.text}")
        elif entry.is_unix and entry.text not in given:
            unix.setdefault(holder, []).append(socket)
    network = partial(Question, kind=CheckKind.NETWORK, is_found=True)
    return [
        *(
            network(subject=url, note=", ".join(dict.fromkeys(said)))
            for url, said in urls.items()
            if url not in asked
        ),
        *(
            network(subject=_unix_name(holder, held), note=holder, unix=tuple(held))
            for holder, held in unix.items()
        ),
    ]


def _unix_name(holder: str, held: Sequence[Socket]) -> str:
    if len(held) == 1:
        return f"unix:{held[0].entry.address}"
    return f"unix sockets of {holder.partition(',')[0]}"


def unasked_units(found: Found, asked: Iterable[str]) -> list[Question]:
    """Questions about units that nobody asked by any of their names."""
    names = {unit_name(subject) for subject in asked}
    known = {name for state in found.states if {*state.names} & names for name in state.names}
    return [q for q in found.questions if q.subject not in known | names]
