"""Users of a guest: numbers that nobody else on the host has."""

from __future__ import annotations

import pytest

from postroj.container.boot import idmap


@pytest.mark.parametrize("digits", ["00000000", "ffffffff", "0a1b2c3d"])
def test_base_is_in_the_range_of_containers(digits: str) -> None:
    base = idmap.base(f"postroj-{digits}")
    assert base >= 0x00080000
    assert base + idmap.IDS - 1 <= 0x6FFFFFFF
    assert base % idmap.IDS == 0


def test_base_differs_between_guests() -> None:
    assert len({idmap.base(f"postroj-{number:08x}") for number in range(1000)}) == 1000
