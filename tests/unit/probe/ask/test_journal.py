"""The arguments with which journalctl shows the entries about units."""

from __future__ import annotations

from postroj.probe.ask import journal


def test_about_matches_every_field_that_names_a_unit() -> None:
    assert journal.about(["a.service"]) == [
        *("_SYSTEMD_UNIT=a.service", "+", "UNIT=a.service", "+"),
        *("_UID=0", "OBJECT_SYSTEMD_UNIT=a.service", "+", "_UID=0", "COREDUMP_UNIT=a.service"),
    ]


def test_about_matches_any_of_several_units() -> None:
    argv = journal.about(["a.service", "b.timer"])
    assert argv == [*journal.about(["a.service"]), "+", *journal.about(["b.timer"])]


def test_about_without_units_is_empty() -> None:
    assert journal.about([]) == []
