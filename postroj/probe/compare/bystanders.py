"""Find the units for which only a dependency is to blame, and not the package.

That is never a unit that existed before, nor one that a unit of the package wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.ask.unitstate import read_state, template_of
from postroj.probe.compare import gone

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.managers.base import PackageManager


class Bystanders:
    """Finds the owner of a unit; `known` are the units that the guest had before."""

    def __init__(
        self, guest: Guest, manager: PackageManager, names: Sequence[str], known: Collection[str]
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._names = names
        self._known = known

    def owner(self, unit: str) -> str:
        """Return the dependency that alone is to blame for a unit; '' if there is none.

        It is not to blame for an instance of its template, because something else made that.
        """
        if unit in self._known or template_of(unit):
            return ""
        state = read_state(self._guest, unit)
        owner = operations.ask(self._guest, self._manager.owner(file_of(state)))
        if not owner or owner in self._names:
            return ""
        belongings = gone.read_belongings(self._guest, self._manager, self._names)
        return "" if any(belongings.owns(name) for name in state.wanted_by) else owner


def file_of(state: UnitState) -> str:
    """Return the file of a unit that a package can own: of a generated unit its source."""
    return state.source if state.file_state == "generated" and state.source else state.file
