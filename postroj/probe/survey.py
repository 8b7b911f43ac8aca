"""Note what packages have made of a guest, as promises to which their next versions can be held.

A promise is what was seen after the installation and again after a reboot. Ports that the kernel
chooses, and files with names that vary, are seen once only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, auto
from typing import TYPE_CHECKING

from postroj.model import EPHEMERAL
from postroj.probe import operations
from postroj.probe.ask import accounts, file, ports, running
from postroj.probe.ask.addresses import destination
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.unitstate import ENABLED, is_template, read_states, slices
from postroj.probe.managers import manager_of
from postroj.verdict import CheckKind, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from postroj.container.guest import Guest, Process
    from postroj.model import Image
    from postroj.probe.ask.unitstate import UnitState
    from postroj.verdict import Discovery, Listener, StepResult

Survey = Callable[["Guest", "Image", "StepResult", "Sequence[str]"], None]
"""Called after each good step with the guest, its image, the step and the names of the packages."""

STEPS = (StepName.INSTALL, StepName.START, StepName.REBOOT)
"""The steps of a probe that is surveyed."""
PAGE = 2.0
"""Seconds for a server to answer a request; one that speaks another protocol may say nothing."""
WEB = ("http", "https")
LATE = 10
"""Seconds for a service to make the file of its socket."""
OWN_DATA = ("/etc/", "/var/")
"""Where folders are of interest if not everybody may use them."""
EVERYBODYS = ("directory", "755", "root:root")
FORMAT = "%F\t%a\t%U:%G\t%n"
"""For stat(1); the name is last, as it may contain anything but a line break."""


Keys = tuple[tuple[str, str | int], ...]
"""Keys and values of a table, in their order."""


class Topic(IntEnum):
    """What a promise is about, in the order in which a person reads them."""

    PACKAGE = auto()
    UNIT = auto()
    PROCESS = auto()
    NETWORK = auto()
    CLOSED = auto()
    ACCOUNT = auto()
    CONFIGURATION = auto()
    DATA = auto()
    PROGRAM = auto()
    SOCKET = auto()


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One thing that is true of a guest with the packages, and is to stay so."""

    topic: Topic
    kind: CheckKind
    subject: str
    keys: Keys = ()
    """Further keys of its table in the project file."""


@dataclass(kw_only=True)
class Sights:
    """What was seen on one image so far."""

    format: str
    discovered: Discovery | None = None
    units: dict[str, Promise] = field(default_factory=dict)
    """Promises about units, by name; only units that come up again keep theirs."""
    idle: set[Promise] = field(default_factory=set)
    """Promises about units that the installation leaves alone."""
    others: frozenset[Promise] = frozenset()

    def add(self, guest: Guest, image: Image, step: StepResult, names: Sequence[str]) -> None:
        """Look at a guest after a step."""
        found = self.discovered = step.discovered or self.discovered
        if not found:
            return
        up = {check.subject for check in step.checks if _is_up(check.kind, check.outcome)}
        match step.name:
            case StepName.INSTALL:
                for promise in _of_units(guest, found, up):
                    if promise.subject.endswith(",idle"):
                        self.idle.add(promise)
                    else:
                        self.units[promise.subject.partition(",")[0]] = promise
            case StepName.START:
                started = {check.subject for check in step.checks if check.started} & up
                self.units |= {unit: _unit(unit) for unit in started}
            case _:
                self.units = {unit: one for unit, one in self.units.items() if unit in up}
        now = frozenset(_of_guest(guest, image, found, names))
        self.others = self.others & now if step.name is StepName.REBOOT else now
        if step.name is StepName.REBOOT:
            self.others = frozenset(_with_pages(guest, self.others))

    @property
    def promises(self) -> frozenset[Promise]:
        """All that holds."""
        return self.others | {*self.units.values()} | self.idle


def _is_up(kind: CheckKind, outcome: Outcome) -> bool:
    return kind is CheckKind.UNIT and outcome is Outcome.PASS


def _unit(subject: str) -> Promise:
    return Promise(topic=Topic.UNIT, kind=CheckKind.UNIT, subject=subject)


def _of_units(guest: Guest, found: Discovery, up: set[str]) -> Iterator[Promise]:
    """Yield what the installation has done with the packages' own units."""
    names = [name for name in found.units if name not in found.dependencies]
    for state in read_states(guest, [name for name in names if not is_template(name)]):
        if state.name in up and state.started:
            enabled = [",enabled"] if state.file_state in ENABLED else []
            yield _unit("".join([state.name, *enabled, ",running"]))
        elif _is_idle(state):
            yield _unit(f"{state.name},idle")


def _is_idle(state: UnitState) -> bool:
    return state.load == "loaded" and state.file_state == "disabled" and not state.started


def _of_guest(
    guest: Guest, image: Image, found: Discovery, names: Sequence[str]
) -> Iterator[Promise]:
    manager = manager_of(image.manager)
    for fact in operations.ask(guest, manager.installed(names)):
        yield Promise(
            topic=Topic.PACKAGE,
            kind=CheckKind.PACKAGE,
            subject=fact.name,
            keys=(("version", f">= {fact.version}"),),
        )
    yield from _of_processes(guest, found)
    yield from of_sockets(found.sockets)
    for kind, accounts_of in ((CheckKind.USER, found.users), (CheckKind.GROUP, found.groups)):
        for name in accounts_of:
            yield Promise(topic=Topic.ACCOUNT, kind=kind, subject=name)
    shipped = [path for name in names for path in operations.ask(guest, manager.files(name)).files]
    data = [path for path in shipped if path.startswith(OWN_DATA)]
    sockets = [one.address for one in found.sockets if one.address.startswith("/")]
    known = {*found.configuration}
    for topic, paths in (
        (Topic.CONFIGURATION, found.configuration),
        (Topic.DATA, [path for path in data if path not in known]),
        (Topic.PROGRAM, found.programs),
        (Topic.SOCKET, sockets),
    ):
        yield from _of_files(guest, topic, paths)


