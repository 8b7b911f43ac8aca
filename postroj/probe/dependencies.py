"""Install what packages depend on, before and apart from the packages.

What is new after the second transaction then belongs to the packages under test, and what fails
before it does not. docs/explanation/blame.rst says when both must be one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.managers.base import PackageFacts, PackageManager
    from postroj.probe.versions import Batch


class Inseparable(Exception):
    """The dependencies cannot be installed before the packages that need them."""


def install(
    guest: Guest,
    manager: PackageManager,
    batches: Sequence[Batch],
    perform: Callable[[Sequence[str], Sequence[str]], None],
) -> tuple[str, ...]:
    """Install all dependencies of packages, and return their names.

    Each batch is one transaction of the probe. `perform` runs a command of the package manager, for
    the names of packages under test, and raises if that fails.

    :raises Inseparable: if there is no solution, if a dependency needs a package under test, or if
        the packages would still be installed with others, or would replace some.
    """
    own = {name for batch in batches for name in batch.names}
    before = _versions(guest, manager)
    solved = [fact for batch in batches for fact in _solve(guest, manager, batch)]
    wanted = {fact.name: fact for fact in solved if fact.name not in own}
    if not wanted:
        return ()
    perform(manager.complete(list(wanted.values())), sorted(own))
    now = _versions(guest, manager)
    if any(before.get(name) != now.get(name) for name in own):
        raise Inseparable
    came = {name for name, version in now.items() if before.get(name) != version}
    # Asking again takes apt a second. If exactly the dependencies of one transaction have come,
    # only its packages are missing.
    if len(batches) > 1 or came != wanted.keys():
        again = [fact.name for batch in batches for fact in _solve(guest, manager, batch)]
        if not own.issuperset(again):
            raise Inseparable
    return tuple(sorted(wanted))


def _versions(guest: Guest, manager: PackageManager) -> dict[str, str]:
    """Return the versions of all installed packages."""
    return {fact.name: fact.version for fact in operations.ask(guest, manager.everything())}


def _solve(guest: Guest, manager: PackageManager, batch: Batch) -> tuple[PackageFacts, ...]:
    """Return what a transaction would install.

    If that is not the batch itself, the manager has found no solution: their statuses differ.
    """
    solution = operations.ask(guest, manager.solve(batch.paths))
    own = {*batch.names}
    if set(solution.removes) - own or not own.issubset(fact.name for fact in solution.installs):
        raise Inseparable
    return solution.installs
