"""Check that the dependencies worked before the package was installed.

What does not work without the package is not its fault, and its own failures may follow from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask import journal, needs
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import read_states
from postroj.probe.compare.bystanders import file_of
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Answer
    from postroj.probe.managers.base import PackageManager

QUESTION = Question(kind=CheckKind.SYSTEM, subject="the dependencies work", is_found=True)


def ask(
    guest: Guest, manager: PackageManager, dependencies: Collection[str], failed: Sequence[str]
) -> Answer:
    """Name the units of dependencies that had `failed` before the installation, and still have.

    Some packages only complete another one, as nginx-light brings the program of nginx-common.
    """
    owners = {
        state.name: operations.ask(guest, manager.owner(file_of(state)))
        for state in read_states(guest, failed)
        if state.active == "failed"
    }
    broken = {name: owner for name, owner in owners.items() if owner in dependencies}
    if not broken:
        return Outcome.PASS, f"{len(dependencies)} were installed before the package"
    named = ", ".join(f"{name} of '{owner}'" for name, owner in broken.items())
    evidence = "\n".join(journal.last(guest, name) for name in broken)
    lacks = [needs.of_unit(guest, name) for name in broken]
    if all(lacks):
        needed = ", ".join(dict.fromkeys(lacks))
        sentence = f"a container cannot show how {named} work: needs {needed}"
        return Outcome.SKIP, f"{sentence}\n{evidence}".rstrip()
    return Outcome.ERROR, f"a dependency does not work: {named} failed\n{evidence}".rstrip()
