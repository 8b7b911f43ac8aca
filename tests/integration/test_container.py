"""What a container can show, and what it cannot: on booted guests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.prepare import obtain
from tests.support import debs
from tests.support.cli import DEFAULT_IMAGE, NO_REPOSITORIES, postroj

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroj.container.start import StartedGuest

UNITS = "/lib/systemd/system"
QUICK = ("--settle", "0.5", "--check-timeout", "5")

LACKING = {
    "console": ("ExecStart=sleep 99\nStandardInput=tty\nTTYPath=/dev/tty8", "'/dev/tty8'"),
    "module": ("ExecStart=sh -c 'modprobe zram'", "to load kernel modules"),
    "clock": ("Type=oneshot\nExecStart=date --set @0", "to set the clock (CAP_SYS_TIME)"),
    "tunable": ("Type=oneshot\nExecStart=sh -c 'echo 9 >/proc/sys/vm/swappiness'", "swappiness'"),
    "swap": (
        "Type=oneshot\nExecStart=sh -c 'umask 077; dd if=/dev/zero of=/swap bs=64k count=1;"
        " mkswap /swap && swapon /swap'",
        "swap",
    ),
    "audio": (
        "Type=oneshot\nExecStart=sh -c 'echo cannot open the audio device: No such device"
        " >/var/log/audio.log; exit 1'",
        "a sound card",
    ),
    "mounted": ("Type=oneshot\nExecStart=mount -t nfsd nfsd /mnt", "the file system nfsd"),
}
"""The settings of units that need a machine, and what each needs."""

AT_FAULT = {
    "named": "ExecStart=cat /etc/at-fault/dev/tty8",
    "logged": "Type=oneshot\nExecStart=sh -c 'echo no /etc/logged >/var/log/logged.log; exit 1'",
    "hidden": "ExecStart=cat /dev/kmsg /dev/watchdog\nPrivateDevices=yes",
    "nobody": "ExecStart=sleep 99\nUser=no-such-user\nStandardInput=null",
    "unprivileged": "ExecStart=date --set @0\nUser=nobody",
    "gives-up": "ExecStart=date --set @0\nCapabilityBoundingSet=CAP_NET_RAW",
    "protects": "ExecStart=sh -c 'echo 9 >/proc/sys/vm/swappiness'\nProtectKernelTunables=yes",
}
"""The settings of units that fail in a similar way, on a machine as well."""

START = """\
#!/bin/sh
set -e
systemctl daemon-reload
systemctl enable --quiet {units}
systemctl start {how} {units}
"""


def unit(settings: str, wanted_by: str = "multi-user.target") -> str:
    return f"[Service]\n{settings}\n[Install]\nWantedBy={wanted_by}\n"


def probed(
    tmp_path: Path, deb: Path, *more: str, repositories: Sequence[str] = NO_REPOSITORIES
) -> list[dict[str, Any]]:
    report = tmp_path / "report.json"
    argv = (
        "pkgprobe",
        "--no-project",
        "--package",
        deb,
        "--image",
        DEFAULT_IMAGE,
        "--report",
        f"json={report}",
    )
    postroj(*argv, *QUICK, *repositories, *more)
    (probe,) = json.loads(report.read_text())["probes"]
    steps: list[dict[str, Any]] = probe["steps"]
    return steps


def test_units_that_need_a_machine_are_told_from_units_at_fault(tmp_path: Path) -> None:
    settings = {name: text for name, (text, _) in LACKING.items()} | AT_FAULT
    deb = debs.build(
        tmp_path,
        "lacking",
        files={f"{UNITS}/{name}.service": unit(text) for name, text in settings.items()},
        scripts={"postinst": START.format(how="--no-block", units=" ".join(settings))},
    )
    step, _ = probed(tmp_path, deb)
    checks = {check["subject"].removesuffix(".service"): check for check in step["checks"]}
    for name, (_, need) in LACKING.items():
        assert (checks[name]["outcome"], need in checks[name]["needs"]) == ("skip", True), name
    for name in AT_FAULT:
        assert (checks[name]["outcome"], checks[name]["needs"]) == ("fail", ""), name
    newly = checks["no newly failed unit"]["reason"].partition("; ")[0]
    assert all(f"{name}.service" in newly for name in AT_FAULT)
    assert not [name for name in LACKING if f"{name}.service" in newly]


def test_install_whose_script_starts_a_unit_that_needs_a_device_is_skipped(tmp_path: Path) -> None:
    deb = debs.build(
        tmp_path,
        "stops-early",
        files={f"{UNITS}/stops-early.service": unit(LACKING["console"][0] + "\nType=exec")},
        scripts={"postinst": START.format(how="", units="stops-early.service")},
    )
    step, _ = probed(tmp_path, deb)
    assert (step["done"], step["needs"]) == ("skip", "the device '/dev/tty8'")
    assert step["reason"].startswith("a container cannot show this: needs the device")


def test_install_whose_script_sets_an_access_list_of_an_image_file_is_skipped(
    tmp_path: Path,
) -> None:
    script = "#!/bin/sh\nset -e\nsetfacl -m u:daemon:r /etc/debian_version\n"
    deb = debs.build(tmp_path, "shares-files", depends="acl", scripts={"postinst": script})
    step, _ = probed(tmp_path, deb, repositories=())
    assert (step["done"], step["needs"]) == (
        "skip",
        "access control lists of '/etc/debian_version'",
    )


def test_socket_whose_service_needs_a_device_is_taken_back(tmp_path: Path) -> None:
    """As iscsid: it never tells that it is ready, and systemd would start it again and again."""
    script = "cat /dev/tty8; exec sleep 9999"
    deb = debs.build(
        tmp_path,
        "hungry",
        files={
            f"{UNITS}/hungry.service": f"[Service]\nType=notify\nExecStart=sh -c '{script}'\n",
            f"{UNITS}/hungry.socket": (
                "[Socket]\nListenStream=/run/hungry\n[Install]\nWantedBy=sockets.target\n"
            ),
        },
        scripts={
            "postinst": START.format(how="", units="hungry.socket"),
            "prerm": "#!/bin/sh\nsystemctl disable --quiet --now hungry.socket hungry.service\n",
        },
    )
    is_off = 'test "$(systemctl is-active hungry.service)" = inactive'
    argv = ("--steps", "install,remove", "--check-command", is_off)
    install, remove = probed(tmp_path, deb, *argv)
    checks = {check["subject"]: check for check in install["checks"]}
    socket = checks["hungry.socket"]
    assert (socket["outcome"], socket["needs"]) == ("skip", "the device '/dev/tty8'")
    assert checks[is_off]["outcome"] == "pass"
    assert remove["outcome"] == "pass", remove["checks"]


def test_reboot_reaches_the_default_target_and_waits_for_a_slow_unit(tmp_path: Path) -> None:
    """A unit that had to be killed fails the step; later steps go on."""
    slow = "ExecStart=sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=2"
    deb = debs.build(
        tmp_path,
        "slow",
        files={
            f"{UNITS}/slow.service": unit(slow),
            f"{UNITS}/desktop.service": unit("ExecStart=sleep 9999", "graphical.target"),
        },
        scripts={
            "postinst": START.format(how="--no-block", units="slow desktop"),
            "prerm": "#!/bin/sh\nsystemctl kill --signal=KILL slow\nsystemctl stop desktop\n"
            "systemctl disable --quiet slow desktop\n",
        },
    )
    install, reboot, remove = probed(tmp_path, deb, "--steps", "install,reboot,remove")
    assert install["outcome"] == "pass"
    assert (reboot["done"], reboot["outcome"]) == ("pass", "fail")
    (bad,) = [check["reason"] for check in reboot["checks"] if check["outcome"] == "fail"]
    assert bad.startswith("slow.service did not stop for 2 s (TimeoutStopSec=), so systemd killed")
    assert remove["done"] == "pass"


def test_guest_has_a_domain_its_default_target_and_its_own_network(guest: StartedGuest) -> None:
    name = f"{guest.name}.postroj.test"
    assert guest.run(["hostname", "-f"]).text == name
    assert guest.run(["getent", "ahosts", name]).text.startswith("127.0.1.1")
    assert guest.is_active("graphical.target")
    assert not guest.is_active("bluetooth.target")
    guest.run(["sh", "-c", "echo 5 >/proc/sys/net/ipv4/tcp_fin_timeout"])
    lacking = guest.lacking_capabilities()
    assert "IPC_LOCK" not in lacking
    assert {"NET_ADMIN", "SYS_TIME", "SYS_MODULE", "SYS_RAWIO"} <= lacking


@pytest.mark.parametrize("boot", [True, False])
def test_guest_has_the_host_name_of_its_spec(image: str, boot: bool) -> None:
    with (
        obtain(image, boot=boot) as stored,
        start_guest(GuestSpec(layers=stored.layers, hostname="guest", boot=boot)) as named,
    ):
        script = "cat /proc/sys/kernel/hostname /etc/hostname; getent hosts guest.postroj.test"
        lines = named.run(["sh", "-c", script]).text.split()
    assert lines == ["guest", "guest", "127.0.1.1", "guest.postroj.test", "guest"]
