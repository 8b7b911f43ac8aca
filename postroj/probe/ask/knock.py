"""Is somebody in when one knocks? A socket of systemd is worth what answers behind it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from postroj.probe.ask.addresses import can_connect
from postroj.probe.ask.judge import INTERVAL, Verdict, failed, passed, watch
from postroj.probe.ask.unitstate import look, parse
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState

ATTEMPT = 5.0
"""Seconds to connect."""
PATIENCE = 1.0
"""Seconds for which a service of one connection must hold out before we hang up."""
CANNOT_START = range(200, 244)
"""Statuses with which systemd says that it could not start a program, systemd.exec(5)."""


def knock(
    guest: Guest, state: UnitState, answer: Verdict, *, settle: float, deadline: Deadline
) -> Verdict:
    """Connect to a socket that is up, and judge the service that this must bring up."""
    told = ", ".join(address for address, _ in state.listens)
    sentence = f"{answer.sentence}, listens on {told}" if told else answer.sentence
    address, kind = next((each for each in state.listens if can_connect(*each)), ("", ""))
    if not address:
        return passed(sentence)
    before = None if state.accept or not state.triggers else look(guest, state.triggers[0])
    try:
        connection = guest.connect(address, kind, ATTEMPT)
    except OSError as error:
        return failed(f"{sentence}, but '{address}' cannot be connected to ({error.strerror})")
    with connection:
        verdict = _service(guest, before, settle, deadline) if before else _instances(guest, state)
    if state.accept:
        _forgive(guest, state)
    return Verdict(outcome=verdict.outcome, sentence=f"{sentence}; {verdict.sentence}")


def _service(guest: Guest, before: UnitState, settle: float, deadline: Deadline) -> Verdict:
    """Wait for the service; one that has done its work and ended well has come up, too."""
    name = before.name
    while (state := look(guest, name)).active == "inactive" and state.started == before.started:
        if not deadline.wait(INTERVAL):
            return failed(f"knocked on, but {name} was not started")
    verdict, state = watch(guest, name, settle=settle, deadline=deadline)
    ended_well = state.active == "inactive" and state.result == "success" and not state.exit_status
    if ended_well and verdict.outcome is Outcome.FAIL:
        return passed(f"knocked on, {name} came up and ended well")
    if verdict.outcome is Outcome.PASS:
        return passed(f"knocked on, {name} is {verdict.sentence}")
    return Verdict(outcome=verdict.outcome, sentence=f"knocked on, {name} is {verdict.sentence}")


def _instances(guest: Guest, state: UnitState) -> Verdict:
    """Hold the line for a moment: a service that cannot even start ends at once.

    What it makes of a caller who says nothing is its own business.
    """
    end = time.monotonic() + PATIENCE
    accepted = state.accepted
    while time.monotonic() < end:
        accepted = look(guest, state.name).accepted
        for instance in _loaded(guest, state):
            if instance.active == "failed" and instance.exit_status in CANNOT_START:
                return failed(f"knocked on, {instance.name} could not be started")
        time.sleep(INTERVAL)
    if accepted == state.accepted:
        return failed("knocked on, but nobody accepted the connection")
    return passed("knocked on, the connection was accepted")


def _loaded(guest: Guest, state: UnitState) -> list[UnitState]:
    pattern = f"{state.name.removesuffix('.socket')}@*.service"
    properties = "Id,LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus"
    argv = ["systemctl", "show", f"--property={properties}", "--", pattern]
    blocks = guest.run(argv, timeout=30).text.split("\n\n")
    return [parse(block) for block in blocks if block.strip()]


def _forgive(guest: Guest, state: UnitState) -> None:
    """Take back what a service may have failed of: that we hung up on it."""
    time.sleep(INTERVAL)
    names = [
        instance.name
        for instance in _loaded(guest, state)
        if instance.active == "failed" and instance.exit_status not in CANNOT_START
    ]
    if names:
        guest.run(["systemctl", "reset-failed", "--", *names], ok=range(256), timeout=30)
