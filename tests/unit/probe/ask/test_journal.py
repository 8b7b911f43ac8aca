"""What journalctl is asked about units."""

from __future__ import annotations

from postroj.probe.ask import journal


def test_all_fields_that_name_a_unit_are_looked_into() -> None:
    assert journal.about(["a.service"]) == [
        *("_SYSTEMD_UNIT=a.service", "+", "UNIT=a.service", "+"),
        *("_UID=0", "OBJECT_SYSTEMD_UNIT=a.service", "+", "_UID=0", "COREDUMP_UNIT=a.service"),
    ]


def test_several_units_are_alternatives() -> None:
    argv = journal.about(["a.service", "b.timer"])
    assert argv == [*journal.about(["a.service"]), "+", *journal.about(["b.timer"])]


def test_nothing_is_asked_about_no_unit() -> None:
    assert journal.about([]) == []
