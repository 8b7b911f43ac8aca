"""Find a known cause in what a program has printed."""

from __future__ import annotations

from postroj.causes import Cause, find

FULL = Cause(pattern=r"No space left|^disk full$", sentence="the disk is full")
BROKEN = Cause(pattern=r"broken (?P<what>\w+)", sentence="{what} is broken", hint="mend it")


def test_find_returns_the_first_cause_of_the_table_wherever_it_stands() -> None:
    found = find((FULL, BROKEN), "a broken pipe\nNo space left\n")
    assert found
    assert found[0] is FULL


def test_find_returns_all_matches_of_the_cause() -> None:
    found = find((FULL, BROKEN), "a broken pipe\na broken heart\n")
    assert found
    assert [match["what"] for match in found[1]] == ["pipe", "heart"]


def test_find_matches_the_ends_of_lines() -> None:
    assert find((FULL,), "first\ndisk full\nlast")
    assert find((FULL,), "the disk full of data") is None


def test_find_returns_none_without_a_known_cause() -> None:
    assert find((FULL, BROKEN), "all is well") is None
