"""How much of a host a guest gets."""

from __future__ import annotations

import pytest

from postroj.container import limits
from postroj.errors import UsageError

GIB = 1 << 30


def test_share_of_one_guest_is_half_of_the_host_for_files() -> None:
    assert limits.share(8 * GIB, 1) == limits.Limits(memory=6 * GIB, disk=4 * GIB, processes=4096)


def test_share_of_several_guests() -> None:
    each = limits.share(8 * GIB, 4)
    assert (each.memory, each.disk) == (3 * GIB // 2, GIB)
    assert 4 * each.memory < 8 * GIB


def test_share_leaves_memory_for_processes() -> None:
    assert all(limits.share(5 * GIB, n).disk < limits.share(5 * GIB, n).memory for n in range(1, 9))


def test_oom_kills_of_this_host() -> None:
    assert limits.oom_kills() >= 0


def test_asked_limits_replace_the_share() -> None:
    share = limits.share(8 * GIB, 2)
    assert limits.NOTHING.instead_of(share) == share
    asked = limits.Asked(memory=3 * GIB, cpus=1.5, processes=99).instead_of(share)
    assert (asked.memory, asked.disk) == (3 * GIB, 2 * GIB)
    assert (asked.cpus, asked.processes) == (1.5, 99)
    assert asked.asked == ("memory", "cpu", "pids")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("64mb", 64 << 20),
        ("2048K", 2 << 20),
        ("1048576", 1 << 20),
    ],
)
def test_size_with_and_without_units(text: str, number: int) -> None:
    assert limits.size(text) == number


@pytest.mark.parametrize("text", ["", "M", "-1G", "1T", "much", "1 G", "1023K", "1,5G", "0"])
def test_size_refuses_other_texts(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        limits.size(text)
    assert "512M" in caught.value.hint
