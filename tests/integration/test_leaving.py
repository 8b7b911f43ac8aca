"""How packages leave a booted Debian guest, and come back: remove, install-again, purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.probe.compare.losses import STAYS_DONE
from postroj.probe.steps import FORGOTTEN, NEEDED
from postroj.verdict import Outcome, StepName
from tests.integration import test_steps
from tests.integration.test_steps import POSTINST, POSTRM, lifer, live
from tests.support import debs

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.model import Image

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP
INSTALL, REMOVE, PURGE = StepName.INSTALL, StepName.REMOVE, StepName.PURGE
AGAIN = StepName.INSTALL_AGAIN

bare = test_steps.bare

MASKS = POSTRM.replace(
    "systemctl daemon-reload",
    '[ "$1" != remove ] || deb-systemd-helper mask lifer.service >/dev/null\n'
    "systemctl daemon-reload",
)
UNMASKS = "deb-systemd-helper unmask lifer.service >/dev/null\n"


@pytest.mark.parametrize("unmasks", [True, False])
def test_install_again_fails_a_mask_that_stays(
    bare: Image, tmp_path: Path, *, unmasks: bool
) -> None:
    """As debhelper's scripts do: the removal masks, the installation unmasks."""
    postinst = POSTINST if unmasks else POSTINST.replace(UNMASKS, "")
    package = lifer(tmp_path, "1.0", postinst=postinst, postrm=MASKS)
    life = live(bare, package, INSTALL, REMOVE, AGAIN, PURGE)
    assert life.reason(REMOVE, "lifer.service") == "pass: does not run, masked"
    if unmasks:
        assert set(life.outcomes.values()) == {PASS}, life.bad()
        assert life.reason(AGAIN, "lifer.service").startswith("pass: active (running)")
        assert life.reason(PURGE, "no file left behind") == "pass: none"
    else:
        assert life.outcomes == {INSTALL: PASS, REMOVE: PASS, AGAIN: FAIL, PURGE: PASS}
        lost = "fail: ran before the removal, but was inactive (dead) right after the install-again"
        assert life.reason(AGAIN, "lifer.service").startswith(lost)


def test_purge_of_a_package_without_conffiles_and_postrm(bare: Image, tmp_path: Path) -> None:
    """As nfpm makes them: dpkg forgets them at the removal. systemd keeps data of dynamic users."""
    more = "DynamicUser=yes\nStateDirectory=dynamic"
    unit = debs.SERVICE.format(name="plain", kind="exec", command="/bin/sleep 1000", more=more)
    package = debs.build(
        tmp_path,
        "plain",
        files={"/lib/systemd/system/plain.service": unit},
        scripts={
            "postinst": debs.START.format(unit="plain.service") + "mkdir -p /var/lib/plain/data\n",
            "prerm": "#!/bin/sh\nsystemctl disable --quiet --now plain.service\n",
        },
    )
    life = live(bare, package, INSTALL, REMOVE, PURGE, quiet=True, may_leave=("/var/lib/pl*",))
    assert life.outcomes == {INSTALL: PASS, REMOVE: PASS, PURGE: PASS}, life.bad()
    assert life.result.steps[2].reason == f"plain 1.0 (all), {FORGOTTEN}"
    left = "pass: none but 2 files that may be left"
    assert life.reason(PURGE, "no file left behind") == left


def test_install_again_starts_what_the_step_start_has_started(bare: Image, tmp_path: Path) -> None:
    """As a vendor's package that leaves the start to its user."""
    unit = debs.SERVICE.format(name="idle", kind="exec", command="/bin/sleep 1000", more="")
    files = {"/lib/systemd/system/idle.service": unit}
    scripts = {"prerm": "#!/bin/sh\nsystemctl disable --quiet --now idle.service\n"}
    package = debs.build(tmp_path, "idle", files=files, scripts=scripts)
    life = live(bare, package, INSTALL, StepName.START, REMOVE, AGAIN, PURGE, unit="idle")
    assert life.result.outcome is PASS, life.bad()
    assert life.reason(AGAIN, "idle").startswith("pass: active (running)")


