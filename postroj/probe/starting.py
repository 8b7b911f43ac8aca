"""Take the step `start`: start what the packages bring and have not started, as their user would.

Where a distribution starts nothing by policy, as with rpm and pacman, such a unit must come up.
Where not starting is the exception, as with apt, starting it is a trial: a unit that gives up may
want configuration first, unless it cannot be started whatever its configuration is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask.checks import NEW_FAILURES
from postroj.probe.ask.unitstate import is_template, read_states, unit_name
from postroj.probe.managers import manager_of
from postroj.probe.startable import UP, choose, is_idle, without_rivals
from postroj.verdict import CheckKind, Outcome, StepName, Why

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from postroj.container.guest import Guest
    from postroj.model import Image
    from postroj.probe.discover.discover import Brought
    from postroj.probe.judging import Before
    from postroj.probe.plan import Plan
    from postroj.verdict import CheckResult

LIMIT = 32
"""Maximum number of units to start."""
PATIENCE = 120.0
"""Timeout of one systemctl command, in seconds; a unit has 90 s to stop."""
HOPELESS = {
    200: "its working directory",
    203: "its program or interpreter",
    210: "its root directory",
    216: "its group",
    217: "its user",
    226: "a path of its sandbox",
    127: "a command or library",
}
"""Exit statuses that mean that something is missing which no configuration of the program adds.

systemd.exec(5), and for 127 what a shell and the dynamic linker do.
"""
MISSING = "No such file or directory"
UNCONFIGURED = {6: "LSB: not configured", 78: "EX_CONFIG"}
"""Exit statuses by which a program reports that it is not configured, systemd.exec(5)."""
IN_USE = re.compile(r"address already in use", re.IGNORECASE)
SAID = re.compile(r"\w{3} +\d+ [\d:]{8} \S+ (?P<said>[^:]+: .*\w.*)")
"""A line of `journalctl` with at least one word."""
EXEC = (
    *("ActiveState", "Type", "Result", "ExecMainCode", "ExecMainStatus"),
    *("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"),
)
EXITED = "1"
"""Value of ExecMainCode for `exited`, wait(2)."""
STATUS = re.compile(r"code=exited ; status=(\d+)")
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
        self._must_reload = False
        self._refusals: dict[str, str] = {}
        """What systemctl printed about units that it refused to enable or start."""

    @property
    def waits(self) -> bool:
        """Whether there is a unit to start."""
        return bool(self._chosen)

    def look(
        self, brought: Brought | None, packages: Sequence[str], *, retry: bool = False
    ) -> None:
        """Choose the units to start, after the installation or a change of configuration."""
        if self._plan.start_units:
            self._chosen = [unit_name(text) for text in self._plan.start_units]
            return
        found = brought.states if brought else ()
        own = _own(brought) if brought else frozenset()
        self._up = sum(bool(own & {*state.names} and state.started) for state in found)
        names = choose(found, own, retry=retry)
        if names:
            up = {name for state in found if state.active in UP for name in state.names}
            names.sort(key=lambda name: (name.rpartition(".")[0] not in packages, name))
            conflicts = self._conflicts(names) if len(names) > 1 or up & own else {}
            names = without_rivals(names, conflicts, up & own)[:LIMIT]
        self._chosen = [*names, *self._named({*names})]

    def _named(self, chosen: Collection[str]) -> list[str]:
        """Return the idle units that the user's questions name; the installation may start them."""
        asked = [
            unit_name(question.subject)
            for question in self._plan.questions
            if question.kind is CheckKind.UNIT and question.since is not StepName.INSTALL
        ]
        names = [name for name in asked if not is_template(name) and name not in chosen]
        states = read_states(self._guest, names) if names else []
        return [state.name for state in states if is_idle(state, retry=False)]

    def _conflicts(self, names: Sequence[str]) -> dict[str, set[str]]:
        found = {}
        for name, values in self._show(names, "Conflicts", "ConflictedBy").items():
            found[name] = {word for _, value in values for word in value.split()}
        return found

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

    def judged(self, check: CheckResult, before: Before) -> CheckResult:
        """Return the answer to a question after the step, in the light of what was started."""
        if check.subject == NEW_FAILURES and check.outcome is Outcome.FAIL and self._is_trial:
            return self._judge_failures(check, before)
        unit = unit_name(check.subject)
        name = self._started.get(unit)
        if name is None and self._is_trial and check.discovered and not _ran(before, unit):
            name = unit  # it was started by one that postroj started
        if check.kind is not CheckKind.UNIT or name is None:
            return check
        refusal = self._refusals.get(name, "")
        match check.outcome:
            case Outcome.PASS:
                end = f"{HOW}; {refusal}" if refusal else HOW
                return replace(check, reason=_with_end(check.reason, end), started=True)
            case Outcome.SKIP if refusal:
                return self._judge_refusal(check, refusal)
            case Outcome.FAIL:
                return self._judge_failure(name, replace(check, started=True))
            case _:
                return check

    def _judge_refusal(self, check: CheckResult, refusal: str) -> CheckResult:
        """Judge a unit that systemctl refuses to enable or start."""
        if self._is_trial or "refused" in refusal:
            return replace(check, reason=f"it was not started: {refusal}")
        return replace(check, outcome=Outcome.FAIL, reason=f"cannot be started: {refusal}")

    def _judge_failure(self, name: str, check: CheckResult) -> CheckResult:
        """Judge a unit that did not come up; put it back if it is not held against the package."""
        sentence, *evidence = check.reason.splitlines()
        shown = self._show(_with_triggers(self._guest, name), *EXEC)
        pairs = [pair for values in shown.values() for pair in values]
        statuses = {int(number) for _, value in pairs for number in STATUS.findall(value)}
        if ("ExecMainCode", EXITED) in pairs:  # outlives a reload, unlike the others
            statuses |= {int(value) for key, value in pairs if key == "ExecMainStatus"}
        if hopeless := _hopeless(statuses, pairs, evidence):
            reason = _with_end(check.reason, f"{hopeless} is missing, {HOW}")
            return replace(check, reason=reason)
        if not check.discovered:
            return replace(check, reason=_with_end(check.reason, HOW))
        wants = self._excuse(statuses, pairs, evidence)
        if not wants:
            return replace(check, reason=_with_end(check.reason, HOW))
        self._put_back(name)
        last = f": {said}" if (said := _last_words(evidence)) else ""
        return replace(
            check,
            outcome=Outcome.SKIP,
            why=Why.CONFIGURATION,
            reason="\n".join(
                [f"gave up when postroj started it, {wants}{last}; {sentence}", *evidence]
            ),
        )

    def _excuse(
        self, statuses: Collection[int], pairs: Sequence[tuple[str, str]], evidence: Sequence[str]
    ) -> str:
        """Return why a unit that did not come up is not held against the package; '' if it is."""
        for status, word in UNCONFIGURED.items():
            if status in statuses:
                return f"its program reports that it is not configured (status {status}, {word})"
        if any(IN_USE.search(line) for line in evidence) and len({*self._started.values()}) > 1:
            return "perhaps an alternative to another unit of the package, whose address it wants"
        if {("Type", "oneshot"), ("ActiveState", "activating")} <= {*pairs}:
            return "still at work"
        return "it may want configuration" if self._is_trial else ""

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
        """Stop and disable a unit and what it triggers: no later step meets a failed one."""
        names = _with_triggers(self._guest, name)
        for verb, some in (("disable", [name]), ("stop", names), ("reset-failed", names)):
            # a reload would lose the exit statuses of units that are still to be judged
            argv = ["systemctl", "--quiet", "--no-reload", verb, "--", *some]
            self._guest.run(argv, ok=range(256), timeout=PATIENCE)
        self._enabled = [other for other in self._enabled if other != name]
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

    def _show(self, names: Sequence[str], *properties: str) -> dict[str, list[tuple[str, str]]]:
        """Return properties of units; one that holds several values occurs several times."""
        argv = ["systemctl", "show", f"--property={','.join(('Id', *properties))}", "--", *names]
        text = self._guest.run(argv, ok=range(256), timeout=60).text
        found = {}
        for block in text.split("\n\n"):
            pairs = [
                (key, value) for key, _, value in (x.partition("=") for x in block.splitlines())
            ]
            found[dict(pairs).get("Id", "")] = [pair for pair in pairs if pair[0] != "Id"]
        return found


