"""What postroj has enabled and a package disables again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.compare.losses import Change, find, loss
from postroj.probe.compare.policy import excuse
from postroj.verdict import CheckKind, Outcome, StepName, Why
from tests.unit.probe.compare.states import UP, state

FILE = "/usr/lib/systemd/system/x.service"
SETTING = "ENABLED=false in /etc/default/x"
OFF = replace(UP, active="inactive", sub="dead", main_pid=0, file_state="disabled")


@pytest.mark.parametrize(
    ("now", "enabled", "switch", "outcome"),
    [
        (OFF, ["x.service"], SETTING, Outcome.SKIP),
        (replace(UP, file_state="disabled"), ["x.service"], SETTING, Outcome.SKIP),
        (OFF, ["x.service"], "", Outcome.FAIL),
        (OFF, [], SETTING, Outcome.FAIL),
        (replace(OFF, file_state="enabled"), ["x.service"], SETTING, Outcome.FAIL),
    ],
)
def test_excuse_only_what_postroj_enabled_and_a_setting_disables(
    now: object, enabled: list[str], switch: str, outcome: Outcome
) -> None:
    before, after = state(UP, own=[FILE]), state(now, own=[FILE])  # type: ignore[arg-type]
    change = Change(step=StepName.REINSTALL, before=before, now=after, first=state())
    found = find(change, lambda unit: "")
    (answer,) = excuse(found, change, enabled, lambda: switch)
    assert answer.outcome is outcome
    assert answer.reason.endswith(f"by a setting: {SETTING}") is (outcome is Outcome.SKIP)
    assert answer.why is (Why.POLICY if outcome is Outcome.SKIP else None)


def test_excuse_asks_for_a_setting_only_if_a_unit_was_disabled() -> None:
    both = state(UP, own=[FILE])
    change = Change(step=StepName.REINSTALL, before=both, now=both, first=state())
    found = [loss("x.service", "was masked", kind=CheckKind.UNIT), loss("users", "lost")]
    assert excuse(found, change, ["x.service"], lambda: pytest.fail("asked")) == found
