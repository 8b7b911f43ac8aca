"""Facts about a unit and its guest, from which `ask.lacking` infers what a container lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUS = re.compile(r"code=exited, status=(\d+)")
CLOSED = ("strict", "closed")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts about a unit that is not up, and about its guest."""

    unit: Mapping[str, str]
    """Properties of the unit, org.freedesktop.systemd1(5); empty for a maintainer script."""
    log: tuple[str, ...]
    """Messages of the unit, and about it, since it was last started."""
    is_silent: bool = False
    """Whether all of these messages are the manager's."""
    lacking: frozenset[str]
    """Capabilities that a machine's root has and the guest's has not, without `CAP_`."""
    has: Callable[[str], bool]
    """Whether a path exists in the guest."""
    writes: Callable[[str], bool]
    """Whether the guest's root can write to a path."""
    program: Callable[[], bytes]
    """Return the content of the unit's programs."""
    daemon: Callable[[], bytes] = bytes
    """Return the content of the unit's binaries, and of those that its scripts name."""
    file_systems: frozenset[str] = frozenset()
    """The names of the file systems that the kernel knows."""

    @property
    def statuses(self) -> set[str]:
        """The exit statuses of the unit's processes."""
        told = {match[1] for line in self.log if (match := STATUS.search(line))}
        return told | {self.unit.get("ExecMainStatus", "0")}

    def is_on(self, setting: str) -> bool:
        """Whether a setting of the unit is on."""
        return self.unit.get(setting, "no") not in ("no", "")

    @property
    def hides_devices(self) -> bool:
        """Whether the unit sees no devices of a machine either, by its own settings."""
        return self.is_on("PrivateDevices") or self.unit.get("DevicePolicy") in CLOSED

    def would_have(self, capability: str) -> bool:
        """Whether the unit had a capability on a machine, by its own settings."""
        name = f"cap_{capability.lower()}"
        bounding = self.unit.get("CapabilityBoundingSet")
        if bounding is not None and name not in bounding.lower().split():
            return False
        is_root = self.unit.get("User", "") in ("", "root", "0") and not self.is_on("DynamicUser")
        return is_root or name in self.unit.get("AmbientCapabilities", "").lower().split()
