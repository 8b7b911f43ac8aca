"""The versions of the packages that a probe installs, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.probe import operations
from postroj.probe.managers.base import Blame
from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import OwnGuest
    from postroj.probe.managers.base import PackageFacts, PackageManager
    from postroj.probe.package.package_file import PackageFile

DOWNLOADED = "/var/tmp/postroj-older"  # noqa: S108 a folder of the guest
"""Folder into which the guest downloads versions from its repositories."""
MADE = "/var/tmp/postroj-newer"  # noqa: S108 a folder of the guest
"""Folder in which the guest makes packages with a raised version."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Packages that are installed together: their paths in the guest, and their own metadata."""

    paths: tuple[str, ...]
    facts: tuple[PackageFacts, ...]

    @property
    def names(self) -> list[str]:
        """The names of the packages."""
        return [fact.name for fact in self.facts]


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The versions that a probe knows: from `older` to `tested`, or from `tested` to `raised`."""

    tested: Batch
    """The packages under test."""
    older: Batch | None = None
    """The packages to upgrade from, given by the user or downloaded from the repositories."""
    raised: Batch | None = None
    """The tested packages with a higher version, if there is no older one."""

    @property
    def first(self) -> Batch:
        """The version that `install` installs."""
        return self.older or self.tested

    @property
    def upper(self) -> Batch:
        """The version that `upgrade` installs."""
        return self.raised or self.tested

    @property
    def lower(self) -> Batch | None:
        """The version that `downgrade` installs; None if there is no lower one."""
        return self.older or (self.tested if self.raised else None)

    def blame_order(self, guest: OwnGuest, manager: PackageManager) -> Blame | None:
        """Blame packages under test that sort below the older ones."""
        older = self.older.facts if self.older else ()
        return operations.lower(guest, manager, self.tested.facts, older)

    def replaced(self, guest: OwnGuest, manager: PackageManager) -> tuple[str, ...]:
        """Return older packages of other names that can still be purged."""
        older = self.older.names if self.older else []
        others = [name for name in older if name not in self.tested.names]
        return operations.ask(guest, manager.purgeable(others)) if others else ()


def read(
    guest: OwnGuest, manager: PackageManager, packages: Sequence[PackageFile]
) -> Batch | Blame:
    """Read the metadata of package files; return the blame if one cannot be installed here."""
    facts = operations.inspect(guest, manager, packages)
    if isinstance(facts, Blame):
        return facts
    return Batch(paths=tuple(package.guest_path for package in packages), facts=facts)


def download(
    guest: OwnGuest, manager: PackageManager, names: Sequence[str], timeout: float
) -> Batch | Blame:
    """Download the versions in the guest's repositories."""
    paths = []
    for name in names:
        path = operations.bring(guest, manager, name, DOWNLOADED, timeout)
        if isinstance(path, Blame):
            return path
        paths.append(path)
    return _made(guest, manager, paths)


def raise_version(
    guest: OwnGuest, manager: PackageManager, tested: Batch, timeout: float
) -> Batch | str:
    """Make packages with the same content and a higher version; return a reason if that fails."""
    query = manager.newer(tested.paths, MADE)
    if not query:
        reason = "needs an older package, `--upgrade-from`: no newer one can be made of this format"
        return f"{reason}; {manager.instead_of_upgrade}".removesuffix("; ")
    environment = dict(manager.environment)
    made = guest.run(query.argv, ok=operations.STATUSES, timeout=timeout, env=environment)
    if made.status:
        return f"no newer version can be made that installs\n{last_lines(made.output)}"
    return _made(guest, manager, query.read(made.text))


def _made(guest: OwnGuest, manager: PackageManager, paths: Sequence[str]) -> Batch:
    facts = (operations.ask(guest, manager.describe(path)) for path in paths)
    return Batch(paths=tuple(paths), facts=tuple(facts))
