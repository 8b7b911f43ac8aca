"""The evidence of steps that go wrong, and when a visitor is called; the guest is a fake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import GuestError
from postroj.model import Image
from postroj.probe.ask import sockets
from postroj.probe.evidence.witness import Witness
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = Image(name="debian-trixie", architecture="x86_64", layers=(Path("/i"),), manager=None)


def step(done: Outcome, answer: Outcome = Outcome.PASS) -> StepResult:
    check = CheckResult(
        kind=CheckKind.UNIT, subject="a", outcome=answer, reason="dead\nlog", seconds=0
    )
    return StepResult(name=StepName.INSTALL, done=done, reason="x\ny", seconds=0, checks=(check,))


class Scene:
    """A witness, and all that it does."""

    def __init__(self) -> None:
        self.guest = FakeGuest(lambda argv: (0, " ".join(argv)))
        self.visits: list[str] = []
        self.parts: list[str] = []
        self.timings: dict[str, float] = {}
        self.witness = Witness(self.guest, IMAGE, self.visit, self.begin, self.timings)

    def visit(self, guest: Any, sentence: str) -> None:
        self.visits.append(sentence)

    def begin(self, part: str) -> None:
        self.parts.append(part)

    def watch(self, result: StepResult, *notes: str) -> dict[str, str]:
        self.witness.begin_step()
        for note in notes:
            self.witness.record_output(["apt-get", "in stall"], note)
        found = self.witness.end_step(result, ["b.service", "a.service"])
        return {evidence.name: evidence.text for evidence in found}


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(sockets, "listening", lambda leader: [])
    return Scene()


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.SKIP])
def test_a_good_step_leaves_no_evidence(scene: Scene, outcome: Outcome) -> None:
    assert scene.watch(step(outcome)) == {}
    assert (scene.visits, scene.parts, scene.timings, scene.guest.ran) == ([], [], {}, [])


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR])
def test_a_bad_check_leaves_evidence_and_calls_the_visitor(scene: Scene, outcome: Outcome) -> None:
    found = scene.watch(step(Outcome.PASS, outcome), "one", "two")
    assert found["status"].endswith(" -- a.service b.service")
    assert found["output"] == "$ apt-get 'in stall'\none\n$ apt-get 'in stall'\ntwo"
    assert scene.visits == ["debian-trixie: install: unit a: dead"]
    assert scene.parts == ["evidence"]
    assert set(scene.timings) == {"evidence"}


def test_a_bad_step_leaves_evidence_and_calls_the_visitor(scene: Scene) -> None:
    assert "journal" in scene.watch(step(Outcome.FAIL), "of the first")
    assert scene.visits == ["debian-trixie: install: x"]
    assert "output" not in scene.watch(step(Outcome.FAIL))


def test_endless_output_is_truncated(scene: Scene) -> None:
    found = scene.watch(step(Outcome.FAIL), *(["line\n" * 100_000] * 5))
    assert len(found["output"]) < 300 << 10


def test_an_error_leaves_evidence_and_calls_the_visitor_unless_the_guest_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = GuestError("it is odd", evidence="log")
    assert "journal" in {evidence.name for evidence in scene.witness.end_with_error(error)}
    assert scene.visits == ["debian-trixie: it is odd"]
    monkeypatch.setattr(scene.guest, "has_ended", lambda: True)
    assert [one.name for one in scene.witness.end_with_error(error)] == ["console"]
    assert len(scene.visits) == 1


def test_evidence_without_a_visitor(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begin: Callable[[str], None] = scene.begin
    witness = Witness(scene.guest, IMAGE, None, begin, {})
    assert witness.end_step(step(Outcome.FAIL), [])
