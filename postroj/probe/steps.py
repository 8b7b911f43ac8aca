"""What is done to packages in a guest, one step after the other, by its package manager."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from postroj.probe import operations
from postroj.probe.managers.base import Blame
from postroj.process import last_lines
from postroj.verdict import Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.managers.base import PackageFacts, PackageManager
    from postroj.probe.package.package_file import PackageFile

BROUGHT = "/var/tmp/postroj-older"  # noqa: S108 a folder of the guest
"""Where the repositories' versions come to lie in the guest."""
MADE = "/var/tmp/postroj-newer"  # noqa: S108 a folder of the guest
"""Where those come to lie that are made there."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a step ended."""

    blame: Blame | None
    """None when it succeeded."""
    facts: tuple[PackageFacts, ...] = ()
    note: str = ""
    """What else is to be said of a success."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of its parts."""

    @property
    def outcome(self) -> Outcome:
        """Of the step itself."""
        return self.blame.outcome if self.blame else Outcome.PASS

    @property
    def sentence(self) -> str:
        """What was done to what."""
        what = [f"{fact.name} {fact.version} ({fact.architecture})" for fact in self.facts]
        return ", ".join([*what, *([self.note] if self.note else [])])


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Packages that go in together: where the guest has them, what they say of themselves."""

    paths: tuple[str, ...]
    facts: tuple[PackageFacts, ...]

    @property
    def names(self) -> list[str]:
        """Names of the packages."""
        return [fact.name for fact in self.facts]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Who works, and for how long."""

    guest: OwnGuest
    manager: PackageManager
    timeout: float
    """Seconds for each command of the package manager."""
    begin_part: Callable[[str], None]
    """Hears what takes a while now."""
    has_lists: bool = False
    """Whether the guest has package lists that will do."""
    hear: Callable[[Sequence[str], str], None] = lambda argv, output: None
    """Hears what a command of the package manager has printed."""

    def perform(self, argv: Sequence[str], names: Sequence[str]) -> Blame | None:
        """Run a command of the package manager; whom to blame if it fails."""
        return operations.perform(self.guest, self.manager, argv, names, self.timeout, self.hear)


