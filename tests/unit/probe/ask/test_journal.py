"""The arguments with which journalctl shows the entries about units."""

from __future__ import annotations

import pytest

from postroj.probe.ask import journal


def test_about_matches_every_field_that_names_a_unit() -> None:
    assert journal.about(["a.service"]) == [
        *("_SYSTEMD_UNIT=a.service", "+", "UNIT=a.service", "+"),
        *("_UID=0", "OBJECT_SYSTEMD_UNIT=a.service", "+", "_UID=0", "COREDUMP_UNIT=a.service"),
    ]


def test_about_matches_any_of_several_units() -> None:
    argv = journal.about(["a.service", "b.timer"])
    assert argv == [*journal.about(["a.service"]), "+", *journal.about(["b.timer"])]


HEAD = "Nov 29 23:34:23 guest "
BEGUN = f"{HEAD}systemd[1]: Started x.service - X."
OVER = f"{HEAD}systemd[1]: x.service: Deactivated successfully."
STOPS = f"{HEAD}systemd[1]: Stopping x.service - X..."
STOPPED = f"{HEAD}systemd[1]: Stopped x.service - X."


@pytest.mark.parametrize(
    ("lines", "tells"),
    [
        ((BEGUN, OVER), True),
        ((BEGUN, f"{HEAD}systemd[1]: x.service: Succeeded."), True),
        ((BEGUN, f"{HEAD}x[7]: bye", OVER), True),
        ((BEGUN, STOPS, OVER, STOPPED), False),
        ((BEGUN, STOPS, OVER, STOPPED, BEGUN, OVER), True),
        ((BEGUN,), False),
        ((OVER,), False),
        ((f"{HEAD}x[7]: systemd[1]: Started x", OVER), False),
        ((), False),
    ],
)
def test_journal_tells_that_a_unit_has_ended_by_itself(lines: tuple[str, ...], tells: bool) -> None:
    assert journal.tells_end("\n".join(lines)) is tells


def test_about_without_units_is_empty() -> None:
    assert journal.about([]) == []
