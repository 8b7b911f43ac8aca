"""Is a unit up, and does it stay up? From properties of systemd, never from its prose.

`judge` is pure; `check` asks a guest until the answer is final. The properties are those of
org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.model import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.deadline import Deadline

PROPERTIES = (
    "ActiveEnterTimestampMonotonic",
    "ActiveState",
    "ConditionResult",
    "ExecMainCode",
    "ExecMainStatus",
    "Id",
    "Job",
    "LoadState",
    "MainPID",
    "NRestarts",
    "Result",
    "SubState",
)
UNIT_TYPES = (
    *("service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path"),
    *("slice", "scope"),
)
INTERVAL = 0.2
"""Seconds between two looks at a unit that has not made up its mind."""

LOOP = 2
"""So many restarts while we look are a crash loop."""

JOURNAL_LINES = 20
KILLED = {"2": "killed by signal", "3": "dumped core by signal"}
"""Values of ExecMainCode besides 1, `exited` (wait(2), si_code)."""


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """A unit as its manager describes it at one moment."""

    name: str
    load: str
    active: str
    sub: str
    result: str = ""
    main_pid: int = 0
    restarts: int = 0
    since: float = 0.0
    """When it became active, in seconds of the monotonic clock, which host and guest share."""
    has_job: bool = False
    exit: str = ""
    """How its main process ended, in words; '' if it has not."""
    unmet_condition: bool = False

    @property
    def text(self) -> str:
        """As `systemctl status` has it: `active (running)`."""
        return f"{self.active} ({self.sub})"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A final answer."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """No answer yet: look again after `seconds`; `sentence` is the failure if time runs out."""

    seconds: float
    sentence: str
    settling: bool = False
    """Whether it is up, and has only to stay so."""


def unit_name(text: str) -> str:
    """Complete a unit's name as systemctl does: `nginx` is `nginx.service`."""
    return text if text.rpartition(".")[2] in UNIT_TYPES else f"{text}.service"


def parse(text: str) -> UnitState:
    """Read what `systemctl show` printed."""
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    code = values.get("ExecMainCode", "0")
    status = values.get("ExecMainStatus", "")
    ended = "" if code == "0" else f"{KILLED.get(code, 'ended with status')} {status}"
    return UnitState(
        name=values.get("Id", ""),
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        result=values.get("Result", ""),
        main_pid=int(values.get("MainPID") or 0),
        restarts=int(values.get("NRestarts") or 0),
        since=int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
        has_job=values.get("Job", "") not in ("", "0"),
        exit=ended,
        unmet_condition=values.get("ConditionResult") == "no",
    )


def judge(state: UnitState, first: UnitState, *, now: float, settle: float) -> Verdict | Undecided:
    """Say whether a unit is up for good, given how it was at our first look."""
    restarted = state.restarts - first.restarts
    if state.load != "loaded":
        sentence = {"not-found": "there is no such unit", "masked": "the unit is masked"}.get(
            state.load, f"the unit could not be loaded ({state.load})"
        )
        return Verdict(outcome=Outcome.FAIL, sentence=sentence)
    if restarted >= LOOP:
        sentence = f"crash loop: restarted {_times(restarted)} while we looked{_how(state)}"
        return Verdict(outcome=Outcome.FAIL, sentence=sentence)
    match state.active:
        case "active":
            return _judge_active(state, now=now, settle=settle)
        case "failed":
            given_up = f"crash loop: given up after {state.restarts} restarts, "
            loop = given_up if state.restarts else ""
            sentence = f"{loop}failed (result '{state.result}'){_how(state)}"
            return Verdict(outcome=Outcome.FAIL, sentence=sentence)
        case "inactive" if not state.has_job:
            why = ", since a condition of it was not met" if state.unmet_condition else ""
            sentence = f"{state.text}, not started{why}" if not state.exit else state.text
            return Verdict(outcome=Outcome.FAIL, sentence=f"{sentence}{_how(state)}")
        case _:
            crashed = f"{_how(state)}" if state.sub == "auto-restart" else ""
            return Undecided(seconds=INTERVAL, sentence=f"still {state.text}{crashed}")


def _judge_active(state: UnitState, *, now: float, settle: float) -> Verdict | Undecided:
    stays = now - state.since
    if stays < settle:
        sentence = f"{state.text}, but does not stay so for {settle:g} s{_restarts(state)}"
        return Undecided(seconds=settle - stays, sentence=sentence, settling=True)
    pid = f", main PID {state.main_pid}" if state.main_pid else ""
    return Verdict(outcome=Outcome.PASS, sentence=f"{state.text}{pid}{_restarts(state)}")


def _how(state: UnitState) -> str:
    return f", its main process {state.exit}" if state.exit else ""


def _restarts(state: UnitState) -> str:
    return f", restarted {_times(state.restarts)}" if state.restarts else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def look(guest: Guest, name: str) -> UnitState:
    """Ask the guest's manager about a unit now."""
    argv = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", name]
    return parse(guest.run(argv, timeout=30).text)


def check(guest: Guest, subject: str, *, settle: float, deadline: Deadline) -> tuple[Outcome, str]:
    """Ask until the answer is final or the deadline passes: outcome, and reason with journal."""
    name = unit_name(subject)
    first = state = look(guest, name)
    extended = False
    while isinstance(answer := judge(state, first, now=time.monotonic(), settle=settle), Undecided):
        if answer.settling and not extended:  # one that came up in time may show that it stays up
            deadline.extend(answer.seconds + INTERVAL)
            extended = True
        if not deadline.wait(answer.seconds):
            sentence = f"{answer.sentence} after {deadline.seconds:g} s"
            answer = Verdict(outcome=Outcome.FAIL, sentence=sentence)
            break
        state = look(guest, name)
    if answer.outcome is Outcome.PASS:
        return answer.outcome, answer.sentence
    evidence = journal(guest, name) if state.load == "loaded" else ""
    return answer.outcome, "\n".join(part for part in (answer.sentence, evidence) if part)


def journal(guest: Guest, name: str) -> str:
    """Return the last lines of a unit's journal."""
    argv = ["journalctl", f"--unit={name}", f"--lines={JOURNAL_LINES}", "--no-pager", "--quiet"]
    return guest.run([*argv, "--output=short"], ok=(0, 1), timeout=30).text
