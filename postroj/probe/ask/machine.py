"""Which unmet conditions of a unit ask for a machine, and which for an administrator?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroj.probe.ask.kernel import DEVICE, KERNEL_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

VIRTUALIZATION = ("no", "false", "0", "vm", "!container", "!systemd-nspawn")
"""Values of `ConditionVirtualization=` that a container does not meet, systemd.unit(5)."""
OF_KERNEL = (
    *("ACPower", "ControlGroupController", "CPUFeature", "Firmware", "KernelCommandLine"),
    *("KernelModuleLoaded", "Security"),
)
"""Conditions about the machine, its kernel, and what this host gives to guests."""
PATHS = re.compile(r"(?:Path|Directory|File)\w*")


def of_conditions(conditions: Sequence[str], lacking: Collection[str]) -> str:
    """Return what a container lacks, by unmet conditions such as `ConditionPathExists=/dev/kvm`.

    Of alternatives (`|`), all must ask for what only a machine has.
    """
    rows = [condition.partition("=")[::2] for condition in conditions]
    needs = [(value.startswith("|"), _of_condition(name, value, lacking)) for name, value in rows]
    for is_alternative, need in needs:
        if need and not is_alternative:
            return need
    alternatives = [need for is_alternative, need in needs if is_alternative]
    return alternatives[0] if alternatives and all(alternatives) else ""


def _of_condition(name: str, value: str, lacking: Collection[str]) -> str:
    kind = re.sub("^(?:Condition|Assert)", "", name)
    plain = value.lstrip("|")
    if kind == "Virtualization":
        return "a machine that is no container" if plain in VIRTUALIZATION else ""
    if plain.startswith("!"):
        return ""
    if kind == "Capability":
        return f"the capability {plain}" if plain.removeprefix("CAP_") in lacking else ""
    if kind in OF_KERNEL:
        return f"{name}={plain}"
    is_kernels = DEVICE.fullmatch(plain) or KERNEL_FILE.fullmatch(plain)
    if PATHS.match(kind) and is_kernels:
        return f"to write to '{plain}'" if kind == "PathIsReadWrite" else f"'{plain}'"
    return ""
