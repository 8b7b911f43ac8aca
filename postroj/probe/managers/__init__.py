"""What the package managers do differently: one module each, and one for whom they blame."""

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


def manager_of(manager: Manager | None) -> PackageManager:
    """Return the package manager of an image.

    :raises ImageError: if postroj does not know it.
    """
    match manager:
        case Manager.APT:
            return Apt()
        case Manager.DNF:
            return Dnf()
        case Manager.ZYPPER:
            return Zypper()
        case Manager.PACMAN:
            return Pacman()
        case None:
            message = "the image has no package manager that postroj knows"
            hint = "`postroj list-images` shows others"
            raise ImageError(message, hint=hint)