def _hopeless(
    statuses: Collection[int], pairs: Iterable[tuple[str, str]], evidence: Sequence[str]
) -> str:
    """Return what is missing so that no configuration lets a unit start; '' if that is not so."""
    if ("Result", "resources") in pairs and any("environment file" in line for line in evidence):
        return "its EnvironmentFile"
    for status, word in HOPELESS.items():
        is_sure = status != 226 or any(MISSING in line for line in evidence)
        if status in statuses and is_sure:
            return word
    return ""


def _ran(before: Before, name: str) -> bool:
    """Whether a unit was ever started before the step."""
    state = before.units.get(name)
    return state is not None and state.started > 0


def _own(brought: Brought) -> frozenset[str]:
    scripts = (f"{name}.service" for name in brought.payload.scripts)
    return frozenset((*brought.payload.units, *scripts))


def _with_triggers(guest: Guest, name: str) -> list[str]:
    (state,) = read_states(guest, [name])
    return [name, *state.triggers]


def _last_words(evidence: Sequence[str]) -> str:
    """Return the last line of a journal that a program has written, without date and host."""
    for line in reversed(evidence):
        match = SAID.fullmatch(line.strip())
        if match and not match["said"].startswith("systemd["):
            return match["said"]
    return ""


def _with_end(reason: str, phrase: str) -> str:
    """Add a phrase to the sentence of a reason, before its evidence."""
    sentence, *evidence = reason.splitlines() or [""]
    return "\n".join([f"{sentence}; {phrase}" if sentence else phrase, *evidence])
