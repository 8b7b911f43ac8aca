"""Read units again that have passed, once all other questions of their step are answered.

A check sees a unit for some seconds. What it cannot see: a daemon that ends later, a crash loop
that is slower, a watchdog that runs out. So all units that passed are read once more, at once, when
the step ends. That costs one `systemctl show`; only what gives a reason is waited for:

- a service that systemd calls active as soon as it is forked (`Type=simple`): it must be up for
  longer than one that tells when it is ready, and still longer if systemd would restart it, since a
  restarted service looks like one that has never crashed, or while it is busy with its start;
- a service whose units have logged errors;
- a service with a watchdog, until it has reported to it;
- a service that has been restarted meanwhile.

A service that has once been waited for is not waited for again before another version comes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from postroj.probe.ask import busy, exited, journal, judge
from postroj.probe.ask.checks import no_owner
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.journal import Event
from postroj.probe.ask.unitstate import UnitState, is_template, read_states, unit_name
from postroj.verdict import CheckKind, CheckResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Manners
    from postroj.probe.ask.journal import Entry

SUBJECT = "units stay up"
SILENT = ("simple", "exec", "idle")
"""Types of services that do not tell when they are ready, systemd.service(5)."""
TOLD = 1.5
"""Factor for the settle time of a silent service."""
RESTARTED = 2
"""Factor for the settle time of a silent service that systemd restarts, and of one with errors."""
ENDED_BY_US = "a check had connected to it and sent nothing; started again, it stays up"
LIFE = 30.0
"""Seconds from a check to the end of a service after which no connection explains the end."""
FIRST_REPORT = 1.0
"""Seconds after its start within which a report to the watchdog shows nothing yet: the next one may
be late."""
POLL = 0.5
"""Seconds between two readings of a service that may report to its watchdog at any moment, or that
is busy."""
MARGIN = 1.0
"""Seconds that the manager may take to act upon a watchdog that has run out."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A unit that has passed."""

    answer: CheckResult
    moment: float
    """A moment of the monotonic clock since which it has not been started, if it is as it was."""


@dataclass(kw_only=True)
class Recheck:
    """Reads units again; `known` are those that have been waited for in their version."""

    guest: Guest
    manners: Manners
    known: set[str] = field(default_factory=set)
    passed: frozenset[str] = frozenset()
    """The names of the units that passed when they were last asked about, and stayed up."""

    def begin_version(self) -> None:
        """Forget what was waited for, because other packages have come."""
        self.known.clear()

    def follow(
        self,
        answers: Iterable[CheckResult],
        owner: Callable[[str], str] = no_owner,
        knocked: Callable[[], Collection[str]] = tuple,
    ) -> Iterator[CheckResult]:
        """Yield the answers; then read the units that passed, and yield what has become of them.

        A unit that has ended gets a second, failing answer. `owner` returns the dependency that
        alone is to blame for a unit, or ''; `knocked` names the units to which a check connected.
        """
        passed: dict[str, Passed] = {}
        has_errors = False
        # a unit that passed had been up for the settle time before
        slack = min(1.0, self.manners.settle)
        for answer in answers:
            name = unit_name(answer.subject)
            if answer.kind is CheckKind.UNIT and answer.outcome is Outcome.PASS:
                if not is_template(name):
                    passed[name] = Passed(answer=answer, moment=time.monotonic() - slack)
            elif answer.kind is CheckKind.SYSTEM and answer.subject == journal.ERRORS:
                has_errors = True
            yield answer
        ended: set[str] = set()
        again = self._read_again(passed, owner, knocked, has_errors=has_errors) if passed else ()
        for answer in again:
            ended.add(unit_name(answer.subject))
            yield answer
        self.passed = frozenset(passed.keys() - ended)

    def _read_again(
        self,
        passed: Mapping[str, Passed],
        owner: Callable[[str], str],
        knocked: Callable[[], Collection[str]],
        *,
        has_errors: bool,
    ) -> Iterator[CheckResult]:
        began = time.monotonic()
        moments = {name: one.moment for name, one in passed.items()}
        states, told = self._wait(moments, has_errors=has_errors)
        self.known |= {state.name for state in states}
        suspects = [state for state in states if has_changed(state, moments)]
        since = journal.wall_time(min(moments.values()))
        entries = journal.events(self.guest, since) if suspects else []
        for state in suspects:
            own = [entry for entry in entries if entry.unit in names_of(state)]
            if not (sentence := self._describe(state, own)):
                continue
            reason = f"passed its check, but {sentence}"
            if name := owner(state.name):
                told.append(f"{state.name} {reason}; it belongs to '{name}', a dependency")
                continue
            if {*names_of(state)} & {*knocked()} and self._survives(state, moments):
                told.append(f"{state.name} {reason}; {ENDED_BY_US}")
                continue
            evidence = journal.last(self.guest, state.name)
            yield replace(
                next(passed[name].answer for name in names_of(state) if name in passed),
                outcome=Outcome.FAIL,
                reason=f"{reason}\n{evidence}".rstrip(),
                seconds=time.monotonic() - began,
            )
        if told:
            yield CheckResult(
                kind=CheckKind.SYSTEM,
                subject=SUBJECT,
                outcome=Outcome.PASS,
                reason="\n".join(told),
                seconds=time.monotonic() - began,
                discovered=True,
            )

    def _survives(self, state: UnitState, moments: Mapping[str, float]) -> bool:
        """Start a service again; return whether it lives longer than before if nobody connects."""
        since = min(moments[name] for name in names_of(state) if name in moments)
        lived = time.monotonic() - since
        if lived > LIFE or state.active != "inactive":  # to crash is a fault, whoever connects
            return False
        for verb in ("reset-failed", "start"):
            self.guest.run(["systemctl", verb, "--", state.name], ok=range(256), timeout=60)
        settle = lived + self.manners.settle
        deadline = Deadline(self.manners.timeout)
        answer, _ = judge.watch(self.guest, state.name, settle=settle, deadline=deadline)
        return answer.outcome is Outcome.PASS

    def _wait(
        self, moments: Mapping[str, float], *, has_errors: bool
    ) -> tuple[list[UnitState], list[str]]:
        """Read units until nothing is to be waited for; return also what was not waited for.

        A watchdog that runs out later than a check may take cannot be waited for.
        """
        deadline = Deadline(self.manners.timeout)
        while True:
            states = read_states(self.guest, tuple(moments))
            new = [s for s in states if s.name not in self.known and not has_changed(s, moments)]
            hungry = [state for state in new if is_hungry(state)]
            soon = [state for state in hungry if runs_out(state) <= deadline.end]
            until = [self._until(state, has_errors=has_errors) for state in new]
            late = max([*until, *map(runs_out, soon)], default=0.0) - time.monotonic()
            watched = [state for state, end in zip(new, until, strict=True) if end]
            if late <= 0 and busy.is_any_busy(self.guest, watched):
                late = POLL
            if late <= 0 or not deadline.left:
                break
            deadline.wait(min(late, POLL) if soon else late)
        return states, [describe_patience(state) for state in hungry if state not in soon]

    def _until(self, state: UnitState, *, has_errors: bool) -> float:
        """Return the moment until which a unit is to be watched, in seconds of the clock."""
        if not state.name.endswith(".service") or state.sub == "exited":
            return 0.0
        factor = 0.0
        if state.kind in SILENT:
            factor = TOLD if state.restart in ("", "no") else RESTARTED
        if has_errors:
            factor = RESTARTED
        return state.since + factor * self.manners.settle if factor else 0.0

    def _describe(self, state: UnitState, entries: Sequence[Entry]) -> str:
        """Describe what is wrong with a unit now; '' if nothing is.

        A unit that somebody stopped or started anew, as a command of the user may, must be up
        again, if at all.
        """
        if sentence := describe_end(state, entries):
            return sentence
        if state.active == "inactive" and not state.has_job:
            is_stopped = any(entry.event is Event.STOPPING for entry in entries)
            how = f", its main process {state.exit}" if state.exit else ""
            return "" if is_stopped or state.kind == "oneshot" else f"it has ended{how}"
        if state.sub == "exited" and state.active == "active":
            dead = exited.judge(self.guest, state, judge.passed(state.text))
            return dead.sentence if dead and dead.outcome is Outcome.FAIL else ""
        deadline = Deadline(self.manners.timeout)
        answer, _ = judge.watch(
            self.guest, state.name, settle=self.manners.settle, deadline=deadline, first=state
        )
        return f"then it was {answer.sentence}" if answer.outcome is Outcome.FAIL else ""


