"""Settings by which maintainer scripts disable units."""

from __future__ import annotations

import pytest

from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.apt.switches import find

READS = ". /etc/default/x\n[ $ENABLED = true ] || systemctl disable x.service\n"
ASKS = "db_get x/enable\n[ $RET = true ] || update-rc.d x disable\n"
OFF = "/etc/default/x:ENABLED=false"
ANSWER = "* x/enable: false"


@pytest.mark.parametrize(
    ("scripts", "answers", "defaults", "found"),
    [
        (READS, "", OFF, "ENABLED=false in /etc/default/x"),
        (READS, "", f"/etc/default/x:# X\n{OFF} # off", "ENABLED=false in /etc/default/x"),
        (READS, "", '/etc/default/x:START_X="no"', 'START_X="no" in /etc/default/x'),
        (READS, "", "/etc/default/x:ENABLED=true", ""),
        (READS, "", "/etc/default/x:#ENABLED=false", ""),
        (READS, "", "/etc/default/x:VERBOSE=no", ""),
        (READS, "", "/etc/default/x:RESTART_ON_UPGRADE=no", ""),
        (READS, "", "/etc/default/x:RUN_AS_ROOT=no", ""),
        (READS, "", "/etc/default/y:ENABLED=no", ""),
        (READS.replace("disable", "stop"), "", OFF, ""),
        (READS.replace("[", "# [", 1), "", OFF, ""),
        (READS.replace("systemctl disable", "update-rc.d defaults-disabled"), "", OFF, ""),
        (ASKS, ANSWER, "", "the answer 'false' to x/enable (debconf)"),
        (ASKS, "  x/enable: false", "", "the answer 'false' to x/enable (debconf)"),
        (ASKS, "* x/enable: true", "", ""),
        (ASKS, "* x/other: false", "", ""),
        (f"{ASKS}db_get x/ssl\n", "* x/ssl: false", "", ""),
        (ASKS, "* x/enab: false", "", ""),
        (ASKS.replace("x/enable", "x/start-all"), "* x/start: false", "", ""),
        (ASKS.replace("db_get", "db_set"), ANSWER, "", ""),
        ("", "", "", ""),
    ],
)
def test_find_a_setting_that_is_off(scripts: str, answers: str, defaults: str, found: str) -> None:
    assert find(f"{scripts}\0{answers}\0{defaults}\n") == found


def test_switch_of_apt_asks_about_all_packages() -> None:
    query = Apt().switch(["a", "b"])
    assert query
    assert query.argv[-2:] == ("a", "b")
    assert query.read("") == ""
