"""The differences between package managers: a folder for each, and the causes that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.errors import ImageError
from postroj.model import Manager
from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.pacman.pacman import Pacman
from postroj.probe.managers.rpm.dnf import Dnf
from postroj.probe.managers.rpm.zypper import Zypper

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager
    from postroj.probe.package.formats import Format


MANAGERS: dict[Manager, PackageManager] = {
    Manager.APT: Apt(),
    Manager.DNF: Dnf(),
    Manager.ZYPPER: Zypper(),
    Manager.PACMAN: Pacman(),
}
"""One line for each; nothing else in `probe` tells one from another."""


def manager_of(manager: Manager | None, *, recommends: bool = True) -> PackageManager:
    """Return the package manager of an image, which installs weak dependencies or not.

    :raises ImageError: if postroj does not know it.
    """
    if manager is None:
        message = "the image has no package manager that postroj knows"
        hint = "`postroj list-images` shows others"
        raise ImageError(message, hint=hint)
    found = MANAGERS[manager]
    return found if recommends else found.without_recommends()


def installers(wanted: Format) -> tuple[Manager, ...]:
    """Return the package managers that install a format."""
    return tuple(name for name, manager in MANAGERS.items() if manager.format is wanted)
