"""What a step must not take away: each function here finds one kind of loss.

All are pure: they compare the state of a guest before a step with the state right after its
command. What the step's documented duty changes is no loss.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe.ask.unitstate import ENABLED, is_template, template_of
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.state import GuestState

NOT_ENABLED = ("disabled", "masked", "masked-runtime", "bad")
DOWN = ("inactive", "failed")
GENERATORS = re.compile(r"/(usr/lib|etc|usr/local/lib)/systemd/system-generators/.+")
WANTED = re.compile(
    r"/(?:etc|usr/lib|lib)/systemd/system/(?P<starter>[^/]+)\.(?:wants|requires)/(?P<unit>[^/]+)"
)
"""A link by which one unit starts another, systemd.unit(5)."""
STAYS_DONE = "what it has done stays done"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a step has changed."""

    step: StepName
    before: GuestState
    now: GuestState
    first: GuestState
    """The state before the first step."""
    busy: frozenset[str] = frozenset()
    """The units that had processes before the step."""
    only_masks: bool = False
    """Whether units of the packages need not be as before, except that none may be masked."""

    @property
    def leaves(self) -> bool:
        """Whether the packages are not installed now."""
        return self.step in (StepName.REMOVE, StepName.PURGE)

    @property
    def left(self) -> frozenset[str]:
        """The other packages that the step has removed, with what they clean up."""
        before, now = self.before.listed, self.now.listed
        return frozenset(before.versions) - frozenset(now.versions) - before.names - now.names

    @property
    def since(self) -> float:
        """The moment since which a start of a unit is that of the step.

        A package that is installed again has a past, and systemd may remember it.
        """
        return self.before.moment if self.step is StepName.INSTALL_AGAIN else 0.0

    def keeps_work(self, unit: UnitState) -> bool:
        """Whether a unit's work is still done if the step has stopped it.

        A reboot undoes it, and to do it again is the duty of an installation.
        """
        is_left = self.step not in (StepName.REBOOT, StepName.INSTALL_AGAIN)
        return is_left and unit.outlasts_stop and not {unit.name, *unit.names} & self.busy

    def is_own(self, unit: UnitState) -> bool:
        """Whether a unit belongs to the packages under test.

        So does one whose program they own. A unit that no package owns belongs to them if it came
        with them, unless a generator has made it from what they do not own: then it belongs to
        those who ship the generator.
        """
        owners = (self.before.listed.own, self.now.listed.own)
        if any(own.owns(name) for own in owners for name in (unit.name, *unit.names)):
            return True
        if any({path, f"/usr{path}"} & own.paths for own in owners for path in unit.programs):
            return True
        file = unit.source if unit.file_state == "generated" and unit.source else unit.file
        if unit.name in self.first.units or unit.name in self.first.snapshot.unit_files:
            return False
        if {file, f"/usr{file}"} & (self.before.listed.paths | self.now.listed.paths):
            return False
        if file.startswith("/run/systemd/generator"):
            return any(GENERATORS.fullmatch(path) for own in owners for path in own.paths)
        return True

    def is_left(self, unit: UnitState) -> bool:
        """Whether a unit belongs to a package that the step has removed, as an instance may."""
        names = {unit.name, *unit.names, template_of(unit.name)}
        return bool(names & self.before.listed.units) and not names & self.now.listed.units

    def state_of(self, unit: UnitState) -> UnitState:
        """Return the state of a unit now; the manager forgets a unit that nothing needs."""
        names = (unit.name, *unit.names)
        if found := next((self.now.units[name] for name in names if name in self.now.units), None):
            return found
        files = self.now.snapshot.unit_files
        there = [name for name in (*names, template_of(unit.name)) if name in files]
        return replace(
            unit,
            load="loaded" if there else "not-found",
            active="inactive",
            sub="dead",
            result="success",
            main_pid=0,
            has_job=False,
            file_state=next(
                (files[name] or unit.file_state for name in names if name in files), ""
            ),
        )


def find(change: Change, owner: Callable[[UnitState], str]) -> list[CheckResult]:
    """Return everything that a step has taken away.

    `owner` names the package that owns the file of a unit.
    """
    return [
        *lost_accounts(change),
        *lost_unit_files(change),
        *lost_states(change, owner),
        *lost_names(change),
        *lost_rules(change),
        *lost_shell(change),
    ]


