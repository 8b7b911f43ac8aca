"""Check socket activation: connect to a socket unit and judge the service that this starts."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl
from postroj.probe.ask import conditions, sockets
from postroj.probe.ask.addresses import INET, can_connect
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.judge import INTERVAL, Decided, failed, not_wanted, passed, watch
from postroj.probe.ask.unitstate import UP, parse, read_state, read_states
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.unitstate import UnitState

ATTEMPT = 5.0
"""Seconds to connect, and for a service of one connection to start."""
OPENING = 5.0
"""Seconds for a service to open the address of its socket unit."""
PATIENCE = 1.0
"""Seconds for which a service of one connection must survive before postroj disconnects."""
LEAVING = 5.0
"""Seconds for a service of one connection to end once postroj has disconnected."""
STOPPING = 120.0
"""Timeout of stopping a service, in seconds; systemd kills it after 90 (DefaultTimeoutStopSec=)."""
RUN = re.compile(r"^/var/run/")
MANAGERS = ("/systemd", "/systemd-executor")
"""Programs of a process that systemd has forked and that has not executed its own yet."""
CANNOT_START = range(200, 244)
"""Exit statuses by which systemd reports that it could not start a program, systemd.exec(5)."""


def check_socket(
    guest: Guest, state: UnitState, answer: Decided, *, settle: float, deadline: Deadline
) -> Decided:
    """Connect to a socket unit that is up, and judge the service that the connection starts.

    If a precondition of the service is not met, nobody would take the connection, and systemd would
    try again until the socket fails. So postroj does not connect then.
    """
    addresses = ", ".join(address for address, _ in state.listens)
    sentence = f"{answer.sentence}, listens on {addresses}" if addresses else answer.sentence
    before = None if state.accept or not state.triggers else read_state(guest, state.triggers[0])
    unmet = conditions.foresee(guest, before.name) if before and _is_down(before) else ""
    if before and unmet:
        return passed(f"{sentence}; {before.name} would not start, because {unmet} is not met")
    address, kind = next((each for each in state.listens if can_connect(*each)), ("", ""))
    if not address:
        return passed(sentence)
    if before and unmet is None and (cause := _start_first(guest, before)):
        return passed(f"{sentence}; {before.name} does not start, because {cause}")
    try:
        connection = guest.connect(address, kind, ATTEMPT)
    except OSError as error:
        return failed(f"{sentence}, but cannot connect to '{address}' ({error.strerror})")
    with connection:
        reached = (
            _check_service(guest, before, settle, deadline)
            if before
            else _check_instances(guest, state, deadline)
        )
    if state.accept:
        _reset_failed(guest, state)
    if before and reached.outcome is Outcome.SKIP:
        _revive(guest, sorted({state.name, *before.triggered_by}), before.name)
        reached = passed(reached.sentence)
    return Decided(outcome=reached.outcome, sentence=f"{sentence}; {reached.sentence}")


def takes_over(guest: Guest, state: UnitState, deadline: Deadline) -> str:
    """Return the service that listens by itself where a socket unit should; '' if none does.

    If both are started at once and the service comes first, systemd refuses the socket.
    """
    wait = Deadline(min(OPENING, deadline.seconds), deadline.over)
    while names := [one.name for one in _triggered(guest, state) if one.active in UP]:
        found = sockets.of_units(sockets.listening(guest), names)
        if state.listens and all(_is_open(address, found) for address, _ in state.listens):
            return names[0]
        if not wait.wait(INTERVAL):
            break
    return ""


def _triggered(guest: Guest, state: UnitState) -> list[UnitState]:
    return read_states(guest, state.triggers) if state.triggers and not state.accept else []


def _is_open(address: str, found: Sequence[Socket]) -> bool:
    """Whether one of these sockets has an address of systemd.socket(5), on any interface."""
    if match := INET.fullmatch(address):
        return any(socket.entry.port == int(match["port"]) for socket in found)
    return any(
        RUN.sub("/run/", socket.entry.address) == RUN.sub("/run/", address) for socket in found
    )


def _is_down(service: UnitState) -> bool:
    return service.active == "inactive" and not service.has_job


def _start_first(guest: Guest, service: UnitState) -> str:
    """Start a service with preconditions, and return why it does not start; '' if it does.

    That is for a systemd that evaluates preconditions only then: without a waiting connection it
    does so only once.
    """
    if not conditions.declared(guest, service.name):
        return ""
    guest.run(["systemctl", "start", "--no-block", "--", service.name], ok=range(256), timeout=30)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        state = read_state(guest, service.name)
        if cause := not_wanted(state):
            return f"{cause}: {conditions.describe(guest, state)}".removesuffix(": ")
        if state.started != service.started:
            break
        time.sleep(INTERVAL)
    return ""


def _check_service(guest: Guest, before: UnitState, settle: float, deadline: Deadline) -> Decided:
    """Wait for the one service behind a socket; it may also do its work and exit successfully."""
    name = before.name
    while True:
        state = read_state(guest, name)
        if state.active != "inactive" or state.started != before.started or not_wanted(state):
            break
        if not deadline.wait(INTERVAL):
            return failed(f"connected, but {name} was not started")
    answer, state = watch(guest, name, settle=settle, deadline=deadline)
    succeeded = state.active == "inactive" and state.result == "success" and not state.exit_status
    if succeeded and answer.outcome is Outcome.FAIL:
        return passed(f"connected, {name} came up and exited successfully")
    return Decided(outcome=answer.outcome, sentence=f"connected, {name} is {answer.sentence}")


def _check_instances(guest: Guest, state: UnitState, deadline: Deadline) -> Decided:
    """Stay connected for a moment, and until a program runs: one that cannot be started ends then.

    How the service treats a client that sends nothing is not judged.
    """
    deadline.extend(ATTEMPT)
    while read_state(guest, state.name).accepted == state.accepted:
        if not deadline.wait(INTERVAL):
            return failed("connected, but nothing accepted the connection")
    end = time.monotonic() + PATIENCE
    while True:
        instances = _loaded(guest, state)
        for instance in instances:
            if instance.active == "failed" and instance.exit_status in CANNOT_START:
                return failed(f"connected, {instance.name} could not be started")
        waits = time.monotonic() < end or _is_starting(guest, instances)
        if not waits or not deadline.wait(INTERVAL):
            return passed("connected, the connection was accepted")


def _is_starting(guest: Guest, instances: Sequence[UnitState]) -> bool:
    """Whether one of these is about to be started, or has a process that runs no program yet.

    A busy host may take seconds from the one to the other, and systemd calls a unit `running` as
    soon as the process is there (Type=simple, systemd.service(5)).
    """
    names = {instance.name for instance in instances}
    is_queued = any(one.active == "inactive" and one.has_job for one in instances)
    return is_queued or any(
        process.unit in names and process.executable.endswith(MANAGERS)
        for process in guest.processes()
    )


def _loaded(guest: Guest, state: UnitState) -> list[UnitState]:
    """Return the loaded instances of a socket's service; only some properties are read."""
    pattern = f"{state.name.removesuffix('.socket')}@*.service"
    properties = "Id,LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,Job"
    words = ["show", f"--property={properties}", "--", pattern]
    blocks = systemctl(guest.run, words, timeout=30).text.split("\n\n")
    return [parse(block) for block in blocks if block.strip()]


