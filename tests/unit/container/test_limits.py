"""How much of a host a guest gets."""

from __future__ import annotations

from postroj.container import limits

GIB = 1 << 30


def test_one_guest_may_write_half_of_the_host() -> None:
    assert limits.share(8 * GIB, 1) == limits.Limits(memory=6 * GIB, disk=4 * GIB, processes=4096)


def test_guests_that_run_at_once_share_the_host() -> None:
    each = limits.share(8 * GIB, 4)
    assert (each.memory, each.disk) == (3 * GIB // 2, GIB)
    assert 4 * each.memory < 8 * GIB


def test_what_can_be_written_leaves_memory_for_processes() -> None:
    assert all(limits.share(5 * GIB, n).disk < limits.share(5 * GIB, n).memory for n in range(1, 9))


def test_this_host_counts_what_it_killed() -> None:
    assert limits.oom_kills() >= 0