class Journey:
    """The packages under test on their way through a guest's package manager.

    `older` are those to upgrade from, unless `repository` is to have them. Without both, packages
    are upgraded to versions that are made of them.
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
        self._new: Batch | None = None
        self._old: Batch | None = None
        self._there: Batch | None = None
        """What is installed now, or was at last."""
        self._removed = False
        self.is_broken = False
        """Whether what was done last has failed."""
        self._timings: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        """Names of the packages that are installed, or were at last."""
        return self._there.names if self._there else []

    @property
    def has_upgrade(self) -> bool:
        """Whether there is a way to an upgrade."""
        given = self._repository or bool(self._older)
        return given or self._bench.manager.newer((), MADE) is not None

    def take(self, step: StepName) -> Done:
        """Take a step; the first one is `install`.

        Those before it have succeeded, but that an `upgrade` mends a `downgrade` that has not.
        """
        self._timings = {}
        if step is StepName.INSTALL:
            blame = self._install()
            return self._done(blame)
        assert self._there and self._new
        manager, names = self._bench.manager, self._there.names
        match step:
            case StepName.REINSTALL:
                blame = self._bring(step, manager.reinstall(self._there.paths), self._there)
            case StepName.UPGRADE:
                if not self._old and (reason := self._make_newer()):
                    return self._idle(reason)
                if self._there.facts == self._new.facts:
                    return self._idle("what to upgrade from is the same version")
                blame = self._bring(step, manager.upgrade(self._new.paths), self._new)
            case StepName.DOWNGRADE:
                if not self._old:
                    return self._idle("there is no older version to go back to")
                blame = self._bring(step, manager.downgrade(self._old.paths), self._old)
            case StepName.REBOOT:
                return self._reboot()
            case StepName.REMOVE:
                blame = self._leave(step, manager.remove(names))
            case StepName.PURGE if self._removed and not manager.purges_later:
                return self._done(None, "what was removed needs no purge here")
            case StepName.PURGE:
                blame = self._leave(step, manager.purge(names))
            case _:
                assert_never(step)
        return self._done(blame)

    def take_again(self, step: StepName) -> Done:
        """Take `reinstall`, `upgrade` or `downgrade`, whose dependencies are there, quickly.

        What does not succeed in that way is taken as if it were for the first time.
        """
        there = self._there
        ways = {StepName.UPGRADE: self._new, StepName.DOWNGRADE: self._old}
        batch = ways.get(step, there)
        assert batch
        quickly = self._bench.manager.exchange(batch.paths)
        self._timings = {}
        if quickly and not self._bring(step, quickly, batch):
            return self._done(None)
        self._there = there
        return self.take(step)

    def _install(self) -> Blame | None:
        """Install all in one go, with dependencies from the repositories."""
        bench = self._bench
        new = self._look(self._packages)
        old = self._look(self._older) if self._older else None
        for seen in (new, old):
            if isinstance(seen, Blame):
                return seen
        if not bench.has_lists and (blame := self._refresh(_names(new))):
            return blame
        if self._repository:
            old = self._fetch(_names(new))
        assert not isinstance(new, Blame)
        if isinstance(old, Blame):
            return old
        self._new, self._old = new, old
        first = old or new
        return self._bring(StepName.INSTALL, bench.manager.install(first.paths), first)

    def _refresh(self, names: Sequence[str]) -> Blame | None:
        return self._timed("refresh", self._bench.manager.refresh(), names)

    def _look(self, packages: Sequence[PackageFile]) -> Batch | Blame:
        seen = operations.look(self._bench.guest, self._bench.manager, packages)
        if isinstance(seen, Blame):
            return seen
        return Batch(paths=tuple(package.guest_path for package in packages), facts=seen)

    def _fetch(self, names: Sequence[str]) -> Batch | Blame:
        """Download the versions of the guest's repositories."""
        bench = self._bench
        paths = []
        for name in names:
            path = operations.bring(bench.guest, bench.manager, name, BROUGHT, bench.timeout)
            if isinstance(path, Blame):
                return path
            paths.append(path)
        facts = (operations.ask(bench.guest, bench.manager.describe(path)) for path in paths)
        return Batch(paths=tuple(paths), facts=tuple(facts))

    def _make_newer(self) -> str:
        """Have newer versions of the packages, with the same content; why not, or ''."""
        bench = self._bench
        assert self._new
        query = bench.manager.newer(self._new.paths, MADE)
        if not query:
            return "needs an older package, `--upgrade-from`: a newer rpm cannot be made of it"
        environment = dict(bench.manager.environment)
        statuses = operations.STATUSES
        made = bench.guest.run(query.argv, ok=statuses, timeout=bench.timeout, env=environment)
        if made.status:
            return f"no newer version can be made that installs\n{last_lines(made.output)}"
        paths = query.read(made.text)
        facts = [operations.ask(bench.guest, bench.manager.describe(path)) for path in paths]
        self._old, self._new = self._new, Batch(paths=paths, facts=tuple(facts))
        return ""

    def _bring(self, step: StepName, argv: Sequence[str], wanted: Batch) -> Blame | None:
        self._there = wanted
        blame = self._timed(step, argv, wanted.names)
        return blame or operations.missing(self._bench.guest, self._bench.manager, wanted.facts)

    def _reboot(self) -> Done:
        self._bench.begin_part(StepName.REBOOT)
        began = time.monotonic()
        self._bench.guest.reboot()
        self._timings[StepName.REBOOT] = time.monotonic() - began
        return self._done(None, "after a restart of the guest")

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

    def _done(self, blame: Blame | None, note: str = "") -> Done:
        facts = self._there.facts if self._there else ()
        self.is_broken = blame is not None and blame.outcome is not Outcome.SKIP
        return Done(blame=blame, facts=facts, note=note, timings=self._timings)

    def _idle(self, reason: str) -> Done:
        """Pass over a step that has nothing to do."""
        return self._done(Blame(outcome=Outcome.SKIP, sentence=reason, evidence=""))


def _names(batch: Batch | Blame | None) -> list[str]:
    return batch.names if isinstance(batch, Batch) else []
