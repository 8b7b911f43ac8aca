"""Which ports a step has closed."""

from __future__ import annotations

from dataclasses import replace

from postroj.container.guest import Entry, Socket
from postroj.probe.compare.closed_ports import closed
from postroj.probe.compare.losses import Change
from postroj.verdict import StepName
from tests.unit.probe.compare.states import UP, state

DOWN = replace(UP, active="inactive", sub="dead", main_pid=0)
TEMPLATE = "/usr/lib/systemd/system/x@.service"
FILE = "/usr/lib/systemd/system/x.service"


def test_closed_ports_are_those_of_running_units_that_the_kernel_did_not_choose() -> None:
    def listens(port: int, unit: str = "x.service") -> Socket:
        return Socket(entry=Entry(protocol="tcp", address="0.0.0.0", port=port), unit=unit)

    before = state(
        UP, sockets=(listens(80), listens(81), listens(40000), listens(82, "")), own=[FILE]
    )
    now = state(replace(UP, main_pid=9), own=[FILE])
    change = Change(step=StepName.UPGRADE, before=before, now=now, first=state())
    assert closed(change, [listens(81, "y.service")]) == [listens(80)]
    down = replace(change, now=state(DOWN, own=[FILE]))
    assert closed(down, []) == []
    assert closed(replace(change, step=StepName.REMOVE), []) == []


def test_a_package_that_leaves_may_close_only_ports_of_others_that_it_has_opened() -> None:
    sockets = [
        Socket(entry=Entry(protocol="tcp", address="::", port=port), unit="x.service")
        for port in (80, 8082)
    ]
    both = state(UP, sockets=tuple(sockets))
    first = state(UP, sockets=tuple(sockets[:1]))
    change = Change(step=StepName.REMOVE, before=both, now=state(UP), first=first)
    assert closed(change, []) == sockets[:1]


def test_a_port_that_a_service_chooses_at_each_start_may_be_another() -> None:
    def listens(port: int, protocol: str = "udp") -> Socket:
        return Socket(entry=Entry(protocol=protocol, address="::1", port=port), unit="x.service")

    before = state(UP, sockets=(listens(80), listens(738), listens(81)), own=[FILE])
    now = state(replace(UP, main_pid=9), own=[FILE])
    change = Change(step=StepName.REINSTALL, before=before, now=now, first=state())
    assert closed(change, [listens(80), listens(81), listens(898)]) == []
    assert closed(change, [listens(80), listens(81), listens(898, "tcp")]) == [listens(738)]
    assert closed(change, [listens(80), listens(898)]) == [listens(81)]
    upgrade = replace(change, step=StepName.UPGRADE)
    assert closed(upgrade, [listens(80), listens(81), listens(898)]) == []
    assert closed(upgrade, [listens(738), listens(81), listens(8080)]) == [listens(80)]


def test_ports_of_a_package_that_the_step_has_removed_too_are_its_own_affair() -> None:
    entry = Entry(protocol="tcp", address="::", port=25)
    instance = replace(UP, name="x@-.service", names=("x@-.service",), file=TEMPLATE)
    stopping = replace(instance, active="deactivating")
    before = state(instance, sockets=(Socket(entry=entry, unit=instance.name),), owned=[TEMPLATE])
    change = Change(step=StepName.PURGE, before=before, now=state(stopping), first=before)
    assert closed(change, []) == []
    stays = replace(change, now=state(stopping, owned=[TEMPLATE]))
    assert len(closed(stays, [])) == 1