def loss(subject: str, reason: str, *, kind: CheckKind = CheckKind.SYSTEM) -> CheckResult:
    """Return the answer about something that is lost."""
    return CheckResult(
        kind=kind, subject=subject, outcome=Outcome.FAIL, reason=reason, seconds=0, discovered=True
    )


def with_units_of(state: GuestState, earlier: GuestState) -> GuestState:
    """Return a state in which the units of the packages are as they were in an earlier one."""
    own = earlier.listed.own
    units = {name: unit for name, unit in earlier.units.items() if own.owns(unit.name)}
    return replace(state, units=state.units | units, listed=replace(state.listed, own=own))


def lost_accounts(change: Change) -> Iterator[CheckResult]:
    """Users and groups; a removal may delete those that came with the packages."""
    before, now = change.before.snapshot.identities, change.now.snapshot.identities
    for account, number in before.items():
        if change.leaves and account not in change.first.snapshot.identities:
            continue
        if account not in now and change.left:
            continue
        if account not in now:
            reason = f"{account} existed before the {change.step}, but not after it"
        elif now[account] != number:
            reason = f"{account} had the ID {number} before the {change.step}, now {now[account]}"
        else:
            continue
        yield loss("users and groups stay", reason)


def lost_unit_files(change: Change) -> Iterator[CheckResult]:
    """Files of units, unless their owner is gone or ships them no longer."""
    before, now = change.before, change.now
    own = before.listed.own.units | now.listed.own.units
    for name, state in before.snapshot.unit_files.items():
        if name in now.snapshot.unit_files or state in ("alias", "generated", "transient"):
            continue
        if name in now.listed.units:
            whose = "the packages ship it" if name in own else "its package is installed"
            reason = f"{whose}, but its file is gone after the {change.step}"
        elif (
            change.left
            or name in before.listed.units
            or name not in change.first.snapshot.unit_files
        ):
            continue
        else:
            reason = f"its file, which no package owns, is gone after the {change.step}"
        yield loss(name, reason, kind=CheckKind.UNIT)


def lost_states(change: Change, owner: Callable[[UnitState], str]) -> Iterator[CheckResult]:
    """Whether units are enabled and run.

    Units of others are judged if the administrator or their package has enabled them. A reboot
    tells about those nothing, as nobody has rebooted without the packages.

    A stopped unit whose work stays done is reported, as a skip.
    """
    for unit in {state.name: state for state in change.before.units.values()}.values():
        if is_template(unit.name):
            continue
        names = {unit.name, *unit.names}
        if names & change.before.listed.units and not names & change.now.listed.units:
            continue  # nobody ships it any more
        now = change.state_of(unit)
        is_own = change.is_own(unit)
        if is_own and change.leaves:
            continue
        is_done = change.keeps_work(unit)
        moment = change.before.moment
        reason = describe_loss(unit, now, change.step, since=moment, is_done=is_done)
        if change.step is StepName.REBOOT and _is_unreached(now, change.now):
            continue
        if is_own and is_done and not reason:
            if stop := describe_loss(unit, now, change.step, since=moment):
                told = loss(unit.name, f"{stop}; {STAYS_DONE}", kind=CheckKind.UNIT)
                yield replace(told, outcome=Outcome.SKIP)
            continue
        if not reason or (is_own and change.only_masks and now.load != "masked"):
            continue
        if change.leaves and not _was_up(change.first, unit):
            continue  # it came up with the packages
        if is_own:
            yield loss(unit.name, reason, kind=CheckKind.UNIT)
        elif unit.file_state in ENABLED and change.step is not StepName.REBOOT:
            rivals = [change.now.units.get(name) for name in unit.conflicts]
            if any(rival and rival.active == "active" for rival in rivals):
                continue  # to replace it is the duty of the other one
            yield _loss_of_others(change, unit, reason, owner(unit))


def _is_unreached(unit: UnitState, now: GuestState) -> bool:
    """Whether only units that a boot has not reached would start a unit.

    systemd forgets who wants a unit while it has no use for them, so links are looked at as well.
    """
    if unit.active != "inactive":
        return False
    names = {unit.name, *unit.names}
    paths = (path for path, file in now.written.items() if file.kind is FileKind.LINK)
    links = filter(None, map(WANTED.fullmatch, paths))
    starters = {*unit.wanted_by, *(link["starter"] for link in links if link["unit"] in names)}
    return bool(starters) and not starters & now.snapshot.units


def _was_up(state: GuestState, unit: UnitState) -> bool:
    there = (state.units.get(name) for name in (unit.name, *unit.names))
    return any(found is not None and found.active not in DOWN for found in there)


