"""Stored images as arguments of a command, and their titles in its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def resolve(names: Sequence[str], architecture: str | None) -> list[tuple[str, str]]:
    """Return the stored name and the architecture of each image, without duplicates."""
    from postroj.image import architectures, upkeep

    wanted = architecture or architectures.of_this_host()
    return list(dict.fromkeys((upkeep.resolve(name, wanted), wanted) for name in names))


def title(name: str, architecture: str) -> str:
    """Return the name of an image, with its architecture unless it is this host's."""
    from postroj.image import architectures

    return name if architecture == architectures.of_this_host() else f"{name} ({architecture})"
