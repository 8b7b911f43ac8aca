"""What is read of a unit, before the rules see it."""

from __future__ import annotations

import json

import pytest

from postroj.probe.ask import needs
from tests.support.fake_guest import FakeGuest


def entry(message: object, start: str = "", pid: str = "1") -> str:
    keys = {"MESSAGE": message, "_PID": pid} | ({"INVOCATION_ID": start} if start else {})
    return json.dumps(keys)


def test_recent_keeps_the_messages_of_the_last_two_starts() -> None:
    lines = [entry("a", "1"), entry("b", "2"), entry("lost"), entry("c", "3"), "{cut"]
    assert needs.recent(lines, "x.service") == (("b", "lost", "c"), True)


def test_recent_tells_whether_the_unit_itself_said_anything() -> None:
    assert (
        needs.recent([entry("Starting", "1"), entry("no", "1", pid="7")], "x.service")[1] is False
    )


def test_recent_leaves_out_other_units_with_the_same_program() -> None:
    other = json.dumps({"MESSAGE": "no", "_SYSTEMD_UNIT": "y.service", "_PID": "8"})
    assert needs.recent([entry("a"), other], "x.service")[0] == ("a",)


def test_recent_reads_messages_that_are_no_text() -> None:
    assert needs.recent([entry([104, 105, 255]), entry(None)], "x.service") == (
        ("hi\ufffd", ""),
        True,
    )


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("dev-tty8.device", "/dev/tty8"),
        ("dev-virtio\\x2dports-org.qemu.device", "/dev/virtio-ports/org.qemu"),
    ],
)
def test_device_path(unit: str, path: str) -> None:
    assert needs.device_path(unit) == path


def test_of_unit_names_the_device_that_a_unit_is_bound_to() -> None:
    show = 'BindsTo="dev-virtio\\\\x2dports-org.device"\nLoadState=loaded\nActiveState=inactive\n'

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[1] == "is-active":
            return 3, ""
        return 0, show if argv[1] == "show" else ""

    said = needs.of_unit(FakeGuest(answer=answer), "agent.service")
    assert said == "the device '/dev/virtio-ports/org'"


@pytest.mark.parametrize(
    ("unit", "messages", "is_excusable"),
    [
        ({"ActiveState": "failed", "Result": "exit-code"}, [], True),
        ({"ActiveState": "activating", "NRestarts": "2"}, [], True),
        ({"ActiveState": "inactive", "ExecMainCode": "1"}, ["Started x.", "bye"], True),
        ({"ActiveState": "inactive", "ExecMainCode": "1"}, ["Started x.", "Stopping x..."], False),
        ({"ActiveState": "inactive", "ExecMainCode": "0"}, [], False),
        ({"ActiveState": "inactive"}, ["Started x.", "x: Deactivated successfully."], True),
        ({"ActiveState": "inactive"}, ["Started x.", "x: Succeeded."], True),
        ({"ActiveState": "inactive"}, ["Stopping x...", "x: Succeeded."], False),
        ({"ActiveState": "active", "NRestarts": "0"}, [], False),
    ],
)
def test_unit_that_somebody_stopped_has_not_failed(
    unit: dict[str, str], messages: list[str], is_excusable: bool
) -> None:
    """An upgrade that stops a service is not excused by what the service once complained of."""
    may = needs.may_have_failed(unit, messages) and not needs.was_stopped(unit, messages)
    assert may is is_excusable


@pytest.mark.parametrize(
    ("load", "active", "need"),
    [
        ("loaded", "failed", "iSCSI of the kernel"),
        ("not-found", "failed", "iSCSI of the kernel"),
        ("not-found", "inactive", ""),
    ],
)
def test_of_unit_excuses_one_whose_file_a_removal_has_taken(
    load: str, active: str, need: str
) -> None:
    show = f"LoadState={load}\nActiveState={active}\nResult=exit-code\n"
    said = entry("can not create NETLINK_ISCSI socket [Protocol not supported]", "1", pid="7")

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "journalctl":
            return 0, said
        return 0, show if argv[1] == "show" else ""

    assert needs.of_unit(FakeGuest(answer=answer), "iscsid.service") == need
