"""What journalctl is asked about units."""

from __future__ import annotations

from postroj.probe import journal


def test_all_fields_that_name_a_unit_are_looked_into() -> None:
    assert journal.about(["a.service"]) == [
        *("_SYSTEMD_UNIT=a.service", "+", "UNIT=a.service", "+"),
        *("OBJECT_SYSTEMD_UNIT=a.service", "+", "COREDUMP_UNIT=a.service"),
    ]


def test_several_units_are_alternatives() -> None:
    argv = journal.about(["a.service", "b.timer"])
    assert argv[1::2] == ["+"] * 7
    assert argv[0::2].count("UNIT=b.timer") == 1


def test_nothing_is_asked_about_no_unit() -> None:
    assert journal.about([]) == []
