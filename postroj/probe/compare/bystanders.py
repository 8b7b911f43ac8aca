"""Units of dependencies: that one of them fails is told, and not held against the package.

Only where none of the package's own units wants it, and where it was not there before.
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
    """Whose the units are that came along; `known` are those that the guest had before."""

    def __init__(
        self, guest: Guest, manager: PackageManager, names: Sequence[str], known: Collection[str]
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._names = names
        self._known = known

    def owner(self, unit: str) -> str:
        """Name of the dependency that alone is to blame for a unit; '' if there is none.

        The instance of a template is not the template's: somebody has made it.
        """
        if unit in self._known or template_of(unit):
            return ""
        state = read_state(self._guest, unit)
        owner = operations.ask(self._guest, self._manager.owner(file_of(state)))
        if not owner or owner in self._names:
            return ""
        own = gone.belongings(self._guest, self._manager, self._names)
        return "" if any(own.owns(name) for name in state.wanted_by) else owner


def file_of(state: UnitState) -> str:
    """Return the file that a package has for a unit: a generated one comes from another."""
    return state.source if state.file_state == "generated" and state.source else state.file