def _reset_failed(guest: Guest, state: UnitState) -> None:
    """Reset instances that failed only because postroj closed the connection."""
    end = time.monotonic() + LEAVING
    instances = _loaded(guest, state)
    while any(one.active in UP for one in instances) and time.monotonic() < end:
        time.sleep(INTERVAL)
        instances = _loaded(guest, state)
    names = [
        instance.name
        for instance in instances
        if instance.active == "failed" and instance.exit_status not in CANNOT_START
    ]
    if names:
        guest.run(["systemctl", "reset-failed", "--", *names], ok=range(256), timeout=30)


def take_back(guest: Guest, name: str) -> None:
    """Drop the connection to a socket unit whose service cannot take it here.

    systemd would start the service for it again and again, also while its package is removed.
    """
    state = read_state(guest, name)
    for service in _triggered(guest, state):
        listening = sorted({state.name, *service.triggered_by})
        argv = ["systemctl", "stop", "--", *listening, service.name]
        guest.run(argv, ok=range(256), timeout=STOPPING)
        _revive(guest, listening, service.name)


def _revive(guest: Guest, sockets: Sequence[str], service: str) -> None:
    """Drop a connection that the service did not take, for which systemd tries it again and again.

    The sockets may have failed of that.
    """
    for argv in (["reset-failed", "--", *sockets, service], ["restart", "--", *sockets]):
        guest.run(["systemctl", *argv], ok=range(256), timeout=30)
