"""Between which versions a probe goes: older, tested and raised."""

from __future__ import annotations

from postroj.probe.managers.base import PackageFacts
from postroj.probe.versions import Batch, Versions


def batch(version: str) -> Batch:
    facts = PackageFacts(name="x", version=version, architecture="all")
    return Batch(paths=(f"/{version}",), facts=(facts,))


OLDER, TESTED, RAISED = batch("1"), batch("2"), batch("3")


def test_with_an_older_version_the_way_is_from_older_to_tested_and_back() -> None:
    known = Versions(tested=TESTED, older=OLDER)
    assert (known.first, known.upper, known.lower) == (OLDER, TESTED, OLDER)


def test_with_a_raised_version_the_way_is_from_tested_to_raised_and_back() -> None:
    known = Versions(tested=TESTED, raised=RAISED)
    assert (known.first, known.upper, known.lower) == (TESTED, RAISED, TESTED)


def test_with_neither_there_is_nothing_to_go_back_to() -> None:
    known = Versions(tested=TESTED)
    assert (known.first, known.upper, known.lower) == (TESTED, TESTED, None)
