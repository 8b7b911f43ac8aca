"""Take the step `start`: start what the packages bring and have not started, as their user would.

Where a distribution starts nothing by policy, as with rpm and pacman, such a unit must come up.
Where not starting is the exception, as with apt, starting it is a trial: a unit that gives up may
want configuration first, unless it cannot be started whatever its configuration is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.container.manager import systemctl
from postroj.probe import giving_up
from postroj.probe.ask import ports, sockets
from postroj.probe.ask.checks import NEW_FAILURES
from postroj.probe.ask.unitstate import UP, is_template, read_states, unit_name
from postroj.probe.discover.discover import NOT_ENABLED
from postroj.probe.excuse import container
from postroj.probe.managers import manager_of
from postroj.probe.startable import choose, is_idle, without_rivals
from postroj.verdict import CheckKind, Outcome, StepName, Why

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from postroj.container.guest import Guest
    from postroj.model import Image
    from postroj.probe.compare.state import Before
    from postroj.probe.discover.discover import Brought
    from postroj.probe.plan import Plan
    from postroj.verdict import CheckResult

LIMIT = 32
"""Maximum number of units to start."""
PATIENCE = 120.0
"""Timeout of one systemctl command, in seconds; a unit has 90 s to stop."""
UNTRIED = "the step `start` would start it, but is not taken (--start)"
PUT_BACK = "gave up when postroj started it, so postroj disabled it again"
HOW = "started by postroj, not by the installation"


class Starter:
    """Takes the step `start` in a guest, and judges what came of it."""

    def __init__(self, guest: Guest, image: Image, plan: Plan) -> None:
        self._guest = guest
        self._manager = manager_of(image.manager)
        self._plan = plan
        self._is_trial = self._manager.starts_units and not plan.must_start
        self._chosen: list[str] = []
        self._up = 0
        """Number of the packages' units that the installation has started."""
        self._enabled: list[str] = []
        self._started: dict[str, str] = {}
        """The real names of the units that were started, by each of their names."""
        self._ran: set[str] = set()
        """The names of the units that ran before the step."""
        self._gave_up: set[str] = set()
        """The real names of started units that were put back."""
        self._must_reload = False
        self._refusals: dict[str, str] = {}
        """What systemctl printed about units that it refused to enable or start."""

    @property
    def waits(self) -> bool:
        """Whether there is a unit to start."""
        return bool(self._chosen)

    @property
    def enabled(self) -> tuple[str, ...]:
        """The units that were enabled, which the installation had left disabled."""
        return tuple(self._enabled)

    def look(
        self, brought: Brought | None, packages: Sequence[str], *, retry: bool = False
    ) -> None:
        """Choose the units to start, after the installation or a change of configuration."""
        found = brought.states if brought else ()
        own: frozenset[str] = brought.payload.all_units if brought else frozenset()
        self._up = sum(bool(own & {*state.names} and state.started) for state in found)
        questions = brought.questions if brought else ()
        faulty = {question.subject for question in questions if question.fault}
        if self._plan.start_units:
            named = map(unit_name, self._plan.start_units)
            self._chosen = [name for name in named if name not in faulty]
            return
        names = [name for name in choose(found, own, retry=retry) if name not in faulty]
        if names:
            up = {name for state in found if state.active in UP for name in state.names}
            names.sort(key=lambda name: (name.rpartition(".")[0] not in packages, name))
            conflicts = self._conflicts(names) if len(names) > 1 or up & own else {}
            names = without_rivals(names, conflicts, up & own)[:LIMIT]
        self._chosen = [*names, *self._named({*names}, faulty)]

    def _named(self, chosen: Collection[str], faulty: Collection[str]) -> list[str]:
        """Return the idle units that the user's questions name; the installation may start them.

        Those that are `chosen` or `faulty` are left out.
        """
        asked = [
            unit_name(question.subject)
            for question in self._plan.questions
            if question.kind is CheckKind.UNIT and question.since is not StepName.INSTALL
        ]
        names = [name for name in asked if not is_template(name) and name not in chosen]
        states = read_states(self._guest, names) if names else []
        idle = [state.name for state in states if is_idle(state, retry=False)]
        return [name for name in idle if name not in faulty]

    def _conflicts(self, names: Sequence[str]) -> dict[str, set[str]]:
        shown = self._show(names, "Conflicts", "ConflictedBy")
        return {name: giving_up.names_of(pairs) for name, pairs in shown.items()}

    def start(self) -> str:
        """Enable and start the chosen units; return a sentence about that."""
        if not self._chosen:
            count = self._up
            units = f"{count} unit{'s'[: count != 1]}"
            return (
                f"nothing to start, {units} started by the installation"
                if count
                else "nothing to start"
            )
        states = {state.name: state for state in read_states(self._guest, self._chosen)}
        self._started = {
            name: state.name for state in states.values() for name in (state.name, *state.names)
        }
        self._enabled = [s.name for s in states.values() if s.file_state == "disabled"]
        if self._enabled:
            self._systemctl("enable", *self._enabled)
        self._systemctl("start", "--no-block", *states)
        return f"{', '.join(states)}: not started by the installation"

    def start_again(self) -> None:
        """Enable and start what the step has started, after the package was removed and installed.

        The installation itself is judged by what it had started the first time.
        """
        names = sorted({*self._started.values()} - self._gave_up)
        states = read_states(self._guest, names) if names else []
        self._enabled = [state.name for state in states if state.file_state == "disabled"]
        if self._enabled:
            self._systemctl("enable", *self._enabled)
        if names:
            self._systemctl("start", "--no-block", *names)

    def _systemctl(self, verb: str, *words: str) -> None:
        options = [word for word in words if word.startswith("-")]
        names = [word for word in words if not word.startswith("-")]
        argv = ["systemctl", "--quiet", verb, *options, "--", *names]
        done = self._guest.run(argv, ok=range(256), timeout=PATIENCE)
        if done.status:
            for name in names:
                lines = [line for line in done.output.splitlines() if name in line]
                if lines:
                    self._refusals[name] = lines[-1].strip()

    def judged(self, check: CheckResult, step: StepName, before: Before) -> CheckResult:
        """Return the answer to a question after a step, in the light of what was started."""
        if step is StepName.START:
            self._ran = {name for name, unit in before.units.items() if unit.active in UP}
        if check.kind is CheckKind.UNIT:
            unit = unit_name(check.subject)
            if step is StepName.START:
                return self._judge_unit(unit, check, before)
            if unit in self._gave_up and check.outcome is Outcome.FAIL:
                return self._judge_failure(unit, check)
            if unit in self._gave_up and check.reason == NOT_ENABLED:
                return replace(check, reason=PUT_BACK)
            if StepName.START not in self._plan.steps and _is_idle_failure(check):
                return replace(check, reason=_with_end(check.reason, UNTRIED))
        if step is not StepName.START or not self._started:
            return check
        if check.kind is CheckKind.NETWORK and check.outcome is Outcome.PASS:
            return self._judge_answer(check)
        is_failure = check.subject == NEW_FAILURES and check.outcome is Outcome.FAIL
        return self._judge_failures(check, before) if is_failure and self._is_trial else check

    def _judge_unit(self, unit: str, check: CheckResult, before: Before) -> CheckResult:
        name = self._started.get(unit)
        if name is None and self._is_trial and check.discovered and not _ran(before, unit):
            name = unit  # perhaps one that postroj started has started it
        if name is None:
            return check
        refusal = self._refusals.get(name, "")
        match check.outcome:
            case Outcome.PASS if unit in self._started:
                end = f"{HOW}; {refusal}" if refusal else HOW
                return replace(check, reason=_with_end(check.reason, end), started=True)
            case Outcome.SKIP if refusal:
                return self._judge_refusal(check, refusal)
            case Outcome.SKIP if check.needs:
                self._put_back(name)
                return check
            case Outcome.FAIL:
                return self._judge_failure(name, replace(check, started=True))
            case _:
                return check

    def _judge_answer(self, check: CheckResult) -> CheckResult:
        """Say who started the service behind an address."""
        holders = {word.rstrip(",") for word in check.reason.split()}
        if not check.discovered:
            port = ports.endpoint(check.subject).port
            found = sockets.listening(self._guest)
            holders = {socket.unit for socket in found if socket.entry.port == port}
        if holders & self._started.keys():
            return replace(check, reason=_with_end(check.reason, HOW), started=True)
        return check

    def _judge_refusal(self, check: CheckResult, refusal: str) -> CheckResult:
        """Judge a unit that systemctl refuses to enable or start."""
        if self._is_trial or "refused" in refusal:
            return replace(check, reason=f"it was not started: {refusal}")
        return replace(check, outcome=Outcome.FAIL, reason=f"cannot be started: {refusal}")

    def _judge_failure(self, name: str, check: CheckResult) -> CheckResult:
        """Judge a unit that did not come up; put it back if it is not held against the package."""
        sentence, *journal = check.reason.splitlines()
        shown = self._show(_with_triggers(self._guest, name), *giving_up.PROPERTIES)
        pairs = [pair for values in shown.values() for pair in values]
        if what := giving_up.missing(pairs, journal):
            return replace(check, reason=_with_end(check.reason, f"{what} is missing, {HOW}"))
        has_rivals = len({*self._started.values()}) > 1
        why = giving_up.excuse(pairs, journal, has_rivals=has_rivals)
        why = why or ("it may want configuration" if self._is_trial else "")
        if not why or not check.discovered:
            return replace(check, reason=_with_end(check.reason, HOW))
        excused = container.excused_check(self._guest, check)
        self._put_back(name)
        if excused.needs:
            return excused
        last = f": {said}" if (said := giving_up.last_words(journal)) else ""
        reason = f"gave up when postroj started it, {why}{last}; {sentence}"
        return replace(
            check,
            outcome=Outcome.SKIP,
            why=Why.CONFIGURATION,
            reason="\n".join([reason, *journal]),
        )

    def _judge_failures(self, check: CheckResult, before: Before) -> CheckResult:
        """Judge failed units that nobody asked about, such as helpers of a unit on trial."""
        failed = {*self._guest.failed_units()} - {*before.failed}
        if not failed or any(name in self._started or _ran(before, name) for name in failed):
            return check
        for name in failed:
            self._put_back(name)
        reason = f"{', '.join(sorted(failed))} failed after postroj started other units"
        return replace(
            check,
            outcome=Outcome.SKIP,
            why=Why.CONFIGURATION,
            reason="\n".join(
                [f"{reason}; they may want configuration", *check.reason.splitlines()]
            ),
        )

    def _put_back(self, name: str) -> None:
        """Stop and disable a unit and what it triggers: no later step meets a failed one.

        What the installation has enabled or started stays so.
        """
        names = [one for one in _with_triggers(self._guest, name) if one not in self._ran]
        off = [name] if name in self._enabled else []
        for verb, some in (("disable", off), ("stop", names), ("reset-failed", names)):
            if not some:
                continue
            # a reload would lose the exit statuses of units that are still to be judged
            argv = ["systemctl", "--quiet", "--no-reload", verb, "--", *some]
            self._guest.run(argv, ok=range(256), timeout=PATIENCE)
        self._enabled = [other for other in self._enabled if other != name]
        self._gave_up.add(name)
        self._must_reload = True

    def end(self) -> None:
        """Let the manager forget the links of disabled units, once all answers are known."""
        if self._must_reload:
            self._guest.run(["systemctl", "daemon-reload"], ok=range(256), timeout=PATIENCE)
            self._must_reload = False

    def before_leaving(self) -> None:
        """Disable and stop what was enabled, as far as users do before they remove a package."""
        if not self._enabled or not self._manager.user_disables:
            return
        now = ["--now"] if self._manager.user_stops else []
        argv = ["systemctl", "--quiet", "disable", *now, "--", *self._enabled]
        self._guest.run(argv, ok=range(256), timeout=PATIENCE)
        self._enabled = []

    def _show(self, names: Sequence[str], *properties: str) -> dict[str, giving_up.Pairs]:
        words = ["show", f"--property={','.join(('Id', *properties))}", "--", *names]
        shown = systemctl(self._guest.run, words, ok=range(256), timeout=60)
        return giving_up.parse(shown.text)


def _ran(before: Before, name: str) -> bool:
    """Whether a unit was ever started before the step."""
    state = before.units.get(name)
    return state is not None and state.started > 0


def _is_idle_failure(check: CheckResult) -> bool:
    """Whether a unit that the user asked about fails because nobody has started it."""
    sentence = check.reason.partition("\n")[0]
    is_idle = sentence.endswith("(dead), not started")
    return check.outcome is Outcome.FAIL and not check.discovered and is_idle


def _with_triggers(guest: Guest, name: str) -> list[str]:
    (state,) = read_states(guest, [name])
    return [name, *state.triggers]


def _with_end(reason: str, phrase: str) -> str:
    """Add a phrase to the sentence of a reason, before its evidence."""
    sentence, *evidence = reason.splitlines() or [""]
    return "\n".join([f"{sentence}; {phrase}" if sentence else phrase, *evidence])
