"""Units that a maintainer script starts before it enables them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.not_started import ask, is_late
from postroj.verdict import Outcome
from tests.support.fake_guest import FakeGuest

LATE = UnitState(
    name="a.service", load="loaded", active="inactive", sub="dead", file_state="enabled"
)


def test_is_late_of_an_enabled_unit_that_nothing_starts() -> None:
    assert is_late(LATE)


@pytest.mark.parametrize(
    "others",
    [
        {"file_state": "static"},
        {"file_state": "disabled"},
        {"load": "masked"},
        {"started": 5.0},
        {"has_job": True},
        {"triggered_by": ("a.socket",)},
    ],
)
def test_is_late_of_a_unit_that_is_not(others: dict[str, Any]) -> None:
    assert not is_late(replace(LATE, **others))


def test_ask_leaves_out_templates() -> None:
    guest = FakeGuest()
    assert ask(guest, ["a@.service"]) == (Outcome.PASS, "none")
    assert guest.ran == []
