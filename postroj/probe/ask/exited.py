"""Judge a service that systemd calls `active (exited)`: is its daemon dead, or was there none?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import CommandTimeout
from postroj.probe.ask import journal
from postroj.probe.ask.judge import Decided, failed, passed, skipped

if TYPE_CHECKING:
    from postroj.container.guest import Guest, Process
    from postroj.probe.ask.unitstate import UnitState

SESSIONS = ("session-", "user@")
"""Beginnings of the units to which su(1) moves what a script starts by it, pam_systemd(8)."""
DEAD = (1, 2)
"""Statuses by which a script says that its daemon is dead and has left a PID or lock file."""
STOPPED = 3
"""Status by which a script says that its daemon does not run, without a trace of it."""
WITHOUT_PROCESS = "its SysV script has left no process"
"""How a script passes that may have had something to do, or nothing."""
IDLE = {f"{folder}/true" for folder in ("/bin", "/usr/bin")}
"""Programs of services that only hold others together, as a target does."""
NO_ACTION = "no-such-action"
"""An action that a script refuses if it reads its action."""
NOTHING = "its SysV script has started nothing, its configuration may switch it off"
ENDLESS = 124
"""Stands for the status of an action that does not end, as with timeout(1)."""
PATIENCE = 10.0
"""Seconds for an action of a script."""
TRACES = Path(__file__).with_name("traces.sh").read_text()
START = 2.0
"""Seconds after which a script that has ended, or its daemon, writes no PID file any more."""


def judge(guest: Guest, state: UnitState, answer: Decided) -> Decided | None:
    """Judge a service in the state `active (exited)`; None if that is a good state for it.

    A oneshot service has done its work. systemd keeps other services without a process in that
    state for ever (RemainAfterExit=, SysV scripts), also when their daemon has died. Units that
    wrap a script, as rc-local.service does, may have none at all.
    """
    if not state.name.endswith(".service"):
        return None
    if state.kind == "oneshot":
        is_idle = state.programs and {*state.programs} <= IDLE
        return passed(f"{answer.sentence}, its command does nothing") if is_idle else None
    if any(_may_be_its(process, state) for process in guest.processes()):
        return None
    if state.is_sysv:
        return _judge_script(guest, state, answer)
    if state.changed <= state.since:  # there never was a process
        if not state.has_daemon:
            return skipped(f"{answer.sentence}, its script has started nothing (GuessMainPID=no)")
        if state.kind == "forking":
            return skipped(f"{answer.sentence}, its command has started no daemon")
    how = f", its main process {state.exit}" if state.exit else ""
    work = "" if state.kind == "forking" else "; a service that does its work and ends is a oneshot"
    return failed(f"{answer.sentence}, but none of its processes is left{how}{work}")


def _may_be_its(process: Process, state: UnitState) -> bool:
    """Whether a process is in the unit, or in a login session that is younger than the unit."""
    if process.unit.startswith(SESSIONS):
        return process.started >= state.started
    return process.unit in state.names


def _judge_script(guest: Guest, state: UnitState, answer: Decided) -> Decided:
    """Judge a SysV script without a process, by what it says and by traces of a daemon.

    systemd goes from `running` to `exited` only if there was a process, so its state then is
    younger than its being active.
    """
    answered = ask_script(guest, state.source)
    status = answered[0] if answered else None
    if status == 0:
        return _judge_work(guest, state, answer, answered)
    ended = f"{answer.sentence}, but its daemon has ended"
    knows = status in (*DEAD, STOPPED)
    does = "reports that it is not running (status {})" if knows else "ends with status {}"
    does = "does not end" if status == ENDLESS else does.format(status)
    said = f"'{state.source} status' {does}"
    if state.changed > state.since + START:  # whether an earlier end is seen at all is chance
        return failed(f"{ended}; {said}" if knows else ended)
    if traces := _traces(guest, state):
        left = f"its daemon has left {traces}"
        return failed(f"{answer.sentence}, but {said}; {left}" if knows else f"{ended}: {left}")
    if status is None:
        return _judge_work(guest, state, answer, answered)
    if knows and journal.errors(guest, [state.name], journal.wall_time(state.started)):
        return failed(f"{answer.sentence}, but {said}, and it has logged errors")
    lines = journal.last(guest, state.name)
    sentence = f"{NOTHING}; {said}"
    return skipped("\n".join(part for part in (sentence, lines) if part))


def _judge_work(
    guest: Guest, state: UnitState, answer: Decided, answered: tuple[int, str] | None
) -> Decided:
    """Judge a script without a daemon: has it read its action, or did it end before?"""
    if not _ignores_action(guest, state.source, answered):
        return passed(f"{answer.sentence}, {WITHOUT_PROCESS}")
    return skipped(f"{NOTHING}; '{state.source}' accepts an action that does not exist")


def _ignores_action(guest: Guest, path: str, answered: tuple[int, str] | None) -> bool:
    """Whether a script does the same for an action that does not exist.

    The output counts, too: many a script that prints its usage ends with 0.
    """
    nonsense = run_script(guest, path, NO_ACTION)
    return nonsense == answered if answered else nonsense[0] == 0 and "sage" not in nonsense[1]


def _traces(guest: Guest, state: UnitState) -> str:
    """Return the PID files that a script's start has written and whose process is gone."""
    moments = (state.started, state.since + START)
    texts = [f"{journal.wall_time(moment):.6f}" for moment in moments]
    argv = ["sh", "-c", TRACES, "sh", *texts, state.source]
    return ", ".join(guest.run(argv, ok=range(256), timeout=30).text.split())


def ask_script(guest: Guest, path: str) -> tuple[int, str] | None:
    """Run the action `status` of a SysV script; return None if the script has none.

    Return its exit status, which the LSB defines, and its output, see `run_script`.
    """
    if guest.run(["grep", "-q", "status)", path], ok=range(256), timeout=PATIENCE).status:
        return None
    return run_script(guest, path, "status")


def run_script(guest: Guest, path: str, action: str) -> tuple[int, str]:
    """Run an action of a SysV script, and keep systemctl from taking it over.

    Return its exit status, `ENDLESS` if it does not end, and its output.
    """
    env = {"SYSTEMCTL_SKIP_REDIRECT": "1", "_SYSTEMCTL_SKIP_REDIRECT": "1"}
    try:
        done = guest.run([path, action], ok=range(256), timeout=PATIENCE, env=env)
    except CommandTimeout:
        return ENDLESS, ""
    return done.status, done.output
