"""What is done to a package in a guest: for now, its installation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout
from postroj.model import Outcome
from postroj.probe.managers.base import Blame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.managers.base import PackageFacts, PackageManager
    from postroj.probe.package import PackageFile


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a step ended."""

    blame: Blame | None
    """None when it succeeded."""
    facts: tuple[PackageFacts, ...] = ()
    timings: dict[str, float]
    """Seconds of its parts."""

    @property
    def outcome(self) -> Outcome:
        """Of the step itself."""
        return self.blame.outcome if self.blame else Outcome.PASS

    @property
    def sentence(self) -> str:
        """What was done to what."""
        return ", ".join(f"{fact.name} {fact.version} ({fact.architecture})" for fact in self.facts)


def install(
    guest: Guest,
    manager: PackageManager,
    packages: Sequence[PackageFile],
    timeout: float,
    begin_part: Callable[[str], None],
) -> Done:
    """Install packages in one go, with dependencies from the repositories."""
    facts: list[PackageFacts] = []
    timings: dict[str, float] = {}
    blame = _look(guest, manager, packages, facts)
    names = [fact.name for fact in facts]
    commands = {
        "refresh": manager.refresh(),
        "install": manager.install([package.guest_path for package in packages]),
    }
    for part, argv in commands.items():
        if blame is None:
            begin_part(part)
            began = time.monotonic()
            blame = _manage(guest, manager, argv, names, timeout)
            timings[part] = time.monotonic() - began
    return Done(blame=blame, facts=tuple(facts), timings=timings)


def _look(
    guest: Guest,
    manager: PackageManager,
    packages: Sequence[PackageFile],
    facts: list[PackageFacts],
) -> Blame | None:
    """Read what the packages say of themselves, in the guest: an archive is never trusted."""
    possible = guest.run(manager.architectures(), timeout=30).text.split()
    for package in packages:
        done = guest.run(manager.describe(package.guest_path), ok=range(256), timeout=30)
        if done.status:
            sentence = f"'{package.name}' is no complete package"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence=done.output)
        fact = manager.facts(done.text)
        if fact.architecture not in possible:
            native = " ".join(name for name in possible if name != "all")
            sentence = f"'{package.name}' is for {fact.architecture}, the guest is {native}"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence="")
        facts.append(fact)
    return None


def _manage(
    guest: Guest,
    manager: PackageManager,
    argv: Sequence[str],
    names: Sequence[str],
    timeout: float,
) -> Blame | None:
    """Run a command of the package manager; whom to blame if it fails."""
    try:
        guest.run(argv, timeout=timeout, env=dict(manager.environment))
    except CommandTimeout as error:
        return manager.blame_timeout(error.output, names, timeout)
    except CommandError as error:
        return manager.blame(error.output, names)
    return None
