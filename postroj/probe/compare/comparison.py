"""Compare a guest before and after each step, and put into it what the step must keep."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe import operations
from postroj.probe.ask import journal, sockets
from postroj.probe.compare import closed_ports, keepsakes, losses, policy, rested, state
from postroj.probe.compare.bystanders import file_of
from postroj.probe.compare.losses import Change, loss
from postroj.probe.compare.others import disturbed
from postroj.process import last_lines
from postroj.verdict import CheckKind, StepName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.keepsakes import Edit
    from postroj.probe.compare.state import GuestState
    from postroj.probe.managers.base import PackageManager, Shipped
    from postroj.verdict import CheckResult

SHOWN = 20
"""Maximum number of files to name."""
ASKED = 200
"""Maximum number of files of others whose packages are verified."""
PATIENCE = 60.0
INTERVAL = 0.5
BRINGING = (
    *(StepName.INSTALL, StepName.REINSTALL, StepName.UPGRADE, StepName.DOWNGRADE),
    StepName.INSTALL_AGAIN,
)
"""Steps in which the package manager unpacks the packages."""
LEFT_OUT = re.compile(
    r"/usr/share/(doc|man|info|locale|help|gtk-doc|lintian|linda|omf|gnome/help|licenses)/.*",
    re.DOTALL,
)
"""Documentation that an image may tell its package manager not to unpack."""

OWN_FILES = "files of the package are there"
OTHER_FILES = "files of others stay"
PORTS = "ports stay open"
MANAGER = "the package manager works"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What was found right after a step, and what later questions need."""

    change: Change
    found: tuple[CheckResult, ...]
    """Failures, and skips with a reason."""
    shipped: tuple[Shipped, ...]
    """The files of the packages that the step has brought, if the versions differ."""