def _loss_of_others(change: Change, unit: UnitState, reason: str, owner: str) -> CheckResult:
    old, new = (state.listed.versions.get(owner) for state in (change.before, change.now))
    found = loss(unit.name, reason, kind=CheckKind.UNIT)
    if owner and old != new:
        why = f"it belongs to '{owner}', which came or went in the same step"
        return replace(found, outcome=Outcome.SKIP, reason=f"{reason}; {why}")
    whose = f"it belongs to '{owner}'" if owner else "no package owns it"
    return replace(found, reason=f"{reason}; {whose}, not to the packages under test")


def describe_loss(
    before: UnitState,
    now: UnitState,
    step: StepName,
    *,
    since: float = 0.0,
    is_done: bool = False,
) -> str:
    """Describe how a step that began `since` has harmed a unit; '' if it has not.

    A unit that no longer exists is not harmed. If `is_done` says that its work stays done, a stop
    does not harm it either.
    """
    if now.load == "not-found":
        return ""
    is_back = step is StepName.INSTALL_AGAIN
    when, it = ("the removal", f"the {step}") if is_back else (f"the {step}", "it")
    if before.active == "active" and now.active in DOWN and not now.has_job:
        verb = "ran" if before.main_pid else f"was {before.text}"
        is_whole = is_done and before.sub == "exited" and now.active != "failed"
        if not is_whole and not _is_at_rest(before, now, since):
            return f"{verb} before {when}, but was {now.text} right after {it}"
    if before.file_state in ENABLED and now.file_state in NOT_ENABLED:
        return f"was enabled before {when}, but is {now.file_state} after {it}"
    if now.load == "masked" and before.load != "masked":
        return f"was {before.text} before {when}, but is masked after {it}"
    return ""


def _is_at_rest(before: UnitState, now: UnitState, since: float) -> bool:
    """Whether a unit is down by its own nature: it waits, has done its work, or must not start."""
    if now.active == "failed" or now.result not in ("", "success"):
        return False
    on_demand = not before.wanted_by and (before.file_state == "static" or before.is_of_bus)
    has_ended = now.started > since and now.exit.endswith("status 0")
    return bool(now.triggered_by) or now.unmet_condition or on_demand or has_ended


def lost_names(change: Change) -> Iterator[CheckResult]:
    """The state of a unit across a rename of the unit, or of its package.

    If units are gone and others of the same type have come in their place, these must run and be
    enabled as those were. One of them suffices.
    """
    if change.leaves:
        return
    old, new = change.before.listed.own, change.now.listed.own
    files = change.now.snapshot.unit_files
    gone, come = defaultdict(list), defaultdict(list)
    for name in sorted(old.units - new.units - change.now.listed.units):
        if name in change.before.units:
            gone[_type(name)].append(change.before.units[name])
    for name in sorted(new.units - old.units):
        if not is_template(name) and files.get(name, "alias") not in ("alias", "indirect"):
            come[_type(name)].append(name)
    for kind, names in come.items():
        states = [change.now.units.get(name) for name in names]
        is_up = any(state and (state.active not in DOWN or state.has_job) for state in states)
        is_enabled = any(files[name] not in NOT_ENABLED for name in names)
        for unit in gone[kind]:
            was = [
                *(["ran"] if unit.active == "active" and not is_up else []),
                *(["was enabled"] if unit.file_state in ENABLED and not is_enabled else []),
            ]
            if was:
                now = f"{'' if is_up else 'does not run and '}is {files[names[0]]}"
                reason = f"{unit.name}, which {' and '.join(was)} before the {change.step}, is gone"
                reason += f", and this unit in its place {now}"
                yield loss(names[0], reason, kind=CheckKind.UNIT)
                break


def _type(name: str) -> str:
    return name.rpartition(".")[2]


def lost_rules(change: Change) -> Iterator[CheckResult]:
    """Diversions and overrides of owners that were there before the packages."""
    before = frozenset() if change.left else change.before.rules & change.first.rules
    for rule in sorted(before - change.now.rules):
        yield loss(
            "diversions and overrides of others stay", f"gone after the {change.step}: {rule}"
        )


def lost_shell(change: Change) -> Iterator[CheckResult]:
    """A login shell."""
    if change.before.has_shell and not change.now.has_shell:
        reason = f"`sh -lc true` fails after the {change.step}, and did not before it"
        yield loss("a login shell starts", reason)
