"""Units of others that end by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.journal import Entry, Event
from postroj.probe.compare.losses import Change, find, loss
from postroj.probe.compare.rested import leave_out
from postroj.verdict import CheckKind, StepName
from tests.unit.probe.compare.states import UP, state

FILE = "/usr/lib/systemd/system/x.service"
ENDED = replace(
    UP, active="inactive", sub="dead", main_pid=0, started=-1.0, exit="exited, status 0"
)


def changed(now: object, own: list[str]) -> Change:
    before, after = state(UP, own=own), state(now, own=own)  # type: ignore[arg-type]
    return Change(step=StepName.UPGRADE, before=before, now=after, first=state(UP))


def entry(event: Event) -> Entry:
    return Entry(unit="x.service", event=event, invocation="1", time=1.0)


@pytest.mark.parametrize(
    ("now", "own", "events", "is_lost"),
    [
        (ENDED, [], [], False),
        (replace(ENDED, exit=""), [], [], False),
        (ENDED, [], [Event.STOPPING], True),
        (ENDED, [FILE], [], True),
        (replace(ENDED, exit="killed, signal 9"), [], [], True),
        (replace(ENDED, file_state="disabled"), [], [], True),
        (replace(ENDED, active="failed", exit="exited, status 1"), [], [Event.EXIT], True),
    ],
)
def test_leave_out_only_units_of_others_that_no_job_has_stopped(
    now: object, own: list[str], events: list[Event], *, is_lost: bool
) -> None:
    change = changed(now, own)
    found = find(change, lambda unit: "")
    assert [answer.subject for answer in found] == ["x.service"]
    assert bool(leave_out(found, change, lambda: [*map(entry, events)])) is is_lost


def test_leave_out_reads_nothing_if_no_unit_has_ended() -> None:
    change = changed(UP, [])
    found = [loss("x.service", "is masked", kind=CheckKind.UNIT), loss("users", "lost")]
    assert leave_out(found, change, lambda: pytest.fail("read")) == found
