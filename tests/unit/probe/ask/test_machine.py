"""Unmet conditions: which ask for a machine, and which for an administrator."""

from __future__ import annotations

import pytest

from postroj.probe.ask.machine import of_conditions

LACKING = {"SYS_TIME"}


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (["ConditionVirtualization=!container"], "a machine that is no container"),
        (["ConditionVirtualization=no"], "a machine that is no container"),
        (["ConditionVirtualization=container"], ""),
        (["ConditionCapability=CAP_SYS_TIME"], "the capability CAP_SYS_TIME"),
        (["ConditionCapability=CAP_CHOWN"], ""),
        (["ConditionPathIsDirectory=/sys/class/bluetooth"], "'/sys/class/bluetooth'"),
        (["ConditionPathIsReadWrite=/sys"], ""),
        (["ConditionPathIsReadWrite=/proc/sys/vm"], "to write to '/proc/sys/vm'"),
        (["ConditionPathExists=/dev/kvm"], "'/dev/kvm'"),
        (["ConditionPathExists=!/dev/kvm"], ""),
        (["ConditionPathExists=/etc/json2file-go/dirlist"], ""),
        (["ConditionControlGroupController=memory"], "ConditionControlGroupController=memory"),
        (
            [
                "ConditionDirectoryNotEmpty=|/etc/iscsi/nodes",
                "ConditionDirectoryNotEmpty=|/sys/class/iscsi_session",
            ],
            "",
        ),
        (
            ["ConditionPathExists=|/dev/kvm", "ConditionPathExists=|/sys/class/tpm/tpm0"],
            "'/dev/kvm'",
        ),
        (["AssertPathExists=/dev/kvm"], "'/dev/kvm'"),
    ],
)
def test_of_conditions(conditions: list[str], said: str) -> None:
    assert of_conditions(conditions, LACKING) == said
