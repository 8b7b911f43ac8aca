"""Whose a unit is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.discover import ownership
from postroj.probe.discover.payload import Payload
from tests.unit.probe.discover.test_discover import snap, state

NATIVE = state("other.service", names=("other.service", "x.service"), file_state="static")
SCRIPT = Payload(scripts=("x",))
THERE = snap((), other_service="static", x_service="alias")
UP = replace(THERE, up=frozenset({"other.service"}))


def scripts(brought: Payload = SCRIPT, unit: object = NATIVE, **more: object) -> list[str]:
    options = {"before": UP, "after": UP} | more
    return [name for name, _ in ownership.superseded(brought, [unit], **options)]  # type: ignore[list-item, arg-type]


def test_whose_a_unit_of_a_dependency_is() -> None:
    brought = Payload(units=("own.service",), programs=("/usr/sbin/x", "/sbin/y"))
    foreign = {"theirs.service"}
    assert not ownership.is_own(state("theirs.service"), brought, foreign)
    assert ownership.is_own(state("new.service"), brought, foreign)
    both = state("theirs.service", names=("theirs.service", "own.service"))
    assert ownership.is_own(both, brought, foreign)
    for program in ("/usr/sbin/x", "/sbin/x", "/usr/sbin/y"):
        runs_own = state("theirs.service", programs=(program,))
        assert ownership.is_own(runs_own, brought, foreign)


def test_a_native_unit_that_was_there_is_not_that_of_a_script_of_its_name() -> None:
    assert scripts() == ["x"]
    assert scripts(before=snap(), after=snap(), foreign={"other.service"}) == ["x"]
    assert replace(SCRIPT, superseded=frozenset({"x"})).all_units == frozenset()


@pytest.mark.parametrize(
    "unit",
    [
        state("x.service", file_state="generated"),
        state("x.service", source="/etc/init.d/x"),
        replace(NATIVE, load="masked"),
        state("other.service", file_state="static"),
    ],
)
def test_other_units_supersede_no_script(unit: object) -> None:
    assert scripts(unit=unit) == []


def test_a_unit_that_the_packages_ship_make_or_start_is_that_of_their_script() -> None:
    assert scripts(Payload(scripts=("x",), units=("other.service",))) == []
    assert scripts(before=snap()) == []
    assert scripts(before=THERE) == []


def test_describe_which_unit_has_the_name_of_a_script() -> None:
    assert list(ownership.describe({"x": NATIVE})) == [
        "systemd never runs the SysV script 'x': x.service is another name of other.service, "
        "a unit that the package does not ship"
    ]
    (said,) = ownership.describe({"x": state("x.service")})
    assert said.endswith(": x.service is a unit that the package does not ship")
