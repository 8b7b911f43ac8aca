"""When something that an idle unit lacks is a fault of the package, and when only a remark."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from postroj.probe.ask.unitstate import UnitState
from postroj.probe.discover import idle, snapshot
from postroj.probe.discover.idle import Idle
from tests.support.fake_guest import Answer, FakeGuest

PROGRAM = "ExecStart={ path=/usr/bin/x ; argv[]=/usr/bin/x ; ignore_errors=no ; start_time=[n/a] }"
ENVIRONMENT = "EnvironmentFiles=/etc/x (ignore_errors=no)"
PATH = "/lib/systemd/system/x.service"


def state(**changes: object) -> UnitState:
    options = {"load": "loaded", "active": "inactive", "sub": "dead"} | changes
    return UnitState(name="x.service", **options)  # type: ignore[arg-type]


@dataclass
class Case:
    """A guest with one idle unit."""

    lacks: str = PROGRAM
    text: str = ""
    companion: str = ""
    activated: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def read(self, unit: UnitState) -> Idle:
        def answer(argv: tuple[str, ...]) -> Answer:
            show = f"Id=x.service\nLoadState=loaded\nFragmentPath={PATH}\n{self.lacks}\n"
            return (0, show) if argv[:2] == ("systemctl", "show") else (1, "")

        def companion() -> str:
            self.asked.append(self.companion)
            return self.companion

        guest = FakeGuest(answer, files={PATH: self.text.encode()})
        empty = snapshot.parse("", ())
        found = idle.read(guest, [unit], [], empty, self.activated, companion)
        return found.get("x.service", Idle())


DISABLED = state(file_state="disabled")
STATIC = state(file_state="static")
STARTS = (
    state(file_state="enabled"),
    state(file_state="static", wanted_by=("multi-user.target",)),
    state(file_state="static", triggered_by=("x.timer",)),
)


@pytest.mark.parametrize("unit", [DISABLED, *STARTS])
def test_missing_program_is_a_fault(unit: UnitState) -> None:
    found = Case().read(unit)
    assert found.faults == ("its program '/usr/bin/x' does not exist (ExecStart=)",)
    assert found.remarks == ()


def test_missing_program_of_a_static_unit_is_a_remark_unless_d_bus_starts_it() -> None:
    assert Case().read(STATIC).faults == ()
    assert len(Case().read(STATIC).remarks) == 1
    assert len(Case(activated=("x.service",)).read(STATIC).faults) == 1


@pytest.mark.parametrize("unit", STARTS)
def test_missing_environment_file_is_a_fault_of_a_unit_that_starts_by_itself(
    unit: UnitState,
) -> None:
    assert Case(lacks=ENVIRONMENT).read(unit).faults == (
        "its EnvironmentFile '/etc/x' does not exist",
    )


def test_missing_environment_file_of_a_disabled_unit_is_a_remark() -> None:
    found = Case(lacks=ENVIRONMENT).read(DISABLED)
    assert (found.faults, len(found.remarks)) == ((), 1)


def test_unmet_condition_makes_a_fault_a_remark() -> None:
    found = Case(text="[Unit]\nConditionPathExists=/usr/share/y\n").read(DISABLED)
    assert found.faults == ()
    assert found.remarks[0].endswith("(ExecStart=); a condition on '/usr/share/y' is not met")


def test_another_package_of_the_source_makes_a_fault_a_remark() -> None:
    found = Case(companion="nginx").read(DISABLED)
    assert found.faults == ()
    assert found.remarks[0].endswith("(ExecStart=); 'nginx' may bring it")


def test_bytes_that_no_path_can_have_are_left_out() -> None:
    lacks = f"{ENVIRONMENT}\nUser=a\0b".replace("/etc/x", "/etc/\0x")
    assert len(Case(lacks=lacks, text="ConditionPathExists=/\0").read(DISABLED).remarks) == 2


def test_nobody_is_asked_for_another_package_if_nothing_is_missing() -> None:
    case = Case(lacks="")
    assert case.read(DISABLED) == Idle()
    assert case.asked == []
