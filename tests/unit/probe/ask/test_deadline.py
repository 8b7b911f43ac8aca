"""Deadlines on the real clock."""

from __future__ import annotations

import threading
import time

import pytest

from postroj.probe.ask.deadline import CalledOff, Deadline


def test_wait_stops_at_the_deadline() -> None:
    deadline = Deadline(0.15)
    assert 0 < deadline.left <= 0.15
    assert deadline.wait(0.01)
    assert not deadline.wait(10)
    assert 0.15 <= deadline.spent < 5
    assert deadline.left == 0
    assert not deadline.wait(10)


def test_extend_moves_a_deadline_only_to_a_later_moment() -> None:
    deadline = Deadline(60)
    end = deadline.end
    deadline.extend(1)
    assert deadline.end == end
    deadline.extend(120)
    assert deadline.end > end + 30


def test_a_deadline_of_zero_seconds() -> None:
    assert not Deadline(0).wait(1)


def test_wait_raises_once_it_is_cancelled() -> None:
    over = threading.Event()
    timer = threading.Timer(0.05, over.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(CalledOff):
        Deadline(60, over).wait(60)
    assert time.monotonic() - began < 10
    timer.join()
