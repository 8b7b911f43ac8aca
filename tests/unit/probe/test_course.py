"""`--steps` and `--upgrade-from`: which steps are taken, and which orders are refused."""

from __future__ import annotations

import pytest

from postroj.errors import UsageError
from postroj.probe.course import course
from postroj.verdict import StepName


@pytest.mark.parametrize(
    ("text", "upgrades", "steps"),
    [
        ("", False, "install start"),
        ("", True, "install start upgrade"),
        ("install, purge", False, "install purge"),
        ("install,upgrade,downgrade", False, "install upgrade downgrade"),
        ("install,reinstall,remove,purge", False, "install reinstall remove purge"),
        ("install,upgrade,reinstall,downgrade", True, "install upgrade reinstall downgrade"),
        ("install,reinstall,upgrade", True, "install reinstall upgrade"),
    ],
)
def test_an_order(text: str, *, upgrades: bool, steps: str) -> None:
    assert " ".join(course(text, upgrades=upgrades)) == steps


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
        ("install,remove,reinstall", False, "`remove` and `purge` are the last steps"),
        ("install,purge,remove", False, "`remove` and `purge` are the last steps"),
        ("install,downgrade", False, "`downgrade` comes after `upgrade`"),
        ("install,purge", True, "`--upgrade-from` is for the step `upgrade`"),
        ("install,downgrade,upgrade", True, "`downgrade` comes after `upgrade`"),
    ],
)
def test_no_order(text: str, *, upgrades: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        course(text, upgrades=upgrades)
