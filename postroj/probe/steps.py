"""Take steps: let the package manager of a guest install, upgrade and remove packages."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from postroj.errors import CommandError
from postroj.probe import dependencies, operations, versions
from postroj.probe.compare.residue import appeared
from postroj.probe.dependencies import Inseparable
from postroj.probe.managers.base import Blame
from postroj.probe.versions import Batch, Versions
from postroj.process import last_lines
from postroj.verdict import Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.bench import Bench
    from postroj.probe.managers.base import PackageFacts
    from postroj.probe.package.package_file import PackageFile


ALONE = "its dependencies were removed before, so its scripts have only essential packages"
"""Debian Policy 7.2: only essential packages are sure to be there when `postrm purge` runs."""
STAY = "some of its dependencies could not be removed"
FORGOTTEN = "the package manager has forgotten the package: there is nothing left to purge"
NEEDED = "the guest needs the package, so it cannot be removed"


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a step."""

    blame: Blame | None
    """Why the step failed or was skipped; None if it succeeded."""
    facts: tuple[PackageFacts, ...] = ()
    remark: str = ""
    """A remark about a successful step."""
    timings: dict[str, float] = field(default_factory=dict)
    """Duration of each part, in seconds."""
    not_started: tuple[str, ...] = ()
    """Units that scripts of packages meant to start, and that the guest refused to start."""

    @property
    def outcome(self) -> Outcome:
        """The outcome of the step itself, without its checks."""
        return self.blame.outcome if self.blame else Outcome.PASS

    @property
    def sentence(self) -> str:
        """The packages that are installed now or were removed last, and the remark."""
        what = [f"{fact.name} {fact.version} ({fact.architecture})" for fact in self.facts]
        return ", ".join([*what, *([self.remark] if self.remark else [])])


