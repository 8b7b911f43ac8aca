"""What a step has taken away, and what is no loss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind
from postroj.probe.compare.losses import (
    STAYS_DONE,
    Change,
    describe_loss,
    find,
    with_units_of,
)
from postroj.verdict import CheckKind, Outcome, StepName
from tests.unit.probe.compare.states import UP, file, state

if TYPE_CHECKING:
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.compare.state import GuestState

DOWN = replace(UP, active="inactive", sub="dead", main_pid=0)
SOCKET = replace(UP, name="x.socket", sub="listening", main_pid=0)
FIREWALL = replace(UP, kind="oneshot", sub="exited", main_pid=0, has_stop=True)
RESTORED = replace(FIREWALL, has_stop=False)
FILE = "/usr/lib/systemd/system/x.service"
NEWER = "/usr/lib/systemd/system/y.service"
RAN = "ran before the upgrade, but was inactive (dead) right after it"


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        (UP, UP, ""),
        (UP, replace(UP, main_pid=8, started=2.0), ""),
        (UP, DOWN, RAN),
        (UP, replace(DOWN, has_job=True), ""),
        (UP, replace(DOWN, active="activating"), ""),
        (UP, replace(DOWN, triggered_by=("x.socket",)), ""),
        (UP, replace(DOWN, triggered_by=("x.socket",), result="exit-code"), RAN),
        (UP, replace(DOWN, unmet_condition=True), ""),
        (UP, replace(DOWN, started=9.0, exit="ended with status 0"), ""),
        (replace(UP, file_state="static"), replace(DOWN, file_state="static"), ""),
        (replace(UP, kind="dbus"), replace(DOWN, kind="dbus"), ""),
        (replace(UP, names=("x.service", "dbus-org.x.service")), DOWN, ""),
        (replace(UP, kind="dbus", wanted_by=("y.target",)), DOWN, RAN),
        (replace(UP, file_state="static", wanted_by=("y.service",)), DOWN, RAN),
        (DOWN, UP, ""),
        (DOWN, DOWN, ""),
        (UP, replace(DOWN, load="not-found"), ""),
        (
            SOCKET,
            replace(SOCKET, active="inactive", sub="dead"),
            "was active (listening) before the upgrade, but was inactive (dead) right after it",
        ),
        (
            FIREWALL,
            replace(DOWN, kind="oneshot"),
            "was active (exited) before the upgrade, but was inactive (dead) right after it",
        ),
        (
            UP,
            replace(UP, file_state="disabled"),
            "was enabled before the upgrade, but is disabled after it",
        ),
        (
            replace(DOWN, file_state="static"),
            replace(DOWN, load="masked"),
            "was inactive (dead) before the upgrade, but is masked after it",
        ),
        (replace(UP, file_state="disabled"), UP, ""),
        (UP, replace(UP, file_state="static"), ""),
    ],
)
def test_describe_loss(before: UnitState, now: UnitState, lost: str) -> None:
    assert describe_loss(before, now, StepName.UPGRADE, since=8.0) == lost


def lost(
    before: GuestState,
    now: GuestState,
    *,
    step: StepName = StepName.UPGRADE,
    first: GuestState | None = None,
    owner: str = "",
) -> list[str]:
    """Return the losses as `SUBJECT: REASON`."""
    change = Change(step=step, before=before, now=now, first=first or state())
    found = find(change, lambda unit: owner)
    assert {answer.outcome for answer in found} <= {Outcome.FAIL, Outcome.SKIP}
    return [f"{answer.outcome} {answer.subject}: {answer.reason}" for answer in found]


def test_accounts_are_lost_or_get_other_ids() -> None:
    before = state(identities={"user a": "1", "user b": "2", "group b": "3"})
    now = state(identities={"user b": "2", "group b": "4"})
    assert lost(before, now) == [
        "fail users and groups stay: user a existed before the upgrade, but not after it",
        "fail users and groups stay: group b had the ID 3 before the upgrade, now 4",
    ]
    assert lost(before, state(), step=StepName.REMOVE) == []
    assert len(lost(before, state(), step=StepName.REMOVE, first=before)) == 3


def test_the_file_of_a_unit_is_lost_if_somebody_ships_it_or_nobody_owned_it() -> None:
    both = state(files={"x.service": "disabled", "z.service": "disabled"}, own=[FILE])
    now = state(files={}, own=[FILE])
    assert lost(both, now) == [
        "fail x.service: the packages ship it, but its file is gone after the upgrade"
    ]
    assert lost(both, state(files={})) == []
    assert lost(both, now, first=both)[1] == (
        "fail z.service: its file, which no package owns, is gone after the upgrade"
    )
    others = state(files={"x.service": "disabled"}, owned=[FILE])
    assert lost(others, state(files={}, owned=[FILE]), step=StepName.PURGE) == [
        "fail x.service: its package is installed, but its file is gone after the purge"
    ]


def test_a_unit_that_is_no_longer_shipped_is_not_lost() -> None:
    before = state(UP, SOCKET, own=[FILE])
    mask = {"x.service": "masked", "x.socket": "masked"}
    assert lost(before, state(replace(SOCKET, active="inactive"), files=mask))[1:] == []
    assert lost(state(UP, own=[FILE]), state(files={"x.service": "masked"})) == []


def test_a_unit_that_the_manager_has_forgotten_is_down() -> None:
    assert lost(state(UP, own=[FILE]), state(files={"x.service": "disabled"}, own=[FILE])) == [
        f"fail x.service: {RAN}"
    ]


@pytest.mark.parametrize(
    ("name", "now", "reason"),
    [
        ("disabled", (), "ran and was enabled before the upgrade, is gone, and this unit in its "
         "place does not run and is disabled"),
        ("disabled", (replace(UP, name="y.service", names=()),), "was enabled before the upgrade, "
         "is gone, and this unit in its place is disabled"),
        ("masked", (), "ran and was enabled before the upgrade, is gone, and this unit in its "
         "place does not run and is masked"),
        ("enabled", (), "ran before the upgrade, is gone, and this unit in its place does not run "
         "and is enabled"),
        ("enabled", (replace(UP, name="y.service", names=()),), ""),
        ("alias", (), ""),
    ],
)  # fmt: skip
def test_a_state_is_lost_across_a_rename(
    name: str, now: tuple[UnitState, ...], reason: str
) -> None:
    after = state(*now, files={"y.service": name}, own=[NEWER])
    wanted = [f"fail y.service: x.service, which {reason}"] if reason else []
    assert lost(state(UP, own=[FILE]), after) == wanted


def test_units_of_others_are_lost_only_if_they_were_enabled_and_their_package_stays() -> None:
    paths, versions = [FILE], {"other": "1"}
    before = state(UP, owned=paths, versions=versions)
    now = state(DOWN, owned=paths, versions=versions)
    aside = "it belongs to 'other'"
    assert lost(before, now, owner="other") == [
        f"fail x.service: {RAN}; {aside}, not to the packages under test"
    ]
    updated = state(DOWN, owned=paths, versions={"other": "2"})
    why = f"{RAN}; {aside}, which came or went in the same step"
    assert lost(before, updated, owner="other") == [f"skip x.service: {why}"]
    static = state(replace(UP, file_state="static"), owned=paths)
    assert lost(static, now, owner="other") == []
    assert lost(before, state(DOWN), owner="other") == []
    again = RAN.replace("upgrade", "reboot")
    assert lost(before, now, step=StepName.REBOOT) == [], again


def test_a_unit_that_gives_way_to_a_rival_is_not_lost() -> None:
    rival = replace(UP, name="rival.service", names=())
    before = state(replace(UP, conflicts=("rival.service",)), owned=[FILE])
    assert lost(before, state(DOWN, rival, owned=[FILE])) == []


def test_a_generated_unit_belongs_to_those_who_ship_the_generator() -> None:
    made = replace(UP, file_state="generated", file="/run/systemd/generator/x.service")
    gone = replace(made, active="inactive", sub="dead", main_pid=0)
    generator = "/usr/lib/systemd/system-generators/x"
    reboot = StepName.REBOOT
    assert lost(state(made, owned=[generator]), state(gone, owned=[generator]), step=reboot) == []
    found = lost(state(made, own=[generator]), state(gone, own=[generator]), step=reboot)
    assert found == [
        "fail x.service: ran before the reboot, but was inactive (dead) right after it"
    ]


def test_a_stopped_unit_whose_work_stays_done_is_told() -> None:
    stopped = replace(RESTORED, active="inactive", sub="dead")
    before, now = state(RESTORED, own=[FILE]), state(stopped, own=[FILE])
    reason = "was active (exited) before the {0}, but was inactive (dead) right after it"
    assert lost(before, now) == [f"skip x.service: {reason.format('upgrade')}; {STAYS_DONE}"]
    failing = f"fail x.service: {reason.format('upgrade')}"
    wall = state(FIREWALL, own=[FILE])
    assert lost(wall, state(replace(stopped, has_stop=True), own=[FILE])) == [failing]
    failed = state(replace(stopped, active="failed", sub="failed"), own=[FILE])
    assert lost(before, failed) == [failing.replace("inactive (dead)", "failed (failed)")]
    disabled = state(replace(stopped, file_state="disabled"), own=[FILE])
    off = "was enabled before the upgrade, but is disabled after it"
    assert lost(before, disabled) == [f"fail x.service: {off}"]
    reboot = [f"fail x.service: {reason.format('reboot')}"]
    assert lost(before, now, step=StepName.REBOOT) == reboot
    assert len(lost(before, now, step=StepName.INSTALL_AGAIN)) == 1
    busy = frozenset({"x.service"})
    change = Change(step=StepName.UPGRADE, before=before, now=now, first=state(), busy=busy)
    (found,) = find(change, lambda unit: "")
    assert found.outcome is Outcome.FAIL


def test_a_unit_of_a_target_that_the_boot_has_not_reached_is_not_lost() -> None:
    before, step = state(UP, own=[FILE]), StepName.REBOOT
    down = replace(DOWN, wanted_by=("bluetooth.target",))
    assert lost(before, state(down, own=[FILE]), step=step) == []
    reached = state(down, own=[FILE], active=["bluetooth.target"])
    assert len(lost(before, reached, step=step)) == 1
    link = {"/etc/systemd/system/bluetooth.target.wants/x.service": file(FileKind.LINK)}
    assert lost(before, state(DOWN, own=[FILE], written=link), step=step) == []
    reached = state(DOWN, own=[FILE], written=link, active=["bluetooth.target"])
    assert len(lost(before, reached, step=step)) == 1


def test_a_unit_of_others_is_no_own_one_wherever_systemd_has_found_its_file() -> None:
    """It reads /lib where that is a link to /usr/lib, where packages list their files."""
    unit = replace(UP, file="/lib/systemd/system/x.service", file_state="disabled")
    down = replace(unit, active="inactive", sub="dead")
    assert lost(state(unit, owned=[FILE]), state(down, owned=[FILE]), step=StepName.REBOOT) == []


def test_a_unit_belongs_to_those_who_ship_its_program() -> None:
    unit = replace(UP, programs=("/sbin/x",))
    before = state(unit, owned=[FILE], own=["/usr/sbin/x"])
    assert lost(before, state(DOWN, owned=[FILE]), step=StepName.REMOVE) == []
    others, gone = state(UP, owned=[FILE]), state(DOWN, owned=[FILE])
    assert len(lost(others, gone, step=StepName.REMOVE, first=others)) == 1
    assert lost(others, gone, step=StepName.REMOVE) == []  # it came up with the packages


def test_own_units_are_not_lost_by_a_removal() -> None:
    assert lost(state(UP, own=[FILE]), state(DOWN), step=StepName.REMOVE) == []


def test_units_of_a_package_that_is_installed_again_are_as_they_were_before() -> None:
    earlier, removed = state(UP, own=[FILE]), state(files={"x.service": "masked"})
    before = with_units_of(removed, earlier)
    masked = state(
        replace(DOWN, load="masked", file_state="masked"), own=[FILE], files={"x.service": "masked"}
    )
    found = "fail x.service: ran before the install, but was inactive (dead) right after it"
    assert lost(before, masked, step=StepName.INSTALL) == [found]
    assert lost(removed, masked, step=StepName.INSTALL) == []
    down = state(replace(DOWN, file_state="disabled"), own=[FILE])
    assert len(lost(before, down, step=StepName.INSTALL)) == 1
    other = Change(step=StepName.INSTALL, before=before, now=down, first=state(), only_masks=True)
    assert find(other, lambda unit: "") == []
    assert len(find(replace(other, now=masked), lambda unit: "")) == 1


def test_rules_and_login_shells_are_lost() -> None:
    rule = "diversion of /a to /b by other"
    before = state(rules=[rule, "new"])
    now = state(has_shell=False)
    assert lost(before, now, first=before)[0] == (
        f"fail diversions and overrides of others stay: gone after the upgrade: {rule}"
    )
    assert lost(before, now) == [
        "fail a login shell starts: `sh -lc true` fails after the upgrade, and did not before it"
    ]


def test_the_kind_of_a_loss_of_a_unit_is_unit() -> None:
    change = Change(
        step=StepName.UPGRADE,
        before=state(UP, own=[FILE]),
        now=state(DOWN, own=[FILE]),
        first=state(),
    )
    assert [answer.kind for answer in find(change, lambda unit: "")] == [CheckKind.UNIT]