def names_of(state: UnitState) -> tuple[str, ...]:
    """Return all names of a unit."""
    return (state.name, *state.names)


def has_changed(state: UnitState, moments: Mapping[str, float]) -> bool:
    """Whether a unit is not as it was when it passed, at one of the moments by name.

    A oneshot service may have done its work once more.
    """
    if state.active == "inactive" and state.kind == "oneshot" and state.result == "success":
        return False
    if state.load != "loaded" or state.active != "active":
        return True
    if not state.name.endswith(".service") or state.kind == "oneshot":
        return False
    moment = min(moments[name] for name in names_of(state) if name in moments)
    return max(state.since, state.changed if state.sub == "exited" else 0.0) > moment


def is_hungry(state: UnitState) -> bool:
    """Whether a service has a watchdog that it has not reported to since it came up."""
    return bool(state.watchdog) and state.fed <= state.since + FIRST_REPORT


def runs_out(state: UnitState) -> float:
    """Return the moment when a service's watchdog has run out for certain, unless it reports."""
    return state.since + state.watchdog + MARGIN


def describe_end(state: UnitState, entries: Sequence[Entry]) -> str:
    """Describe how a unit has ended after it passed; '' if it was no end of its own."""
    stopped = {entry.invocation for entry in entries if entry.event is Event.STOPPING}
    entries = [entry for entry in entries if entry.invocation not in stopped]
    results = [entry.result for entry in entries if entry.event is Event.RESULT]
    again = f", restarted {state.restarts} times" if state.restarts > 1 else ", restarted"
    now = again if state.active == "active" else f", now {state.text}"
    if "watchdog" in (*results, state.result):
        limit = f" for {state.watchdog:g} s" if state.watchdog else ""
        return f"it did not report to its watchdog{limit}, and was killed (WatchdogSec=){now}"
    if any(entry.event is Event.EXIT for entry in entries):
        how = f" (result '{results[-1]}')" if results else ""
        return f"it ended by itself{how}{now}"
    return ""


def describe_patience(state: UnitState) -> str:
    """Say that a watchdog was not waited for."""
    limit = f"its watchdog runs out after {state.watchdog:g} s"
    return f"{state.name}: {limit}, later than a check waits (--check-timeout)"