def _of_processes(guest: Guest, found: Discovery) -> Iterator[Promise]:
    """Yield the programs of services, each with the user as whom it runs."""
    names = [unit for unit in found.units if unit not in found.dependencies]
    units = [unit for unit in names if unit.endswith(".service") and not is_template(unit)]
    states = read_states(guest, units) if units else []
    pids = {state.main_pid for state in states if state.main_pid}
    processes = [process for process in guest.processes() if process.pid in pids]
    users = running.uids(guest, processes) if processes else {}
    for process in processes:
        account = accounts.find(guest, CheckKind.USER, str(users.get(process.pid, "")))
        yield Promise(
            topic=Topic.PROCESS,
            kind=CheckKind.PROCESS,
            subject=_program(process, found.programs),
            keys=(("owner", account.name),) if account else (),
        )


def _program(process: Process, programs: Sequence[str]) -> str:
    """Return the path of a process's program if it is the packages', else its name."""
    own = {path.removeprefix("/usr"): path for path in programs}
    words = (process.executable, *process.arguments[:2])
    paths = (own.get(word.removeprefix("/usr")) for word in words)
    return next(filter(None, paths), process.name)


def of_sockets(listeners: Iterable[Listener]) -> Iterator[Promise]:
    """Yield the addresses at which services listen, and the ports that only this machine reaches.

    Ports that the kernel may have chosen are left out.
    """
    hosts: dict[tuple[str, int], list[str]] = {}
    for one in listeners:
        host, _, number = one.address.rpartition(":")
        if one.protocol in ("tcp", "udp") and int(number) < EPHEMERAL:
            hosts.setdefault((one.protocol, int(number)), []).append(host.strip("[]"))
    for (protocol, port), names in hosts.items():
        found = [ipaddress.ip_address(name.partition("%")[0]) for name in names]
        for host in dict.fromkeys(destination(str(one)) for one in found if not one.is_link_local):
            at = f"[{host}]" if ":" in host else host
            url = f"{protocol}://{at}:{port}"
            yield Promise(topic=Topic.NETWORK, kind=CheckKind.NETWORK, subject=url)
        if all(one.is_loopback for one in found):
            url = f"{protocol}://0.0.0.0:{port}"
            yield Promise(topic=Topic.CLOSED, kind=CheckKind.CLOSED, subject=url)


def _with_pages(guest: Guest, promises: Iterable[Promise]) -> Iterator[Promise]:
    """Ask each TCP port for a page: what answers must do so again with the same status."""
    for promise in promises:
        if promise.kind is CheckKind.NETWORK and promise.subject.startswith("tcp:"):
            yield _page(guest, promise) or promise
        elif promise.kind is CheckKind.NETWORK:
            where = ports.endpoint(promise.subject)
            outcome, _ = ports.check(guest, where, ports.HttpCriteria(), deadline=Deadline(PAGE))
            if outcome is Outcome.PASS:
                yield promise
        else:
            yield promise


def _page(guest: Guest, promise: Promise) -> Promise | None:
    for scheme in WEB:
        url = f"{scheme}{promise.subject.removeprefix('tcp')}/"
        if status := ports.status_of(guest, ports.endpoint(url), PAGE):
            return Promise(
                topic=promise.topic, kind=promise.kind, subject=url, keys=(("status", status),)
            )
    return None


def _of_files(guest: Guest, topic: Topic, paths: Sequence[str]) -> Iterator[Promise]:
    """Yield the types, modes and owners of files; those that do not exist are left out."""
    types = {name: key for key, names in file.TYPES.items() for name in names}
    for line in _stat(guest, [path for path in paths if path.isprintable()]):
        kind, mode, owner, path = line.split("\t", 3)
        if topic is Topic.DATA and (kind, mode, owner) == EVERYBODYS:
            continue
        late: Keys = (("timeout", LATE),) if topic is Topic.SOCKET else ()
        keys: Keys = (("type", types[kind]), ("mode", f"{mode:0>4}"), ("owner", owner), *late)
        yield Promise(topic=topic, kind=CheckKind.FILE, subject=path, keys=keys)


def _stat(guest: Guest, paths: Sequence[str]) -> Iterator[str]:
    for some in slices(sorted({*paths})) if paths else ():
        argv = ["stat", "-L", "-c", FORMAT, "--", *some]
        yield from guest.run(argv, ok=range(256), timeout=60).stdout.decode().splitlines()


class Surveyor:
    """Surveys the guests of a run, each in the thread of its probe."""

    def __init__(self) -> None:
        self.sights: dict[str, Sights] = {}
        """By image."""

    def __call__(self, guest: Guest, image: Image, step: StepResult, names: Sequence[str]) -> None:
        """See `Survey`."""
        form = manager_of(image.manager).format
        self.sights.setdefault(image.name, Sights(format=form)).add(guest, image, step, names)

    @property
    def promises(self) -> Mapping[str, frozenset[Promise]]:
        """What holds, by image."""
        return {image: sights.promises for image, sights in self.sights.items()}

    @property
    def formats(self) -> Mapping[str, str]:
        """The format of the packages of each image."""
        return {image: sights.format for image, sights in self.sights.items()}
