"""What a package takes away from a booted guest is told; a package that takes nothing passes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.verdict import Outcome, StepName
from tests.integration.test_steps import POSTINST, SERVER, bare, lifer, live
from tests.support import debs

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.model import Image

__all__ = ["bare"]

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP
INSTALL, REINSTALL, UPGRADE = StepName.INSTALL, StepName.REINSTALL, StepName.UPGRADE
REMOVE, PURGE = StepName.REMOVE, StepName.PURGE

TAKES = """\
#!/bin/sh
set -e
rm /etc/logrotate.d/dpkg /etc/apt/sources.list
echo more >>/usr/share/common-licenses/BSD
userdel games
dpkg-statoverride --remove /usr/lib/dbus-1.0/dbus-daemon-launch-helper
echo 'exit 3' >/etc/profile.d/taker.sh
echo 'not a source' >/etc/apt/sources.list.d/taker.list
"""


def test_an_installation_that_takes_from_others(bare: Image, tmp_path: Path) -> None:
    taker = debs.build(tmp_path, "taker", scripts={"postinst": TAKES})
    (step,) = live(bare, taker, INSTALL, quiet=True).result.steps
    assert step.done is PASS
    found = [f"{check.subject}: {check.reason.splitlines()[0]}" for check in step.checks]
    assert {check.outcome for check in step.checks if "failed unit" not in check.subject} == {FAIL}
    assert sorted(found) == [
        "a login shell starts: `sh -lc true` fails after the install, and did not before it",
        "diversions and overrides of others stay: gone after the install: "
        "root messagebus 4754 /usr/lib/dbus-1.0/dbus-daemon-launch-helper",
        "files of others stay: of no package and older than the packages, "
        "removed by the install: /etc/apt/sources.list",
        "files of others stay: of other packages, changed by the install: "
        "/usr/share/common-licenses/BSD",
        "files of others stay: of other packages, removed by the install: /etc/logrotate.d/dpkg",
        "no newly failed unit: none",
        "the package manager works: it fails after the install, and did not before it",
        "users and groups stay: group games existed before the install, but not after it",
        "users and groups stay: user games existed before the install, but not after it",
    ]


ENDS_WITH_SUCCESS = """\
[Service]
ExecStart=/bin/sh -c 'trap "exit 0" TERM; until [ -e /run/enough ]; do sleep 0.1; done'
[Install]
WantedBy=multi-user.target
"""
ENDS_ONE_AND_STOPS_ONE = """\
#!/bin/sh
set -e
systemctl stop stopped.service
touch /run/enough
while systemctl --quiet is-active visitor.service; do sleep 0.1; done
"""


def test_a_unit_of_others_that_ends_by_itself_is_not_lost(bare: Image, tmp_path: Path) -> None:
    units = tmp_path / "tree/etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    for name in ("visitor.service", "stopped.service"):
        (units / name).write_text(ENDS_WITH_SUCCESS)
        (units / "multi-user.target.wants" / name).symlink_to(f"/etc/systemd/system/{name}")
    layer = tmp_path / "units.squashfs"
    subprocess.run(
        ["mksquashfs", tmp_path / "tree", layer, "-quiet", "-all-root"], check=True, timeout=60
    )
    image = replace(bare, layers=(*bare.layers, layer))
    ender = debs.build(tmp_path, "ender", scripts={"postinst": ENDS_ONE_AND_STOPS_ONE})
    (step,) = live(image, ender, INSTALL, quiet=True).result.steps
    (lost,) = (check for check in step.checks if check.outcome is FAIL)
    assert lost.subject == "stopped.service"
    assert lost.reason.startswith("ran before the install, but was inactive (dead) right after it")


OTHER_PORT = SERVER.replace("8080", "8081")
DELETES = POSTINST.replace(
    "mkdir -p", '[ -z "$2" ] || rm -r /var/lib/lifer /usr/share/lifer/page\nmkdir -p'
)
KEEPS = POSTINST + "[ -e /etc/lifer.conf ] || echo '# made once' >/etc/lifer.conf\n"
WRITES = POSTINST + "echo '# made again' >/etc/lifer.conf\n"


def settings(version: str) -> dict[str, str]:
    return {"/etc/default/lifer": f"# of {version}\n", "/usr/share/lifer/page": "x"}


def test_an_upgrade_that_takes_from_its_administrator_and_users(
    bare: Image, tmp_path: Path
) -> None:
    older = lifer(tmp_path, "1.0", more=settings("1.0"), postinst=WRITES)
    deletes = DELETES + WRITES.removeprefix(POSTINST)
    newer = lifer(tmp_path, "2.0", OTHER_PORT, more=settings("2.0"), postinst=deletes)
    life = live(bare, newer, INSTALL, UPGRADE, older=older, quiet=True)
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL}
    checks = [check for check in life.result.steps[1].checks if check.outcome is FAIL]
    assert sorted(f"{check.subject}: {check.reason}" for check in checks) == [
        "changed configuration stays: /etc/default/lifer has lost the administrator's line"
        " after the upgrade",
        "changed configuration stays: /etc/lifer.conf has lost the administrator's line"
        " after the upgrade",
        "files of the package are there: missing after the upgrade: /usr/share/lifer/page",
        "ports stay open: 127.0.0.1:8080 of lifer.service was open before the upgrade,"
        " and nobody listens there after it, for 5 s",
        "the user's data stays: a user's file in /var/lib/lifer is gone after the upgrade",
    ]


def test_an_upgrade_and_a_removal_that_keep_what_is_not_theirs(bare: Image, tmp_path: Path) -> None:
    postrm = '#!/bin/sh\n[ "$1" != purge ] || rm -rf /etc/lifer.conf /var/lib/lifer\n'
    postrm += '[ "$1" != purge ] || { userdel lifer; deb-systemd-helper purge lifer.service; }\n'
    postrm += "systemctl daemon-reload\n"
    scripts = {"postinst": KEEPS, "postrm": postrm, "conffiles": "/etc/default/lifer\n"}
    older, newer = (
        lifer(tmp_path, version, more=settings(version), **scripts) for version in ("1.0", "2.0")
    )
    steps = (INSTALL, REINSTALL, UPGRADE, REMOVE, PURGE)
    life = live(bare, newer, *steps, older=older)
    assert life.result.outcome is PASS, life.bad()
    assert life.bad() == []


def test_the_older_version_is_told_and_not_judged(bare: Image, tmp_path: Path) -> None:
    older_fails = POSTINST.replace("restart lifer.service", "restart lifer.service || :")
    older = lifer(tmp_path, "2.0-rc1", "#!/bin/sh\nexit 1\n", postinst=older_fails)
    life = live(bare, lifer(tmp_path, "2.0"), INSTALL, UPGRADE, older=older)
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL}
    told = life.reason(INSTALL, "lifer.service")
    assert told.startswith("skip: the older version, which is not under test: failed ")
    assert life.result.steps[1].reason == (
        "'lifer' 2.0 sorts below 2.0-rc1, the older version: "
        "nobody who has that one gets the new one"
    )


HOOK = 'APT::Update::Post-Invoke-Success {"/usr/bin/lifer-server --update";};\n'


def test_a_removal_that_takes_data_and_leaves_a_hook(bare: Image, tmp_path: Path) -> None:
    path = "/etc/apt/apt.conf.d/80lifer"
    takes = "#!/bin/sh\nrm -rf /var/lib/lifer; systemctl daemon-reload\n"
    package = lifer(tmp_path, "1.0", more={path: HOOK}, postrm=takes, conffiles=f"{path}\n")
    life = live(bare, package, INSTALL, REMOVE)
    assert life.outcomes == {INSTALL: PASS, REMOVE: FAIL}
    assert life.reason(REMOVE, "the package manager works") == (
        f"fail: hooks that have outlived their program: {path}: "
        "APT::Update::Post-Invoke-Success: /usr/bin/lifer-server --update"
    )
    assert life.reason(REMOVE, "the user's data stays") == (
        "fail: a user's file in /var/lib/lifer is gone after the remove"
    )