class Journey:
    """The packages under test on their way through a guest's package manager.

    `older` are the packages to upgrade from; with `repository` the guest downloads them. Without
    both, `upgrade` goes to a raised version that is made of the packages under test.
    """

    def __init__(
        self,
        bench: Bench,
        packages: Sequence[PackageFile],
        older: Sequence[PackageFile] = (),
        *,
        repository: bool = False,
    ) -> None:
        self._bench = bench
        self._packages = packages
        self._older = older
        self._repository = repository
        self._versions: Versions | None = None
        """None before `install` has read the packages."""
        self._there: Batch | None = None
        """The packages that are installed, or were last."""
        self._removed = False
        self.dependencies = bench.dependencies or ()
        """Names of the packages that were installed before, since those under test need them."""
        self._unready: Blame | None = None
        """Why `install` cannot even begin."""
        self.company: tuple[str, ...] = ()
        """Names of other packages that came in one transaction with those under test."""
        self.foreign: set[str] = set()
        """Paths that appeared while dependencies were removed."""
        self.is_broken = False
        """Whether the last step has failed."""
        self._timings: dict[str, float] = {}
        self._notes: list[str] = []
        self._not_started: list[str] = []

    @property
    def names(self) -> list[str]:
        """The names of the packages that are installed, or were last."""
        return self._there.names if self._there else []

    @property
    def has_upgrade(self) -> bool:
        """Whether there is another version for an upgrade."""
        given = self._repository or bool(self._older)
        return given or self._bench.manager.newer((), versions.MADE) is not None

    @property
    def is_older(self) -> bool:
        """Whether the packages that are installed, or were last, are the ones to upgrade from."""
        return bool(self._versions and self._versions.older and self._there is self._versions.older)

    def coming(self, step: StepName) -> tuple[str, ...]:
        """Return the paths of the packages that a step brings, if their versions differ."""
        known = self._versions
        return known.tested.paths if known and known.older and step is StepName.UPGRADE else ()

    def take(self, step: StepName) -> Done:
        """Take a step; the first one is `install`, and all before it have succeeded."""
        if step is StepName.INSTALL:
            blame, others = self._install(), ", ".join(self.company)
            return self._done(blame, f"in one transaction with {others}" if others else "")
        self._begin()
        assert self._there and self._versions
        bench, manager, names = self._bench, self._bench.manager, self._there.names
        match step:
            case StepName.START:  # no matter of the package manager, see `starting`
                blame = None
            case StepName.REINSTALL:
                blame = self._bring(step, manager.reinstall(self._there.paths), self._there)
            case StepName.UPGRADE:
                return self._upgrade(self._versions)
            case StepName.DOWNGRADE:
                if not (lower := self._versions.lower):
                    return self._idle("there is no older version to go back to")
                blame = self._bring(step, manager.downgrade(lower.paths), lower)
            case StepName.REBOOT:
                return self._reboot()
            case StepName.REMOVE:
                blame = self._leave(step, manager.remove(names))
            case StepName.PURGE if self._removed and not manager.purges_later:
                return self._done(None, "a removed package needs no purge here")
            case StepName.PURGE:
                return self._purge([*names, *self._versions.replaced(bench.guest, bench.manager)])
            case StepName.INSTALL_AGAIN if not self._removed:
                return self._idle("the package is not removed")
            case StepName.INSTALL_AGAIN:
                blame = self._bring(step, manager.install(self._there.paths), self._there)
            case _:
                assert_never(step)
        return self._done(blame)

    def take_again(self) -> Done:
        """Take `reinstall` again, more quickly if the manager can: all dependencies are there."""
        there = self._there
        assert there
        quickly = self._bench.manager.exchange(there.paths)
        self._begin()
        if quickly and not self._bring(StepName.REINSTALL, quickly, there):
            return self._done(None)
        return self.take(StepName.REINSTALL)

    def prepare(self) -> None:
        """Do what comes before the first step: read the packages, and install what they need.

        A failure is reported by `install`, which tries again in one transaction.
        """
        self._unready = self._read()
        if self._unready or self._bench.dependencies is not None:
            return
        assert self._versions
        bench, known = self._bench, self._versions
        batches = [batch for batch in (known.tested, known.older) if batch]

        def perform(argv: Sequence[str], names: Sequence[str]) -> None:
            if self._timed("dependencies", argv, names):
                raise Inseparable

        with suppress(Inseparable, CommandError):
            self.dependencies = dependencies.install(bench.guest, bench.manager, batches, perform)
        self._notes, self._not_started = [], []

    def _read(self) -> Blame | None:
        """Read the metadata of all packages, and refresh the package lists if necessary."""
        bench = self._bench
        tested = versions.read(bench.guest, bench.manager, self._packages)
        older = versions.read(bench.guest, bench.manager, self._older) if self._older else None
        for batch in (tested, older):
            if isinstance(batch, Blame):
                return batch
        if not bench.has_lists and (blame := self._refresh()):
            return blame
        assert not isinstance(tested, Blame)
        if self._repository:
            older = versions.download(bench.guest, bench.manager, tested.names, bench.timeout)
        if isinstance(older, Blame):
            return older
        self._versions = Versions(tested=tested, older=older)
        return None

    def _install(self) -> Blame | None:
        """Install all packages in one transaction, with dependencies that are still missing."""
        if not (self._unready or self._versions):
            self.prepare()
        if self._unready:
            return self._unready
        assert self._versions
        first = self._versions.first
        before = self._names_of_all()
        blame = self._bring(StepName.INSTALL, self._bench.manager.install(first.paths), first)
        if not blame:
            self.company = tuple(sorted(self._names_of_all() - before - {*first.names}))
        return blame

    def _names_of_all(self) -> set[str]:
        """Return the names of all installed packages."""
        bench = self._bench
        return {fact.name for fact in operations.ask(bench.guest, bench.manager.everything())}

    def _purge(self, names: Sequence[str]) -> Done:
        """Purge once the dependencies are gone, since their absence can do harm only then."""
        guest, manager = self._bench.guest, self._bench.manager
        removed: set[str] = set()
        if clean_up := manager.clean_up():
            if not self._removed and (blame := self._leave(StepName.PURGE, manager.remove(names))):
                return self._done(blame)
            before = self._names_of_all()
            if blame := self._clean(clean_up, names):
                return self._done(blame)
            removed = before - self._names_of_all()
        known = operations.ask(guest, manager.purgeable(names))
        blame = self._leave(StepName.PURGE, manager.purge(known)) if known else self._check_gone()
        if blame and removed and not blame.hint:
            blame = replace(blame, hint=ALONE)
        rest = operations.ask(guest, manager.purgeable(sorted(removed))) if removed else ()
        if rest and not blame:
            blame = self._clean(manager.purge(rest), names)
        return self._done(blame, "" if known else FORGOTTEN)

    def _clean(self, argv: Sequence[str], names: Sequence[str]) -> Blame | None:
        """Remove or purge dependencies; what goes wrong is not held against the packages.

        Note the paths that appear meanwhile, since the scripts of the dependencies wrote them.
        """
        before = self._bench.guest.written()
        blame = self._timed(StepName.PURGE, argv, names)
        if not self._bench.guest.has_ended():
            self.foreign |= appeared(before, self._bench.guest.written())
        if blame and blame.outcome is Outcome.ERROR and not self._bench.guest.has_ended():
            self._notes.append(f"{STAY}: {blame.sentence}")
            return None
        return blame

    def _refresh(self) -> Blame | None:
        """Download the package lists, before which no package under test can be to blame."""
        blame = self._timed("refresh", self._bench.manager.refresh(), ())
        return replace(blame, outcome=Outcome.ERROR) if blame else None

    def _upgrade(self, known: Versions) -> Done:
        bench = self._bench
        if not known.lower:
            raised = versions.raise_version(bench.guest, bench.manager, known.tested, bench.timeout)
            if isinstance(raised, str):
                return self._idle(raised)
            known = self._versions = replace(known, raised=raised)
        upper = known.upper
        if self._there and self._there.facts == upper.facts:
            return self._idle("the older packages have the same version")
        if blame := known.blame_order(bench.guest, bench.manager):
            return self._done(blame)
        return self._done(self._bring(StepName.UPGRADE, bench.manager.upgrade(upper.paths), upper))

    def _bring(self, step: StepName, argv: Sequence[str], wanted: Batch) -> Blame | None:
        self._there, self._removed = wanted, False
        blame = self._timed(step, argv, wanted.names)
        return blame or operations.missing(self._bench.guest, self._bench.manager, wanted.facts)

    def _reboot(self) -> Done:
        self._bench.begin_part(StepName.REBOOT)
        began = time.monotonic()
        self._bench.guest.reboot()
        self._timings[StepName.REBOOT] = time.monotonic() - began
        return self._done(None, "after a reboot of the guest")

    def _leave(self, step: StepName, argv: Sequence[str]) -> Blame | None:
        assert self._there
        blame = self._timed(step, argv, self._there.names)
        if blame and blame.is_refusal:
            evidence = last_lines(blame.evidence, 3)
            return replace(blame, outcome=Outcome.SKIP, sentence=NEEDED, evidence=evidence)
        blame = blame or self._check_gone()
        self._removed = blame is None
        return blame

    def _check_gone(self) -> Blame | None:
        assert self._there
        return operations.remaining(self._bench.guest, self._bench.manager, self._there.facts)

    def _begin(self) -> None:
        self._timings, self._notes, self._not_started = {}, [], []

    def _timed(self, part: str, argv: Sequence[str], names: Sequence[str]) -> Blame | None:
        self._bench.begin_part(part)
        began = time.monotonic()
        blame = self._bench.perform(argv, names, self._hear, self._notes.append)
        spent = time.monotonic() - began
        self._timings[part] = self._timings.get(part, 0.0) + spent
        return blame

    def _hear(self, output: str) -> None:
        self._not_started += self._bench.manager.not_started(output)

    def _done(self, blame: Blame | None, remark: str = "") -> Done:
        facts = self._there.facts if self._there else ()
        self.is_broken = blame is not None and blame.outcome is not Outcome.SKIP
        return Done(
            blame=blame,
            facts=facts,
            remark="; ".join([*([remark] if remark else []), *self._notes]),
            timings=self._timings,
            not_started=tuple(self._not_started),
        )

    def _idle(self, reason: str) -> Done:
        """Skip a step that has nothing to do."""
        return self._done(Blame(outcome=Outcome.SKIP, sentence=reason, evidence=""))
