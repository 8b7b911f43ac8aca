"""Run checks: ask questions concurrently, and answer each with a `CheckResult`.

Units, ports and files come first and at the same time, so that their waits overlap. Then come the
sockets that listen once the units are up, then the commands in order, since they may need all of
these, and last the question whether another unit has failed.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, GuestLost, PostrojError
from postroj.probe.ask import enabling, journal, needs, ports, sockets, units, unitstate
from postroj.probe.ask.deadline import CalledOff, Deadline
from postroj.probe.ask.question import Question as Question
from postroj.probe.ask.question import holder
from postroj.process import last_lines
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from postroj.container.guest import Guest, Socket

AT_ONCE = 16
SHOWN = 20
"""Maximum number of failed units to name, each with its journal."""
NEW_FAILURES = "no newly failed unit"
BROKEN = "the package has broken the guest"


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How long checks wait, and what an HTTP answer must be like."""

    timeout: float = 30.0
    """Seconds within which a check must pass."""
    settle: float = 3.0
    """Seconds for which a unit must stay up."""
    expected: ports.HttpCriteria = field(default_factory=ports.HttpCriteria)


Answer = tuple[Outcome, str]


def no_owner(unit: str) -> str:
    """Return '': a unit belongs to no dependency."""
    return ""


def ask_all(
    guest: Guest,
    questions: Sequence[Question],
    manners: Manners,
    before: Sequence[str],
    then: Callable[[], Sequence[Question]] = tuple,
    owner: Callable[[str], str] = no_owner,
    killed: Callable[[], Collection[str]] = tuple,
) -> Iterator[CheckResult]:
    """Ask all questions, and yield each answer as soon as it is known.

    `before` are the units that had failed before the step. `then` is called for more questions once
    the units are up. `owner` returns the dependency that alone is to blame for a unit, or ''.
    `killed` returns units that did not stop in time, which `stops.QUESTION` judges.
    """
    began = time.monotonic()
    commands = [question for question in questions if question.kind is CheckKind.COMMAND]
    waiting = [question for question in questions if question.kind is not CheckKind.COMMAND]
    ask = partial(_ask, guest, manners, owner)
    yield from side_by_side(waiting, ask)
    yield from side_by_side(then(), ask)
    for question in commands:
        yield timed(question, partial(_ask_command, guest, question.subject, manners.timeout))
    asked = [unitstate.unit_name(q.subject) for q in questions if q.kind is CheckKind.UNIT]
    question = Question(kind=CheckKind.SYSTEM, subject=NEW_FAILURES)
    ask = partial(ask_failures, guest, before, asked, owner=owner, killed=killed)
    yield timed(question, partial(ask, not_before=began + manners.settle))


def unasked(questions: Sequence[Question], reason: str) -> tuple[CheckResult, ...]:
    """Skip every question for the same reason."""
    return tuple(
        CheckResult(
            kind=q.kind,
            subject=q.subject,
            outcome=Outcome.SKIP,
            reason=reason,
            seconds=0,
            discovered=q.is_found,
            is_dependency=q.is_dependency,
        )
        for q in questions
    )


def side_by_side(
    questions: Sequence[Question], ask: Callable[[Question, threading.Event], Answer]
) -> Iterator[CheckResult]:
    """Answer questions concurrently; `ask` gets an event that cancels it."""
    over = threading.Event()
    pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="check")
    try:
        pending = {
            pool.submit(timed, question, partial(ask, question, over)) for question in questions
        }
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        over.set()  # after Ctrl-C the answers are not needed
        pool.shutdown(wait=False, cancel_futures=True)


def timed(question: Question, ask: Callable[[], Answer]) -> CheckResult:
    """Ask a question and measure the time.

    If postroj cannot ask, the outcome is an error. But if the guest is lost, or can no longer run a
    command, the package has broken it, which is a failure.
    """
    began = time.monotonic()
    try:
        outcome, reason = ask()
    except (GuestLost, CommandError) as error:
        slow = isinstance(error, CommandTimeout)  # perhaps the host is
        outcome = Outcome.ERROR if slow else Outcome.FAIL
        reason = error.reason if slow else f"{BROKEN}: {error.reason}"
    except PostrojError as error:
        outcome = Outcome.ERROR
        reason = error.reason
    except CalledOff:
        outcome, reason = Outcome.SKIP, "interrupted"
    return CheckResult(
        kind=question.kind,
        subject=question.subject,
        outcome=outcome,
        reason=reason,
        seconds=time.monotonic() - began,
        discovered=question.is_found,
        is_dependency=question.is_dependency,
    )


