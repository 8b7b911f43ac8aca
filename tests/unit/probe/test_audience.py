"""`UntilOver` forwards every event of a probe until the probe is given up."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from postroj.probe.audience import Audience, UntilOver
from postroj.verdict import CheckKind, CheckResult, Outcome, ProbeResult, StepName, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = StepResult(name=StepName.INSTALL, done=Outcome.PASS, reason="", seconds=0)
CHECK = CheckResult(kind=CheckKind.UNIT, subject="x", outcome=Outcome.PASS, reason="", seconds=0)
PROBE = ProbeResult(image="debian-sid", package="x.deb")
EVENTS: dict[str, tuple[Any, ...]] = {
    "begin_probe": ("debian-sid", "x.deb"),
    "begin_part": ("boot",),
    "end_step": (STEP,),
    "end_check": (CHECK,),
    "end_probe": (PROBE,),
}


class Ear:
    """An audience that records what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *words: self.heard.append((name, words))


def test_the_events_are_all_that_an_audience_has() -> None:
    assert {name for name in vars(Audience) if not name.startswith("_")} == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("is_over", [False, True], ids=["goes-on", "given-up"])
def test_an_event_is_forwarded_unless_the_probe_is_given_up(event: str, *, is_over: bool) -> None:
    ear, over = Ear(), Event()
    forwarder = UntilOver(ear, over)
    if is_over:
        over.set()
    getattr(forwarder, event)(*EVENTS[event])
    assert ear.heard == ([] if is_over else [(event, EVENTS[event])])
    assert forwarder.has_begun is (event == "begin_probe" and not is_over)
    assert forwarder.has_ended is (event == "end_probe" and not is_over)
