"""A command of postroj that takes too long is nobody's fault, whichever of a probe it is."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postroj.errors import CommandTimeout
from postroj.probe import probe
from postroj.probe.compare import state
from postroj.verdict import Outcome, ProbeResult, StepName
from tests.support.fake_guest import Answer, FakeGuest
from tests.support.listener import Ear
from tests.unit.probe.test_probe import IMAGE, PACKAGE, PLAN, fine

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from postroj.container.spec import GuestSpec

STEPS = (StepName.INSTALL, StepName.REINSTALL, StepName.REMOVE)
LIMITED = ("apt-get", "dpkg", PLAN.questions[0].subject)
"""What the user limits: the programs of a step, and the command of a question."""


class Host:
    """A host on which one command takes too long, the `which`-th of all like it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.met = Counter[tuple[str, ...]]()
        self.removed = False

    def answer(self, argv: tuple[str, ...]) -> Answer:
        self.removed |= "remove" in argv and "--simulate" not in argv
        self.met[argv] += 1
        if argv == self.slow and self.met[argv] == self.which:
            return CommandTimeout(argv, 30, "")
        return (1, "") if self.removed and argv[0] == "dpkg-query" else fine(argv)

    def probe(self, slow: tuple[str, ...] = (), which: int = 0) -> ProbeResult:
        @contextmanager
        def boot(spec: GuestSpec) -> Iterator[Any]:
            yield FakeGuest(self.answer)

        self.slow, self.which = slow, which
        self.met.clear()
        self.removed = False
        self.monkeypatch.setattr(probe, "start_guest", boot)
        return probe.probe(IMAGE, [PACKAGE], replace(PLAN, steps=STEPS), Ear())


def test_no_command_of_a_probe_that_takes_too_long_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(monkeypatch)
    assert host.probe().outcome is Outcome.PASS
    ours = {argv: count for argv, count in host.met.items() if not {*LIMITED} & {*argv}}
    found = {
        (argv, which): host.probe(argv, which)
        for argv, count in ours.items()
        for which in range(1, count + 1)
    }
    assert len(found) > 30
    assert [place for place, result in found.items() if result.outcome is Outcome.FAIL] == []
    compared = [result for (argv, _), result in found.items() if state.SCRIPT in argv]
    assert {result.outcome for result in compared} == {Outcome.ERROR}
    errors = [result for result in found.values() if result.outcome is Outcome.ERROR]
    assert len(errors) > 20
