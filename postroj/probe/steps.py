"""Take steps: let the package manager of a guest install, upgrade and remove packages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from postroj.probe import operations, versions
from postroj.probe.managers.base import Blame
from postroj.probe.versions import Batch, Versions
from postroj.verdict import Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.managers.base import PackageFacts, PackageManager
    from postroj.probe.package.package_file import PackageFile


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

    @property
    def outcome(self) -> Outcome:
        """The outcome of the step itself, without its checks."""
        return self.blame.outcome if self.blame else Outcome.PASS

    @property
    def sentence(self) -> str:
        """The packages that are installed now or were removed last, and the remark."""
        what = [f"{fact.name} {fact.version} ({fact.architecture})" for fact in self.facts]
        return ", ".join([*what, *([self.remark] if self.remark else [])])


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The package manager of a guest, and how to run it."""

    guest: OwnGuest
    manager: PackageManager
    timeout: float
    """Seconds for each command of the package manager."""
    begin_part: Callable[[str], None]
    """Called when a part of the probe begins."""
    has_lists: bool = False
    """Whether the guest's package lists are recent enough."""
    record_output: Callable[[Sequence[str], str], None] = lambda argv, output: None
    """Called with the output of each command of the package manager."""

    def perform(self, argv: Sequence[str], names: Sequence[str]) -> Blame | None:
        """Run a command of the package manager; return whom to blame if it fails."""
        record = self.record_output
        return operations.perform(self.guest, self.manager, argv, names, self.timeout, record)


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
        self.is_broken = False
        """Whether the last step has failed."""
        self._timings: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        """The names of the packages that are installed, or were last."""
        return self._there.names if self._there else []

    @property
    def has_upgrade(self) -> bool:
        """Whether there is another version for an upgrade."""
        given = self._repository or bool(self._older)
        return given or self._bench.manager.newer((), versions.MADE) is not None

    def take(self, step: StepName) -> Done:
        """Take a step; the first one is `install`.

        All steps before it have succeeded, except that `upgrade` may repair a failed `downgrade`.
        """
        self._timings = {}
        if step is StepName.INSTALL:
            return self._done(self._install())
        assert self._there and self._versions
        manager, names = self._bench.manager, self._there.names
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
                blame = self._leave(step, manager.purge(names))
            case _:
                assert_never(step)
        return self._done(blame)

    def take_again(self, step: StepName) -> Done:
        """Take `reinstall`, `upgrade` or `downgrade` again, more quickly if the manager can.

        All dependencies are installed. If that fails, take the step as if for the first time.
        """
        there, known = self._there, self._versions
        assert there and known
        ways = {StepName.UPGRADE: known.upper, StepName.DOWNGRADE: known.lower}
        batch = ways.get(step, there)
        assert batch
        quickly = self._bench.manager.exchange(batch.paths)
        self._timings = {}
        if quickly and not self._bring(step, quickly, batch):
            return self._done(None)
        self._there = there
        return self.take(step)

    def _install(self) -> Blame | None:
        """Install all packages in one transaction, with dependencies from the repositories."""
        bench = self._bench
        tested = versions.read(bench.guest, bench.manager, self._packages)
        older = versions.read(bench.guest, bench.manager, self._older) if self._older else None
        for batch in (tested, older):
            if isinstance(batch, Blame):
                return batch
        if not bench.has_lists and (blame := self._refresh(_names(tested))):
            return blame
        if self._repository:
            older = versions.download(bench.guest, bench.manager, _names(tested), bench.timeout)
        assert not isinstance(tested, Blame)
        if isinstance(older, Blame):
            return older
        self._versions = Versions(tested=tested, older=older)
        first = self._versions.first
        return self._bring(StepName.INSTALL, bench.manager.install(first.paths), first)

    def _refresh(self, names: Sequence[str]) -> Blame | None:
        return self._timed("refresh", self._bench.manager.refresh(), names)

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
        return self._done(self._bring(StepName.UPGRADE, bench.manager.upgrade(upper.paths), upper))

    def _bring(self, step: StepName, argv: Sequence[str], wanted: Batch) -> Blame | None:
        self._there = wanted
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
        self._removed = True
        blame = self._timed(step, argv, self._there.names)
        there = self._there.facts
        return blame or operations.remaining(self._bench.guest, self._bench.manager, there)

    def _timed(self, part: str, argv: Sequence[str], names: Sequence[str]) -> Blame | None:
        self._bench.begin_part(part)
        began = time.monotonic()
        blame = self._bench.perform(argv, names)
        self._timings[part] = time.monotonic() - began
        return blame

    def _done(self, blame: Blame | None, remark: str = "") -> Done:
        facts = self._there.facts if self._there else ()
        self.is_broken = blame is not None and blame.outcome is not Outcome.SKIP
        return Done(blame=blame, facts=facts, remark=remark, timings=self._timings)

    def _idle(self, reason: str) -> Done:
        """Skip a step that has nothing to do."""
        return self._done(Blame(outcome=Outcome.SKIP, sentence=reason, evidence=""))


def _names(batch: Batch | Blame) -> list[str]:
    return batch.names if isinstance(batch, Batch) else []
