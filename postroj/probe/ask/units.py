"""Is a unit up, does it stay up, and can it do what it is for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask import journal, knock, sockets
from postroj.probe.ask.judge import Verdict, failed, passed, unloaded, watch
from postroj.probe.ask.unitstate import look_all, unit_name, unmet
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline
    from postroj.probe.ask.unitstate import UnitState


def check(guest: Guest, subject: str, *, settle: float, deadline: Deadline) -> tuple[Outcome, str]:
    """Ask until the answer is final or the deadline passes: outcome, and reason with journal."""
    name = unit_name(subject)
    answer, state = watch(guest, name, settle=settle, deadline=deadline)
    if answer.outcome is Outcome.PASS:
        answer = _look_behind(guest, state, answer, settle, deadline)
    elif state.load == "loaded":
        answer = _name_unmet(guest, state, answer)
    if answer.outcome is not Outcome.FAIL:
        return answer.outcome, answer.sentence
    evidence = journal.last(guest, name) if state.load == "loaded" else ""
    return answer.outcome, "\n".join(part for part in (answer.sentence, evidence) if part)


def _look_behind(
    guest: Guest, state: UnitState, answer: Verdict, settle: float, deadline: Deadline
) -> Verdict:
    """See whether what is active can do what it is for, and say where it listens."""
    if state.is_stale:
        return failed(f"{answer.sentence}, but its file has changed, with no daemon-reload since")
    if state.is_sysv and state.sub == "exited" and (trouble := ask_script(guest, state.source)):
        return failed(f"{answer.sentence}, but {trouble}")
    if state.triggers and not state.accept:
        for triggered in look_all(guest, state.triggers):
            if triggered.load != "loaded":
                return failed(
                    f"{answer.sentence}, but of its {triggered.name}: {unloaded(triggered)}"
                )
    if state.name.endswith(".socket"):
        return knock.knock(guest, state, answer, settle=settle, deadline=deadline)
    heard = sockets.addresses(sockets.of_units(sockets.listening(guest), state.names))
    return passed(f"{answer.sentence}, listens on {heard}") if heard else answer


def _name_unmet(guest: Guest, state: UnitState, answer: Verdict) -> Verdict:
    what = "Conditions" if state.unmet_condition else "Asserts" if state.unmet_assertion else ""
    found = unmet(guest, state.name, what) if what and state.active == "inactive" else []
    if not found:
        return answer
    return Verdict(outcome=answer.outcome, sentence=f"{answer.sentence}: {', '.join(found)}")


def ask_script(guest: Guest, path: str) -> str:
    """Ask a SysV script whether what it started is still there; what is wrong, or ''.

    The manager calls a unit of a script that ended well active for good, whatever became of its
    daemon. A script that knows no `status` is not asked. Statuses are those of the LSB.
    """
    script = 'grep -q "status)" "$1" || exit 0; exec "$1" status'
    env = {"SYSTEMCTL_SKIP_REDIRECT": "1", "_SYSTEMCTL_SKIP_REDIRECT": "1"}
    argv = ["sh", "-c", script, "sh", path]
    done = guest.run(argv, ok=range(256), timeout=30, env=env)
    if done.status in (1, 2, 3):
        return f"'{path} status' says that it does not run (status {done.status})"
    return ""
