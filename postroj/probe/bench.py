"""Run the package manager of a guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.probe import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.managers.base import Blame, PackageManager


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
    dependencies: tuple[str, ...] | None = None
    """Names of the dependencies that the guest has; None if nobody has tried to install them."""
    record_output: Callable[[Sequence[str], str], None] = lambda argv, output: None
    """Called with the output of each command of the package manager."""

    def perform(
        self,
        argv: Sequence[str],
        names: Sequence[str],
        hear: Callable[[str], None],
        note: Callable[[str], None],
    ) -> Blame | None:
        """Run a command of the package manager; return whom to blame if it fails.

        `hear` receives the output, `note` a failure that is nobody's.
        """

        def record(argv: Sequence[str], output: str) -> None:
            self.record_output(argv, output)
            hear(output)

        return operations.perform(self.guest, self.manager, argv, names, self.timeout, record, note)
