"""Run checks: ask questions concurrently, and answer each with a `CheckResult`.

Units, ports, files and their like come first and at the same time, so that their waits overlap.
Then come the sockets that listen once the units are up, and those that must not, then the commands
in order, since they may need all of these, and last the question whether another unit has failed.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, GuestLost, PostrojError
from postroj.probe.ask import goss, journal, kinds, needs, unitstate
from postroj.probe.ask.deadline import CalledOff, Deadline
from postroj.probe.ask.kinds import Answer as Answer
from postroj.probe.ask.kinds import Manners as Manners
from postroj.probe.ask.kinds import no_owner as no_owner
from postroj.probe.ask.question import Question as Question
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.question import Scene

AT_ONCE = 16
SHOWN = 20
"""Maximum number of failed units to name, each with its journal."""
NEW_FAILURES = "no newly failed unit"
BROKEN = "the package has broken the guest"


def ask_all(
    guest: Guest,
    questions: Sequence[Question],
    manners: Manners,
    before: Sequence[str],
    then: Callable[[], Sequence[Question]] = tuple,
    owner: Callable[[str], str] = no_owner,
    killed: Callable[[], Collection[str]] = tuple,
    scene: Scene | None = None,
) -> Iterator[CheckResult]:
    """Ask all questions, and yield each answer as soon as it is known.

    `before` are the units that had failed before the step. `then` is called for more questions once
    the units are up. `owner` returns the dependency that alone is to blame for a unit, or ''.
    `killed` returns units that did not stop in time, which `stops.QUESTION` judges. `scene` is
    needed by questions about packages and their units.
    """
    began = time.monotonic()
    late = (CheckKind.CLOSED, CheckKind.COMMAND, CheckKind.GOSS)
    closed, commands, files = ([one for one in questions if one.kind is kind] for kind in late)
    ask = partial(kinds.ask, guest, manners, owner, scene)
    yield from side_by_side([one for one in questions if one.kind not in late], ask)
    yield from side_by_side([*then(), *closed], ask)
    for question in commands:
        yield timed(question, partial(ask, question, threading.Event()))
    for question in files:
        assert scene
        assert scene.goss
        yield from _ask_goss(guest, scene.goss, question, manners.timeout)
    asked = [unitstate.unit_name(q.subject) for q in questions if q.kind is CheckKind.UNIT]
    question = Question(kind=CheckKind.SYSTEM, subject=NEW_FAILURES)
    ask = partial(ask_failures, guest, before, asked, owner=owner, killed=killed)
    yield timed(question, partial(ask, not_before=began + manners.settle))


def _ask_goss(
    guest: Guest, program: goss.Goss, question: Question, timeout: float
) -> Iterator[CheckResult]:
    """Run a file of goss, and yield an answer for each of its tests."""
    tests: list[goss.Test] = []

    def ask() -> Answer:
        file, deadline = Path(question.subject), Deadline(timeout)
        outcome, reason, found = goss.check(guest, program, file, deadline)
        tests.extend(found)
        return outcome, reason

    answer = timed(question, ask)
    if not tests:
        yield answer
    for test in tests:
        yield replace(
            answer,
            subject=test.subject,
            outcome=test.outcome,
            reason=test.reason,
            seconds=test.seconds,
        )


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
