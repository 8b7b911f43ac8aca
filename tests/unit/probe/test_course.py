"""`--steps` and `--upgrade-from`: which steps are taken, and which orders are refused."""

from __future__ import annotations

import pytest

from postroj.errors import UsageError
from postroj.probe.course import course, demanded
from postroj.verdict import StepName


@pytest.mark.parametrize(
    ("text", "upgrades", "steps"),
    [
        ("", False, "install start"),
        ("", True, "install start upgrade"),
        ("install, purge", False, "install purge"),
        ("install,upgrade,downgrade", False, "install upgrade downgrade"),
        ("install,reinstall,remove,purge", False, "install reinstall remove purge"),
        ("install,remove,install-again", False, "install remove install-again"),
        ("install,remove,install-again,purge", False, "install remove install-again purge"),
        ("install,upgrade,reinstall,downgrade", True, "install upgrade reinstall downgrade"),
        ("install,reinstall,upgrade", True, "install reinstall upgrade"),
    ],
)
def test_an_order(text: str, *, upgrades: bool, steps: str) -> None:
    assert " ".join(course(text, upgrades=upgrades)) == steps


@pytest.mark.parametrize(
    ("text", "starts", "steps"),
    [
        ("", False, "install"),
        ("install", True, "install start"),
        ("install,reboot", True, "install start reboot"),
        ("install,reboot", None, "install reboot"),
        ("install,reboot,start", True, "install reboot start"),
    ],
)
def test_start_and_no_start_change_an_order(text: str, *, starts: bool | None, steps: str) -> None:
    assert " ".join(course(text, upgrades=False, starts=starts)) == steps


def test_no_start_leaves_start_out_of_all_and_contradicts_a_named_step() -> None:
    assert StepName.START not in course("all", upgrades=False, starts=False)
    with pytest.raises(UsageError, match="`--no-start` leaves `start` out"):
        course("install,start", upgrades=False, starts=False)


@pytest.mark.parametrize(
    ("text", "upgrades", "steps"),
    [
        ("", False, ""),
        ("all", False, ""),
        ("", True, "upgrade"),
        ("all", True, "upgrade"),
        ("install,upgrade", True, "install upgrade"),
        ("install,reboot", False, "install reboot"),
    ],
)
def test_demanded_steps_are_those_that_the_user_names(
    text: str, *, upgrades: bool, steps: str
) -> None:
    assert " ".join(demanded(text, upgrades=upgrades)) == steps


def test_all_is_every_step_that_leads_to_the_package_under_test() -> None:
    every = course("all", upgrades=True)
    assert [name for name in StepName if name not in every] == [StepName.DOWNGRADE]
    assert course("all", upgrades=False) == every


@pytest.mark.parametrize(
    ("text", "upgrades", "words"),
    [
        ("instal", False, "'instal' is not a step"),
        ("install,", False, "'' is not a step"),
        ("install,remove,remove", False, "a step is named twice"),
        ("remove", False, "the first step is `install`"),
        ("install,remove,reinstall", False, "`remove`, `install-again` and `purge` are the last"),
        ("install,purge,remove", False, "`remove`, `install-again` and `purge` are the last steps"),
        ("install,install-again,remove", False, "`install-again` and `purge` are the last steps"),
        ("install,install-again,purge", False, "`install-again` comes after `remove`"),
        ("install,downgrade", False, "`downgrade` comes after `upgrade`"),
        ("install,purge", True, "`--upgrade-from` is for the step `upgrade`"),
        ("install,downgrade,upgrade", True, "`downgrade` comes after `upgrade`"),
    ],
)
def test_no_order(text: str, *, upgrades: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        course(text, upgrades=upgrades)
