"""When a plan asks the user's questions, and on which images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.model import Image, Manager, NetworkMode
from postroj.probe.ask.checks import Manners
from postroj.probe.ask.question import Demand, Question
from postroj.probe.plan import Plan
from postroj.verdict import CheckKind, StepName

UNIT = Question(kind=CheckKind.UNIT, subject="x")
PLAN = Plan(
    questions=(
        UNIT,
        replace(UNIT, subject="early", since=StepName.INSTALL),
        replace(UNIT, subject="late", since=StepName.REBOOT),
        replace(UNIT, subject="on", demand=Demand.ENABLED),
    ),
    manners=Manners(),
    network=NetworkMode.NONE,
    timeout=1,
    boot_timeout=1,
    steps=(
        *(StepName.INSTALL, StepName.START, StepName.UPGRADE, StepName.REBOOT),
        StepName.INSTALL_AGAIN,
    ),
)


def due(plan: Plan, step: StepName, *, waits: bool = False) -> str:
    return " ".join(question.subject for question in plan.due(step, waits=waits))


@pytest.mark.parametrize(
    ("step", "waits", "subjects"),
    [
        (StepName.INSTALL, False, "x early on"),
        (StepName.INSTALL, True, "early on"),
        (StepName.START, True, "x early"),
        (StepName.UPGRADE, False, "x early"),
        (StepName.REBOOT, False, "x early late"),
        (StepName.INSTALL_AGAIN, False, "x early late"),
        (StepName.INSTALL_AGAIN, True, "x early late"),
    ],
)
def test_due_questions_wait_for_the_units_that_are_still_to_start(
    step: StepName, *, waits: bool, subjects: str
) -> None:
    assert due(PLAN, step, waits=waits) == subjects


@pytest.mark.parametrize("older", [{"upgrade_from": ("old.deb",)}, {"from_repository": True}])
def test_due_questions_do_not_concern_an_older_package(older: dict[str, object]) -> None:
    plan = replace(PLAN, **older)  # type: ignore[arg-type]
    assert due(plan, StepName.INSTALL) == "early on"
    assert due(plan, StepName.START) == "early"
    assert due(plan, StepName.UPGRADE) == "x early"


def test_on_keeps_the_questions_about_an_image_and_its_format() -> None:
    questions = (
        UNIT,
        replace(UNIT, subject="rpm", formats=("rpm",)),
        replace(UNIT, subject="sid", images=frozenset({"debian-sid"})),
    )
    for name, manager, subjects in (
        ("debian-sid", Manager.APT, "x sid"),
        ("fedora-43", Manager.DNF, "x rpm"),
        ("gentoo", None, "x"),
    ):
        image = Image(name=name, architecture="x86_64", layers=(), manager=manager)
        asked = replace(PLAN, questions=questions).on(image).questions
        assert " ".join(question.subject for question in asked) == subjects


def test_slowed_gives_checks_more_time_and_units_a_little() -> None:
    plan = replace(PLAN, manners=Manners(timeout=10, settle=2))
    assert plan.slowed(1) == plan
    twice = plan.slowed(2)
    assert (twice.manners.timeout, twice.manners.settle) == (20, 4)
    slow = plan.slowed(8)
    assert (slow.manners.timeout, slow.manners.settle) == (80, 6)
    assert replace(slow, manners=plan.manners) == plan
    asked = replace(plan, questions=(replace(PLAN.questions[0], timeout=5.0),)).slowed(8)
    assert asked.questions[0].timeout == 40
