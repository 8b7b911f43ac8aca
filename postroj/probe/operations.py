"""A package manager at work in a guest: what it is asked, what it does, whom it is to be blamed on.

Every step of a probe is made of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from postroj.errors import CommandTimeout
from postroj.model import Outcome
from postroj.probe.managers.base import Blame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.managers.base import PackageFacts, PackageManager, Query
    from postroj.probe.package import PackageFile

Answer = TypeVar("Answer")

STATUSES = range(256)
PATIENCE = 30.0
"""Seconds for a question, which needs no network."""


def ask(guest: Guest, query: Query[Answer]) -> Answer:
    """Ask the package manager a question; what it cannot answer reads as nothing."""
    return query.read(guest.run(query.argv, ok=STATUSES, timeout=PATIENCE).text)


def perform(
    guest: Guest,
    manager: PackageManager,
    argv: Sequence[str],
    names: Sequence[str],
    timeout: float,
    hear: Callable[[Sequence[str], str], None] = lambda argv, output: None,
) -> Blame | None:
    """Run a command of the package manager; whom to blame if it fails.

    `names` are the packages under test, `timeout` is in seconds, `hear` is told what was printed.
    """
    try:
        done = guest.run(argv, ok=STATUSES, timeout=timeout, env=dict(manager.environment))
    except CommandTimeout as error:
        hear(argv, f"{error.output}\n{error.message}")
        return manager.blame_timeout(error.output, names, timeout)
    hear(argv, done.output)
    return manager.blame(done.status, done.output, names)


def look(
    guest: Guest,
    manager: PackageManager,
    packages: Sequence[PackageFile],
) -> tuple[PackageFacts, ...] | Blame:
    """Read what the packages say of themselves, in the guest: an archive is never trusted."""
    possible = ask(guest, manager.architectures())
    found: list[PackageFacts] = []
    for package in packages:
        query = manager.describe(package.guest_path)
        done = guest.run(query.argv, ok=STATUSES, timeout=PATIENCE)
        fact = query.read(done.text)
        if done.status or not fact.name:
            sentence = f"'{package.name}' is no complete package"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence=done.output)
        if fact.architecture not in possible:
            sentence = f"'{package.name}' is for {fact.architecture}, the guest is {possible[0]}"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence="")
        found.append(fact)
    return tuple(found)


def missing(guest: Guest, manager: PackageManager, wanted: Sequence[PackageFacts]) -> Blame | None:
    """Say what is not installed in the version that it should have.

    dnf and zypper end well, too, where they have found nothing to do.
    """
    there = {fact.name: fact for fact in ask(guest, manager.installed(_names(wanted)))}
    for fact in wanted:
        found = there.get(fact.name)
        if found is None or found.version != fact.version:
            has = f"the guest has {found.version}" if found else "the guest does not have it"
            sentence = f"'{fact.name}' {fact.version} did not get installed: {has}"
            return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")
    return None


def remaining(
    guest: Guest, manager: PackageManager, unwanted: Sequence[PackageFacts]
) -> Blame | None:
    """Say what is installed although it was removed."""
    for fact in ask(guest, manager.installed(_names(unwanted))):
        sentence = f"'{fact.name}' {fact.version} is still installed"
        return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")
    return None


def bring(
    guest: Guest, manager: PackageManager, name: str, folder: str, timeout: float
) -> str | Blame:
    """Download the package that would be installed by name, if it is not there; its path.

    `folder` is made in the guest; dependencies may come to lie there, too.
    """
    guest.run(["mkdir", "-p", folder], timeout=PATIENCE)
    if path := _brought(guest, manager, name, folder):
        return path
    if found := perform(guest, manager, manager.download(name, folder), [name], timeout):
        return found
    if path := _brought(guest, manager, name, folder):
        return path
    sentence = f"the guest's repositories have no package '{name}'"
    return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")


def _brought(guest: Guest, manager: PackageManager, name: str, folder: str) -> str:
    """Return the path of the package of a name in a folder; '' if it is not there."""
    paths = guest.run(["find", folder, "-maxdepth", "1", "-type", "f"], timeout=PATIENCE).text
    for path in sorted(paths.splitlines()):
        if ask(guest, manager.describe(path)).name == name:
            return path
    return ""


def _names(facts: Sequence[PackageFacts]) -> list[str]:
    return [fact.name for fact in facts]