def _ask(
    guest: Guest,
    manners: Manners,
    owner: Callable[[str], str],
    question: Question,
    over: threading.Event,
) -> Answer:
    deadline = Deadline(manners.timeout, over)
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
            where = ports.endpoint(question.subject)
            outcome, reason = ports.check(guest, where, manners.expected, deadline=deadline)
            known = question.holders if outcome is Outcome.PASS else ""
            return outcome, f"{reason}, {known}" if known else reason
        case CheckKind.FILE:
            return _ask_file(guest, question.subject)
        case CheckKind.COMMAND:
            return _ask_command(guest, question.subject, manners.timeout)
        case CheckKind.SYSTEM:
            message = f"'{question.subject}' is not one of several questions"
            raise AssertionError(message)


def _ask_unit(
    guest: Guest,
    question: Question,
    manners: Manners,
    owner: Callable[[str], str],
    deadline: Deadline,
) -> Answer:
    """Check a unit; one that the user asked about must be up, even if a condition is not met."""
    outcome, reason = units.check(guest, question.subject, settle=manners.settle, deadline=deadline)
    if outcome is Outcome.SKIP and not question.is_found:
        outcome = Outcome.FAIL
    if outcome is not Outcome.FAIL or not question.is_dependency:
        return outcome, reason
    sentence, *evidence = reason.splitlines()
    origin = "it came with a dependency"
    if name := owner(unitstate.unit_name(question.subject)):
        outcome = Outcome.SKIP
        origin = f"it belongs to '{name}', a dependency, and is not held against the package"
    return outcome, "\n".join([f"{sentence}; {origin}", *evidence])


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


def _ask_file(guest: Guest, path: str) -> Answer:
    argv = ["stat", "--dereference", "--format=%F, %s bytes, mode %a, owner %U:%G", "--", path]
    done = guest.run(argv, ok=range(256), timeout=30)
    if done.status:
        return Outcome.FAIL, f"there is no such file ({done.output.rpartition(': ')[2]})"
    return Outcome.PASS, done.text


def _ask_command(guest: Guest, command: str, timeout: float) -> Answer:
    """Run a shell command in the guest once; it must exit with 0."""
    try:
        done = guest.run(["sh", "-c", command], ok=range(256), timeout=timeout)
    except CommandTimeout as error:
        sentence = f"did not end within {timeout:g} s"
        return Outcome.FAIL, f"{sentence}\n{last_lines(error.output)}".rstrip()
    if done.status:
        return Outcome.FAIL, f"status {done.status}\n{last_lines(done.output)}".rstrip()
    return Outcome.PASS, "status 0"


def ask_failures(
    guest: Guest,
    before: Sequence[str],
    asked: Sequence[str] = (),
    *,
    not_before: float = 0.0,
    owner: Callable[[str], str] = no_owner,
    killed: Callable[[], Collection[str]] = tuple,
    since: str = "the installation",
) -> Answer:
    """Ask which units have failed `since` a moment that this phrase names.

    Wait until `not_before` (monotonic clock), so that units have time to fail. The answers about
    the `asked` units already contain their journals. `owner` returns the dependency that alone is
    to blame for a unit, or ''. `killed` returns units that did not stop in time.
    """
    time.sleep(max(0.0, not_before - time.monotonic()))
    if guest.system_state() == "maintenance":
        return Outcome.FAIL, "the guest is in maintenance: its rescue or emergency target is active"
    failed = [unit for unit in guest.failed_units() if unit not in before]
    late = {*killed()} if failed else set()
    new = [unit for unit in failed if unit not in late]
    owners = {unit: owner(unit) for unit in new[:SHOWN]}
    blamed = [unit for unit in new if not owners.get(unit)]
    others = [f"{unit} of '{name}', a dependency," for unit, name in owners.items() if name]
    excused = {unit: need for unit in blamed[:SHOWN] if (need := needs.of_unit(guest, unit))}
    blamed = [unit for unit in blamed if unit not in excused]
    others += [f"{unit}, which needs {need}," for unit, need in excused.items()]
    aside = f"{' and '.join(others)} failed" if others else ""
    none = "none that a container can show" if excused else "none of the package"
    if not blamed and (known := sorted(late.intersection(failed))):
        none = f"none but {', '.join(known)}, which did not stop in time"
        return Outcome.PASS, f"{none}; {aside}" if aside else none
    if not blamed:
        return Outcome.PASS, f"{none}; {aside}" if aside else "none"
    shown = blamed[:SHOWN]
    more = f" and {len(blamed) - SHOWN} more" if len(blamed) > SHOWN else ""
    sentence = f"failed since {since}: {', '.join(shown)}{more}{aside and f'; {aside}'}"
    evidence = "\n".join(journal.last(guest, unit) for unit in shown if unit not in asked)
    return Outcome.FAIL, f"{sentence}\n{evidence}".rstrip()
