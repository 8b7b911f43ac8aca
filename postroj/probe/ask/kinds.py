"""Answer one question, as its kind demands.

What may need a moment is asked again until it passes or its time is over. Files, accounts and
packages are there at once, and closed ports must be closed by then: they are asked once, unless the
user gives them time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from postroj.errors import CommandTimeout
from postroj.probe.ask import (
    accounts,
    closed,
    dns,
    enabling,
    file,
    installed,
    log,
    ports,
    running,
    sockets,
    units,
    unitstate,
)
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.question import holder
from postroj.process import last_lines
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.question import Question, Scene

Answer = tuple[Outcome, str]

INTERVAL = 0.5
"""Seconds between two attempts that need a command each."""


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How long checks wait, and what an HTTP answer must be like."""

    timeout: float = 30.0
    """Seconds within which a check must pass."""
    settle: float = 3.0
    """Seconds for which a unit must stay up."""
    expected: ports.HttpCriteria = field(default_factory=ports.HttpCriteria)


def no_owner(unit: str) -> str:
    """Return '': a unit belongs to no dependency."""
    return ""


def ask(
    guest: Guest,
    manners: Manners,
    owner: Callable[[str], str],
    scene: Scene | None,
    question: Question,
    over: threading.Event,
) -> Answer:
    """Answer a question; `over` cancels that.

    `owner` returns the dependency that alone is to blame for a unit, or ''.
    """
    seconds = manners.timeout if question.timeout is None else question.timeout
    deadline = Deadline(seconds, over)
    moment = Deadline(question.timeout or 0, over)
    if question.fault:
        return Outcome.FAIL, question.fault
    if question.skip:
        return Outcome.SKIP, question.skip
    if question.demand:
        return enabling.check(guest, question.subject, question.demand)
    match question.kind:
        case CheckKind.UNIT:
            return _ask_unit(guest, question, manners, owner, deadline)
        case CheckKind.NETWORK if question.unix:
            return _ask_unix(guest, question, deadline)
        case CheckKind.NETWORK:
            return _ask_network(guest, question, manners, deadline)
        case CheckKind.FILE:
            return until(partial(file.check, guest, question), moment)
        case CheckKind.PROCESS:
            return until(partial(running.check, guest, question), deadline)
        case CheckKind.USER | CheckKind.GROUP:
            return until(partial(accounts.check, guest, question), moment)
        case CheckKind.PACKAGE:
            assert scene
            return until(partial(installed.check, guest, scene.manager, question), moment)
        case CheckKind.LOG:
            assert scene
            return until(partial(log.check, guest, scene, question), deadline)
        case CheckKind.CLOSED:
            return until(partial(closed.check, guest, question.subject), moment)
        case CheckKind.DNS:
            return until(partial(dns.check, guest, question), deadline)
        case CheckKind.COMMAND:
            # `run` gives a slow guest more time, and so has `Plan.slowed`
            return _ask_command(guest, question.subject, seconds / guest.slowness)
        case CheckKind.GOSS | CheckKind.SYSTEM:
            message = f"'{question.subject}' is not one of several questions"
            raise AssertionError(message)


def until(attempt: Callable[[], Answer], deadline: Deadline) -> Answer:
    """Repeat a question until it passes, is skipped or the deadline passes."""
    while True:
        outcome, reason = attempt()
        if not outcome.is_bad:
            return outcome, reason
        if not deadline.wait(INTERVAL):
            break
    sentence, *evidence = reason.splitlines()
    spent = f" after {deadline.seconds:g} s" if deadline.seconds else ""
    return outcome, "\n".join([sentence + spent, *evidence])


def _ask_unit(
    guest: Guest,
    question: Question,
    manners: Manners,
    owner: Callable[[str], str],
    deadline: Deadline,
) -> Answer:
    """Check a unit; one that the user asked about must be up, even if a condition is not met."""
    settle = manners.settle if question.settle is None else question.settle
    outcome, reason = units.check(guest, question.subject, settle=settle, deadline=deadline)
    if outcome is Outcome.SKIP and not question.is_found:
        outcome = Outcome.FAIL
    if outcome is not Outcome.FAIL or not question.is_dependency:
        return outcome, reason
    sentence, *evidence = reason.splitlines()
    origin = "it came with a dependency"
    if other := owner(unitstate.unit_name(question.subject)):
        outcome = Outcome.SKIP
        origin = f"it belongs to '{other}', a dependency, and is not held against the package"
    return outcome, "\n".join([f"{sentence}; {origin}", *evidence])


def _ask_network(guest: Guest, question: Question, manners: Manners, deadline: Deadline) -> Answer:
    """Ask an address; what the question requires replaces what is expected of all answers."""
    required = question.required
    own = ports.HttpCriteria(status=required.status, body=required.body)
    expected = manners.expected if own == ports.HttpCriteria() else own
    where = ports.endpoint(question.subject)
    outcome, reason = ports.check(guest, where, expected, deadline=deadline)
    known = question.holders if outcome is Outcome.PASS else ""
    return outcome, f"{reason}, {known}" if known else reason


def _ask_unix(guest: Guest, question: Question, deadline: Deadline) -> Answer:
    """Connect to those sockets of a unit that still exist: some exist only for a moment."""
    reached = []
    for socket in question.unix:
        try:
            _reach(guest, socket, deadline)
        except FileNotFoundError:
            continue
        except OSError as error:
            sentence = f"{ports.describe_error(error)} at '{socket.entry.text}'"
            return Outcome.FAIL, f"{sentence} for {deadline.seconds:g} s"
        reached.append(socket)
    if not reached:
        return Outcome.SKIP, "no longer exists"
    spent = f"connected after {deadline.spent:.1f} s"
    return Outcome.PASS, f"{spent}, {holder(reached[0])} listens on {sockets.addresses(reached)}"


def _reach(guest: Guest, socket: Socket, deadline: Deadline) -> None:
    while True:
        try:
            address, kind = socket.entry.address, socket.entry.protocol
            guest.connect(address, kind, ports.ATTEMPT, opener=socket.opener).close()
            return
        except FileNotFoundError:
            raise
        except OSError:
            if not deadline.wait(ports.INTERVAL):
                raise


def _ask_command(guest: Guest, command: str, timeout: float) -> Answer:
    """Run a shell command in the guest once; it must exit with 0."""
    try:
        done = guest.run(["sh", "-c", command], ok=range(256), timeout=timeout)
    except CommandTimeout as error:
        sentence = f"did not end within {error.seconds:g} s"
        return Outcome.FAIL, f"{sentence}\n{last_lines(error.output)}".rstrip()
    if done.status:
        return Outcome.FAIL, f"status {done.status}\n{last_lines(done.output)}".rstrip()
    return Outcome.PASS, "status 0"
