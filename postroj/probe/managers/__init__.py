"""What the package managers do differently: one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.model import Manager
from postroj.probe.managers.apt import Apt

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager


def manager_of(manager: Manager) -> PackageManager:
    """Return the package manager of an image."""
    match manager:
        case Manager.APT:
            return Apt()