LATE = """\
#!/bin/sh
set -e
systemctl daemon-reload
deb-systemd-invoke start late.service
deb-systemd-helper enable late.service
"""


def test_an_essential_package_that_starts_before_it_enables(bare: Image, tmp_path: Path) -> None:
    unit = debs.SERVICE.format(name="late", kind="simple", command="/bin/sleep 1000", more="")
    package = debs.build(
        tmp_path,
        "late",
        fields={"Essential": "yes"},
        files={"/lib/systemd/system/late.service": unit},
        scripts={"postinst": LATE},
    )
    life = live(bare, package, INSTALL, REMOVE, AGAIN, PURGE, quiet=True)
    assert life.reason(INSTALL, "enabled before started") == (
        "fail: late.service does not run until the next boot: "
        "a maintainer script starts before it enables"
    )
    assert life.outcomes == {INSTALL: FAIL, REMOVE: SKIP, AGAIN: SKIP, PURGE: SKIP}
    reason = life.result.steps[1].reason
    assert reason.startswith(NEEDED) and "Essential packages were removed" in reason


SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides: scripted
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
### END INIT INFO
exit 0
"""


def test_removal_leaves_units_active_that_have_no_process(bare: Image, tmp_path: Path) -> None:
    """As a script that restores the settings of a mixer, and a firewall that stays in force."""
    kept = "RemainAfterExit=yes"
    unit = {
        name: debs.SERVICE.format(name=name, kind="oneshot", command="/bin/true", more=more)
        for name, more in (("done", kept), ("wall", f"{kept}\nExecStop=/bin/echo"))
    }
    files = {f"/lib/systemd/system/{name}.service": text for name, text in unit.items()}
    start = debs.START.format(unit="done.service wall.service")
    start = start.replace("set -e\n", "set -e\nchmod +x /etc/init.d/scripted\n")
    package = debs.build(
        tmp_path,
        "resting",
        files={**files, "/etc/init.d/scripted": SCRIPT},
        scripts={
            "postinst": f"{start}systemctl start scripted.service\n",
            "postrm": "#!/bin/sh\nsystemctl daemon-reload\n",
        },
    )
    life = live(bare, package, INSTALL, REMOVE, PURGE, quiet=True)
    assert life.outcomes[INSTALL] is PASS, life.bad()
    idle = "pass: still active (exited) without a process, its file is"
    for step in (REMOVE, PURGE):
        assert life.reason(step, "done.service").startswith(f"{idle} gone: it has nothing left")
        assert life.reason(step, "scripted.service").startswith(idle)
        wall = "fail: still active (exited), its file is gone, 5 s after the removal"
        assert life.reason(step, "wall.service").startswith(wall)


def test_reinstall_stops_oneshots_with_and_without_a_command_that_undoes_their_work(
    bare: Image, tmp_path: Path
) -> None:
    """As lm-sensors, which starts nothing and stops its unit before it is unpacked."""
    kept = "RemainAfterExit=yes"
    units = {"done": kept, "wall": f"{kept}\nExecStop=/bin/echo"}
    files = {
        f"/lib/systemd/system/{name}.service": debs.SERVICE.format(
            name=name, kind="oneshot", command="/bin/true", more=more
        )
        for name, more in units.items()
    }
    names = "done.service wall.service"
    scripts = {
        "preinst": f'#!/bin/sh\n[ "$1" != upgrade ] || systemctl stop {names}\n',
        "postinst": f'#!/bin/sh\nsystemctl daemon-reload\n[ "$2" ] || systemctl start {names}\n',
    }
    package = debs.build(tmp_path, "resting", files=files, scripts=scripts)
    life = live(bare, package, INSTALL, StepName.REINSTALL, quiet=True)
    lost = "was active (exited) before the reinstall, but was inactive (dead) right after it"
    step = StepName.REINSTALL
    assert life.reason(step, "done.service").startswith(f"skip: {lost}; {STAYS_DONE}")
    assert life.reason(step, "wall.service").startswith(f"fail: {lost}")