class Comparison:
    """Compares a guest before and after each step.

    Without `discover` nothing is put into the guest, and only units are compared.
    """

    def __init__(
        self, guest: OwnGuest, manager: PackageManager, *, discover: bool, from_older: bool
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._discover = discover
        self._from_older = from_older
        self.first = state.read(guest, manager, ())
        """Before the first step."""
        self._works = not (discover and self._complaint(with_lists=False))
        """Whether the package manager worked when it was asked last."""
        self._is_under_way = False
        """Whether the first step has been taken."""
        self._installed: GuestState | None = None
        """Before the second step, so after a first installation."""
        self._removed: GuestState | None = None
        """Before the first step that removes the packages."""
        self._last = self.first
        self._edits: list[Edit] = []
        self._folders: list[str] = []
        self._shipped: tuple[Shipped, ...] = ()

    def begin(
        self, step: StepName, names: Sequence[str], *, edits: bool, coming: Sequence[str]
    ) -> GuestState:
        """Read the state before a step; with `edits`, change the configuration before.

        `coming` are the paths of the packages that the step brings, if the versions differ.
        """
        if not self._is_under_way:
            self._is_under_way = True
            return self.first
        guest, before = self._guest, self._read(names, is_listed=True)
        if self._discover:
            self._shipped = tuple(filter(None, map(self._read_shipped, coming)))
            if edits:
                self._edits = keepsakes.edit(guest, before, self.first, self._shipped)
            if step in (StepName.UPGRADE, StepName.REMOVE):
                self._folders = keepsakes.place(guest, before, self.first)
            before = replace(before, written=guest.written())
        self._installed = self._installed or before
        if step in (StepName.REMOVE, StepName.PURGE):
            self._removed = self._removed or before
        return before

    def _before(self, step: StepName, before: GuestState) -> GuestState:
        """Return the state that a step must keep.

        Units of a removed package that is installed again must be as they were after the first
        installation. If another version was installed then, only a mask may not stay.
        """
        installed = self._removed if self._from_older else self._installed
        if step is not StepName.INSTALL_AGAIN or not installed:
            return before
        return losses.with_units_of(before, installed)

    def end(
        self,
        step: StepName,
        before: GuestState,
        names: Sequence[str],
        *,
        busy: frozenset[str] = frozenset(),
        enabled: Collection[str] = (),
    ) -> Compared:
        """Compare right after a step, and take away what `begin` has put into the guest.

        `busy` are the units that had processes before the step, `enabled` those that the step
        `start` has enabled.
        """
        now = self._read(names, is_listed=False)
        change = Change(
            step=step,
            before=self._before(step, before),
            now=now,
            first=self.first,
            busy=busy,
            only_masks=step is StepName.INSTALL_AGAIN and self._from_older,
        )
        since = journal.wall_time(before.moment)
        found = losses.find(change, self._owner)
        found = rested.leave_out(found, change, partial(journal.events, self._guest, since))
        found = policy.excuse(found, change, enabled, partial(self._ask_switch, names))
        if self._discover:
            guest, manager = self._guest, self._manager
            found += keepsakes.lost_lines(guest, manager, self._edits, now, names, step)
            found += keepsakes.lost_data(guest, self._folders, now, step)
        else:
            found = [answer for answer in found if answer.kind is CheckKind.UNIT]
        shipped = self._shipped
        is_gone = step is StepName.REMOVE
        self.withdraw(before.listed.own.paths if is_gone else frozenset())
        return Compared(change=change, found=tuple(found), shipped=shipped)

    def withdraw(self, owned: frozenset[str] = frozenset()) -> None:
        """Take away what `begin` has put into the guest; `owned` are folders that may go, too."""
        keepsakes.undo(self._guest, self._edits)
        keepsakes.take_away(self._guest, self._folders, owned)
        self._edits, self._folders, self._shipped = [], [], ()

    def ask_later(self, compared: Compared, names: Sequence[str]) -> list[CheckResult]:
        """Ask what takes longer, and what no check changes; return what is wrong."""
        if not self._discover:
            return []
        change = compared.change
        found = [*self._lost_files_of_others(change), *self._broken_manager(change)]
        if change.step in BRINGING:
            found += self._lost_files(compared, names)
        return found

    def ask_ports(self, change: Change, patience: float) -> Iterator[CheckResult]:
        """Wait until all ports are open again, for `patience` seconds."""
        deadline = time.monotonic() + patience
        while closed := closed_ports.closed(change, sockets.listening(self._guest)):
            if time.monotonic() > deadline:
                sentence = closed_ports.describe(closed, change.step)
                yield loss(PORTS, f"{sentence}, for {patience:g} s")
                return
            time.sleep(INTERVAL)

    def _has_new_sources(self, change: Change) -> bool:
        before, now = change.before.written, change.now.written
        sources = re.compile(self._manager.sources, re.DOTALL)
        return any(
            before.get(path) != now.get(path)
            for path in before.keys() | now.keys()
            if sources.fullmatch(path)
        )

    def _complaint(self, *, with_lists: bool) -> str:
        """Return what the package manager says if it cannot work, '' if it can."""
        if not (argv := self._manager.check(with_lists=with_lists)):
            return ""
        env = dict(self._manager.environment)
        done = self._guest.run(argv, ok=operations.STATUSES, timeout=PATIENCE, env=env)
        return f"`{' '.join(argv)}`:\n{last_lines(done.output)}" if done.status else ""

    def _read(self, names: Sequence[str], *, is_listed: bool) -> GuestState:
        last = self._last
        self._last = state.read(self._guest, self._manager, names, last, has_lists=is_listed)
        return self._last

    def _owner(self, unit: UnitState) -> str:
        return operations.ask(self._guest, self._manager.owner(file_of(unit)))

    def _ask_switch(self, names: Sequence[str]) -> str:
        query = self._manager.switch(names)
        return operations.ask(self._guest, query) if query else ""

    def _read_shipped(self, path: str) -> Shipped | None:
        query = self._manager.shipped(path)
        return operations.ask(self._guest, query) if query else None

    def _lost_files(self, compared: Compared, names: Sequence[str]) -> Iterator[CheckResult]:
        """Files that the packages own and that are missing, or of another type."""
        if query := self._manager.missing(names):
            gone = [p for p in operations.ask(self._guest, query) if not LEFT_OUT.fullmatch(p)]
            if gone:
                yield loss(OWN_FILES, _listing(f"missing after the {compared.change.step}", gone))
        if wrong := wrong_types(compared):
            yield loss(OWN_FILES, _listing("not of the type that the package ships", wrong))

    def _lost_files_of_others(self, change: Change) -> Iterator[CheckResult]:
        step, found = change.step, disturbed(change)
        owned = sorted(found.removed | found.changed)[:ASKED]
        query = self._manager.damaged(owned) if owned else None
        harm = (
            operations.ask(self._guest, query) if query else dict.fromkeys(found.removed, "missing")
        )
        for how, verb in (("missing", "removed"), ("changed", "changed")):
            paths = [path for path in owned if harm.get(path) == how]
            if paths:
                yield loss(OTHER_FILES, _listing(f"of other packages, {verb} by the {step}", paths))
        if found.unowned:
            sentence = f"of no package and older than the packages, removed by the {step}"
            yield loss(OTHER_FILES, _listing(sentence, found.unowned))

    def _broken_manager(self, change: Change) -> Iterator[CheckResult]:
        """Whether the package manager can take another step."""
        if self._works and change.step is not StepName.REBOOT:
            text = self._complaint(with_lists=self._has_new_sources(change))
            self._works = not text
            if text:
                sentence = f"it fails after the {change.step}, and did not before it"
                yield loss(MANAGER, f"{sentence}\n{text}")
        if change.leaves:
            new = sorted(path for path in change.now.settings - change.first.settings)
            query = self._manager.failing_hooks(new)
            if query and (failing := operations.ask(self._guest, query)):
                yield loss(MANAGER, _listing("hooks that have outlived their program", failing))


def wrong_types(compared: Compared) -> list[str]:
    """Return the files that are not of the type that the packages ship.

    dpkg does not replace a folder by a link, and follows a link in the place of a folder. A link
    that was there before the packages is the administrator's.
    """
    change = compared.change
    now, first = change.now.written, change.first.written
    diverted = {word for rule in change.now.rules for word in rule.split()}
    found = []
    for one in compared.shipped:
        for path, kind in one.kinds.items():
            real = path if path in now else f"/usr{path}"
            file = now.get(real)
            if not file or file.kind in (kind, FileKind.GONE) or path in diverted:
                continue
            if file.kind is FileKind.LINK and (
                kind is not FileKind.FOLDER
                or real in first
                or real not in change.before.listed.own.paths
            ):
                continue
            found.append(f"{path}: a {file.kind}, not a {kind}")
    return found


def _listing(sentence: str, lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    shown = [*lines[:SHOWN], *more]
    return (
        f"{sentence}: {lines[0]}"
        if len(lines) == 1
        else "\n".join([f"{sentence}: {lines[0]}, ...", *shown])
    )
