"""What postroj finds by itself and how it judges it: real packages, one guest for all of them.

For each way to be wrong there is a package that is, and a twin that is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import start_guest
from postroj.prepare import obtain
from postroj.probe import operations
from postroj.probe.ask.checks import NEW_FAILURES, Manners, ask_all
from postroj.probe.ask.question import Question
from postroj.probe.discover import listening, snapshot
from postroj.probe.discover.discover import discover, unasked_units
from postroj.probe.managers.apt.apt import Apt
from postroj.verdict import CheckKind, Outcome
from tests.support import debs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.container.guest import Socket
    from postroj.verdict import CheckResult, Discovery

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP

SERVER = (
    "/usr/bin/perl -MIO::Socket::{kind} -e '{before} my $$s = IO::Socket::{kind}->new({at}, "
    "Listen => 5) or die $$@; while ($$s->accept) {{}}'"
)


def server(at: str, *, kind: str = "IP", before: str = "") -> str:
    return SERVER.format(kind=kind, at=at, before=before)


def tcp(port: int, host: str = "127.0.0.1", before: str = "") -> str:
    return server(f'LocalHost => "{host}", LocalPort => {port}', before=before)


SLEEP = "ExecStart=/bin/sleep infinity"
SYSV = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides: {name}
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
[ ! -e /etc/default/{name} ] || . /etc/default/{name}
case "$1" in
start) /sbin/start-stop-daemon --start --background --make-pidfile --pidfile /run/{name}.pid \
    --exec /bin/sleep -- {seconds} ;;
stop) /sbin/start-stop-daemon --stop --pidfile /run/{name}.pid ;;
status) kill -0 $(cat /run/{name}.pid) || exit 3 ;;
esac
"""


ENABLE = "chmod 755 /etc/init.d/{name}; update-rc.d {name} defaults; systemctl start {name}"


def service(text: str, *, unit: str = "", install: str = "WantedBy=multi-user.target") -> str:
    return f"[Unit]\n{unit}\n[Service]\n{text}\n[Install]\n{install}\n"


def plain(kind: str, text: str, wanted_by: str) -> str:
    return f"[{kind}]\n{text}\n[Install]\nWantedBy={wanted_by}\n"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A package: units, what its postinst does, and what is to be said of it."""

    units: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    script: str = ""
    enable: str = ""
    said: dict[str, tuple[Outcome, str]]


def one(name: str, text: str, outcome: Outcome, words: str, **options: str) -> dict[str, Made]:
    """A package with one service, which is enabled and started."""
    unit = f"{name}.service"
    units = {unit: service(text, **options)}
    return {name: Made(units=units, enable=unit, said={unit: (outcome, words)})}


def idle(name: str, text: str, outcome: Outcome, words: str, unit: str = "") -> dict[str, Made]:
    """A package with one service that is neither enabled nor started."""
    subject = f"{name}.service"
    return {name: Made(units={subject: service(text, unit=unit)}, said={subject: (outcome, words)})}


def of_a_timer(name: str, text: str, outcome: Outcome, words: str) -> dict[str, Made]:
    """A package with a service that its timer starts at some time."""
    units = {
        f"{name}.timer": plain("Timer", "OnCalendar=yearly", "timers.target"),
        f"{name}.service": f"[Service]\nType=oneshot\n{text}\n",
    }
    said = {f"{name}.timer": (PASS, "active (waiting)"), f"{name}.service": (outcome, words)}
    return {name: Made(units=units, enable=f"{name}.timer", said=said)}


USER_UNIT = "/usr/lib/systemd/user/{}.service"
WRITTEN = r"[Service]\nExecStart=%s\n[Install]\nWantedBy=basic.target\n"
SYSUSERS = "/usr/lib/sysusers.d/accounts.conf"
TMPFILES = "/usr/lib/tmpfiles.d/{}.conf"
BUS = "/usr/share/dbus-1/system-services/org.example.{}.service"
ACTIVATED = "[D-BUS Service]\nName=org.example.{0}\nExec=/bin/false\nSystemdService={0}.service\n"
WITH_LIBRARIES_BESIDE_IT = """\
old=$(grep -ao '/[a-z/]*/lib/[^/]*/systemd' /lib/systemd/systemd-sysctl | head -n 1)
folder=${old%/systemd}
new="\\$ORIGIN$(printf %s "${folder#???????}" | tr -c / /)/systemd"
sed "s|$old|$new|" /lib/systemd/systemd-sysctl > $folder/beside
chmod 755 $folder/beside
ln -s $folder/beside /usr/lib/linked
"""
"""Makes a program, and a link to it, that finds a library from its own place."""

IDLE: dict[str, Made] = {
    **of_a_timer("ghostly", "ExecStart=/usr/bin/ghost", FAIL, "its program '/usr/bin/ghost' does"),
    **of_a_timer("noenv", f"EnvironmentFile=/etc/no\n{SLEEP}", FAIL, "EnvironmentFile '/etc/no'"),
    **of_a_timer("nocwd", f"WorkingDirectory=/opt/no\n{SLEEP}", FAIL, "'/opt/no' does not exist"),
    **of_a_timer("mayenv", f"EnvironmentFile=-/etc/no\n{SLEEP}", SKIP, "waits for mayenv.timer"),
    **idle("nouser", f"User=nosuch\n{SLEEP}", FAIL, "its user 'nosuch' does not exist"),
    **idle("dynamic", f"DynamicUser=yes\nUser=nosuch\n{SLEEP}", SKIP, "not enabled by the package"),
    **idle("wantsenv", f"EnvironmentFile=/etc/no\n{SLEEP}", SKIP, "EnvironmentFile '/etc/no' does"),
    **idle("maybe", "ExecStart=-/usr/bin/ghost", SKIP, "not enabled by the package"),
    **idle(
        "optional",
        "ExecStart=/usr/bin/ghost",
        SKIP,
        "a condition on '/usr/bin/ghost' is not met",
        unit="ConditionFileIsExecutable=/usr/bin/ghost",
    ),
    **idle("lonely", SLEEP, SKIP, "it requires 'phantom.service'", unit="Requires=phantom.service"),
    "noperl": Made(
        units={"noperl.service": service("ExecStart=/usr/lib/bin/noperl")},
        files={"/usr/lib/bin/noperl": "#!/usr/bin/env perl7\n"},
        said={"noperl.service": (FAIL, "'/usr/lib/bin/noperl' needs 'perl7', which does not")},
    ),
    "nolib": Made(
        units={"nolib.service": service("ExecStart=/usr/lib/nolib")},
        script="sed s/libc.so.6/libx.so.6/ /bin/sleep > /usr/lib/nolib; chmod 755 /usr/lib/nolib",
        said={"nolib.service": (FAIL, "needs the library 'libx.so.6', which does not exist")},
    ),
    "linked": Made(
        units={"linked.service": service("ExecStart=/usr/lib/linked")},
        script=WITH_LIBRARIES_BESIDE_IT,
        said={"linked.service": (SKIP, "not enabled by the package")},
    ),
    "nomode": Made(
        units={"nomode.service": service("ExecStart=/usr/lib/nomode")},
        files={"/usr/lib/nomode": "#!/bin/sh\n"},
        said={"nomode.service": (FAIL, "'/usr/lib/nomode' is not an executable file")},
    ),
    "mold": Made(
        units={
            "mold@.service": service("ExecStart=/usr/bin/ghost %i"),
            "cast@.service": service(f"User=%i\nExecStartPre=/usr/lib/%i/x\n{SLEEP}"),
        },
        said={
            "mold@.service": (FAIL, "mold@"),
            "cast@.service": (SKIP, "a template"),
        },
    ),
    "mended": Made(
        units={
            "mended.service": service("ExecStart=/usr/bin/ghost"),
            "mended.service.d/mend.conf": f"[Service]\nExecStart=\n{SLEEP}\n",
        },
        said={"mended.service": (SKIP, "not enabled by the package")},
    ),
    "desktop": Made(
        files={
            USER_UNIT.format("haunted"): service("ExecStart=/usr/bin/ghost"),
            USER_UNIT.format("calm"): service(
                "ExecStart=-/usr/bin/ghost\nExecReload=/usr/bin/ghost"
            ),
            USER_UNIT.format("fine@"): service("ExecStart=%h/ghost"),
        },
        said={
            USER_UNIT.format("haunted"): (FAIL, "haunted.service: Command /usr/bin/ghost is not")
        },
    ),
    "folders": Made(
        files={
            TMPFILES.format("unowned"): "d /run/unowned 0755 root nosuch -\nd- /run/b - nosuch -\n",
            TMPFILES.format("unreadable"): "d run/unreadable\n",
            TMPFILES.format("fine"): "d /run/never 0755 root root -\n",
        },
        said={
            TMPFILES.format("unowned"): (FAIL, "line 1 names the group 'nosuch', which does not"),
            TMPFILES.format("unreadable"): (FAIL, "systemd-tmpfiles refuses it"),
        },
    ),
    "bus": Made(
        units={
            "asleep1.service": service(SLEEP, install="Alias=later.service"),
            "called.service": "[Service]\nExecStart=/usr/bin/ghost\n",
            "uncalled.service": "[Service]\nExecStart=/usr/bin/ghost\n",
        },
        files={
            BUS.format("phantom"): ACTIVATED.format("phantom"),
            BUS.format("called"): ACTIVATED.format("called"),
            BUS.format("later"): ACTIVATED.format("later"),
            BUS.format("plain"): "[D-BUS Service]\nExec=/usr/bin/ghost --x\nUser=root\n",
        },
        said={
            "asleep1.service": (SKIP, "not enabled by the package"),
            "called.service": (FAIL, "its program '/usr/bin/ghost' does not exist"),
            "uncalled.service": (SKIP, "'/usr/bin/ghost' does not exist (ExecStart=)"),
            BUS.format("phantom"): (FAIL, "it activates 'phantom.service', which does not exist"),
            BUS.format("plain"): (
                FAIL,
                "it runs '/usr/bin/ghost', which is not an executable file",
            ),
        },
    ),
    "maker": Made(
        files={
            "/usr/lib/systemd/system-generators/maker": "#!/bin/sh\n",
            "/usr/lib/systemd/system/ssh.service.d/maker.conf": "[Unit]\n",
            "/usr/local/lib/systemd/system/local.service": service(SLEEP),
            "/etc/cron.d/maker": "",
        },
        script="".join(
            f"printf '{WRITTEN}' {path} > /etc/systemd/system/{name}.service\n"
            for name, path in {"scripted": "/bin/sleep", "ghostwritten": "/usr/bin/ghost"}.items()
        ),
        said={
            "/usr/lib/systemd/system-generators/maker": (FAIL, "is not an executable file"),
            "local.service": (SKIP, "not enabled by the package"),
            "scripted.service": (SKIP, "not enabled by the package"),
            "ghostwritten.service": (FAIL, "its program '/usr/bin/ghost' does not exist"),
        },
    ),
}
"""What is judged without being started."""

PACKAGES: dict[str, Made] = {
    **one("runs", SLEEP, PASS, "active (running), main PID"),
    **one("fails", "ExecStart=/bin/sh -c 'echo last words; exit 3'", FAIL, "ended with status 3"),
    **one("late", f"ExecStartPre=/bin/sleep 1.5\n{SLEEP}", PASS, "active (running)"),
    **one("stuck", f"ExecStartPre=/bin/sleep 99\n{SLEEP}", FAIL, "still activating (start-pre)"),
    **one("once", "Type=oneshot\nExecStart=/bin/true", PASS, "has done its work"),
    **one("badonce", "Type=oneshot\nExecStart=/bin/false", FAIL, "failed (result 'exit-code')"),
    **one(
        "stays", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true", PASS, "active (exited)"
    ),
    **one("ends", "ExecStart=/bin/true", FAIL, "inactive (dead), its main process ended"),
    **one(
        "recovers",
        "Restart=always\nRestartSec=100ms\nExecStart=/bin/sh -c "
        "'test -e /run/was-here || { touch /run/was-here; exit 1; }; sleep 99'",
        PASS,
        "restarted once",
    ),
    **one(
        "loops",
        "Restart=always\nRestartSec=300ms\nExecStart=/bin/sh -c 'sleep 0.2; exit 4'",
        FAIL,
        "crash loop",
    ),
    **one(
        "conditional",
        SLEEP,
        SKIP,
        "a condition is not met: ConditionPathExists=/no/such/thing",
        unit="ConditionPathExists=/no/such/thing\nConditionPathExists=/etc",
    ),
    **one("met", SLEEP, PASS, "active (running)", unit="ConditionPathExists=/etc"),
    **one(
        "spectre",
        "Type=forking\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'sleep 0.5 >/dev/null 2>&1 &'",
        FAIL,
        "active (exited), but none of its processes is left",
    ),
    **one(
        "wraps",
        "Type=forking\nGuessMainPID=no\nRemainAfterExit=yes\nExecStart=/bin/true",
        SKIP,
        "active (exited), its script has started nothing (GuessMainPID=no)",
    ),
    **one(
        "notifies",
        "Type=forking\nRemainAfterExit=yes\nExecStart=-/bin/true",
        SKIP,
        "active (exited), its command has started no daemon",
    ),
    **one(
        "likeonce",
        "RemainAfterExit=yes\nExecStart=/bin/true",
        FAIL,
        "but none of its processes is left, its main process ended with status 0; a service that",
    ),
    **one("precludes", f"ExecCondition=/bin/false\n{SLEEP}", SKIP, "ExecCondition= is not met"),
    **one(
        "asserts",
        SLEEP,
        SKIP,
        "an assertion is not met: AssertPathExists=/no/such/thing",
        unit="AssertPathExists=/no/such/thing",
    ),
    **one(
        "needs", SLEEP, FAIL, "not started", unit="Requires=badonce.service\nAfter=badonce.service"
    ),
    **one("broken", "Type=simple", FAIL, "could not be loaded (bad-setting)"),
    **one("tcp", f"ExecStart={tcp(7001)}", PASS, "listens on 127.0.0.1:7001"),
    **one("six", f"ExecStart={tcp(7006, '::1')}", PASS, "listens on [::1]:7006"),
    **one("every", f"ExecStart={tcp(7007, '::')}", PASS, "listens on [::]:7007"),
    **one("lateport", f"ExecStart={tcp(7008, before='sleep 4;')}", PASS, "active (running)"),
    **one(
        "udp",
        "ExecStart=/usr/bin/perl -MIO::Socket::IP -e 'my $$s = IO::Socket::IP->new("
        "LocalPort => 7002, Proto => q(udp)) or die; sleep 99'",
        PASS,
        "listens on udp ",
    ),
    **one(
        "unix",
        "PrivateTmp=yes\nExecStart=" + server('Local => "/tmp/unix.sock"', kind="UNIX"),
        PASS,
        "listens on /tmp/unix.sock",
    ),
    **one(
        "abstract",
        "ExecStart=" + server('Local => chr(0) . "padded" . chr(0) x 20', kind="UNIX"),
        PASS,
        "listens on @padded",
    ),
    "disabled": Made(
        units={"disabled.service": service(SLEEP)},
        said={"disabled.service": (SKIP, "not enabled by the package")},
    ),
    "required": Made(
        units={
            "required.socket": plain("Socket", "ListenStream=/run/required", "sockets.target"),
            "required.service": service(SLEEP, unit="Requires=required.socket"),
        },
        said={
            "required.socket": (SKIP, "not enabled by the package"),
            "required.service": (SKIP, "waits for required.socket"),
        },
    ),
    "static": Made(
        units={"static.service": f"[Service]\n{SLEEP}\n"},
        said={"static.service": (SKIP, "static, and nothing has started it")},
    ),
    "masked": Made(
        units={"hidden.service": service(SLEEP)},
        script="mkdir -p /etc/systemd/system; systemctl mask hidden.service",
        said={"hidden.service": (SKIP, "masked")},
    ),
    "alias": Made(
        units={
            "real.service": service(
                SLEEP, install="WantedBy=multi-user.target\nAlias=other.service"
            )
        },
        enable="real.service",
        said={"real.service": (PASS, "active (running)")},
    ),
    "template": Made(
        units={"made@.service": service(SLEEP), "unmade@.service": service(SLEEP)},
        enable="made@it.service",
        said={
            "made@.service": (SKIP, "instantiated as made@it.service"),
            "made@it.service": (PASS, "active (running)"),
            "unmade@.service": (SKIP, "a template"),
        },
    ),
    "woken": Made(
        units={
            "woken.socket": plain("Socket", "ListenStream=7003", "sockets.target"),
            "woken.service": f"[Service]\n{SLEEP}\n",
        },
        enable="woken.socket",
        said={
            "woken.socket": (PASS, "connected, woken.service is active (running)"),
            "woken.service": (SKIP, "waits for woken.socket"),
        },
    ),
    "polite": Made(
        units={
            "polite.socket": plain("Socket", "ListenStream=/run/polite", "sockets.target"),
            "polite.service": (
                "[Service]\nType=oneshot\nStandardInput=socket\n"
                "ExecStart=/usr/bin/perl -e 'accept(my $$c, STDIN) or die; sleep 1'\n"
            ),
        },
        enable="polite.socket",
        said={"polite.socket": (PASS, "connected, polite.service")},
    ),
    "asleep": Made(
        units={
            "asleep.socket": plain("Socket", "ListenStream=@asleep", "sockets.target"),
            "asleep.service": "[Service]\nExecStart=/no/such/program\n",
        },
        enable="asleep.socket",
        said={"asleep.socket": (FAIL, "connected, asleep.service is failed")},
    ),
    "each": Made(
        units={
            "each.socket": plain("Socket", "ListenStream=7004\nAccept=yes", "sockets.target"),
            # it takes offence at whoever says nothing and hangs up
            "each@.service": "[Service]\nStandardInput=socket\nExecStart=/bin/sh -c 'read a'\n",
        },
        enable="each.socket",
        said={"each.socket": (PASS, "the connection was accepted")},
    ),
    "badeach": Made(
        units={
            "badeach.socket": plain("Socket", "ListenStream=7005\nAccept=yes", "sockets.target"),
            "badeach@.service": "[Service]\nStandardInput=socket\nExecStart=/no/such/program\n",
        },
        enable="badeach.socket",
        said={"badeach.socket": (FAIL, "could not be started")},
    ),
    "latebad": Made(
        units={
            "latebad.socket": plain("Socket", "ListenStream=7017\nAccept=yes", "sockets.target"),
            # systemd opens the pipe before it executes the program, and waits for its reader
            "latebad@.service": "[Unit]\nWants=latebad-reader.service\n"
            "[Service]\nStandardInput=socket\nStandardOutput=file:/run/latebad\n"
            "ExecStart=/no/such/program\n",
            "latebad-reader.service": "[Service]\nExecStart=/bin/sh -c"
            " 'sleep 1.5; exec cat /run/latebad'\n",
        },
        script="mkfifo /run/latebad",
        enable="latebad.socket",
        said={"latebad.socket": (FAIL, "could not be started")},
    ),
    "daily": Made(
        units={
            "daily.timer": plain("Timer", "OnCalendar=daily", "timers.target"),
            "daily.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        },
        enable="daily.timer",
        said={
            "daily.timer": (PASS, "active (waiting)"),
            "daily.service": (SKIP, "waits for daily.timer"),
        },
    ),
    "never": Made(
        units={
            "never.timer": plain("Timer", "OnUnitActiveSec=1h", "timers.target"),
            "never.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        },
        enable="never.timer",
        said={"never.timer": (FAIL, "will never elapse")},
    ),
    "nothing": Made(
        units={
            "nothing.timer": plain("Timer", "OnCalendar=daily", "timers.target"),
            "nothing.service": "[Service]\nType=oneshot\n",
        },
        enable="nothing.timer",
        said={"nothing.timer": (FAIL, "")},
    ),
    "watches": Made(
        units={
            "watches.path": plain("Path", "PathExists=/run/no-such", "multi-user.target"),
            "watches.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        },
        enable="watches.path",
        said={"watches.path": (PASS, "active (waiting)")},
    ),
    "mounts": Made(
        units={
            "mnt.mount": plain("Mount", "What=tmpfs\nWhere=/mnt\nType=tmpfs", "multi-user.target")
        },
        enable="mnt.mount",
        said={"mnt.mount": (PASS, "active (mounted)")},
    ),
    "group": Made(
        units={"group.target": "[Unit]\nDescription=g\n[Install]\nWantedBy=multi-user.target\n"},
        enable="group.target",
        said={"group.target": (PASS, "active (active)")},
    ),
    "oldstyle": Made(
        files={"/etc/init.d/oldstyle": SYSV.format(name="oldstyle", seconds=999)},
        script=ENABLE.format(name="oldstyle"),
        said={"oldstyle.service": (PASS, "active (")},
    ),
    "oldbad": Made(
        files={"/etc/init.d/oldbad": SYSV.format(name="oldbad", seconds=0)},
        script=ENABLE.format(name="oldbad"),
        said={
            "oldbad.service": (FAIL, "'/etc/init.d/oldbad status' reports that it is not running")
        },
    ),
    "oldoff": Made(
        files={"/etc/init.d/oldoff": SYSV.format(name="oldoff", seconds=9)},
        script="echo '[ $1 = status ] || exit 0' >/etc/default/oldoff;"
        + ENABLE.format(name="oldoff"),
        said={"oldoff.service": (SKIP, "its SysV script has started nothing")},
    ),
    "oldunsure": Made(
        files={
            "/etc/init.d/oldunsure": SYSV.format(name="oldunsure", seconds=9).replace(
                "exit 3", "exit 4"
            )
        },
        script="echo '[ $1 = status ] || exit 0' >/etc/default/oldunsure;"
        + ENABLE.format(name="oldunsure"),
        said={"oldunsure.service": (SKIP, "'/etc/init.d/oldunsure status' ends with status 4")},
    ),
    "oldtaken": Made(
        files={"/etc/init.d/systemd-sysctl": SYSV.format(name="systemd-sysctl", seconds=9)},
        script="chmod 755 /etc/init.d/systemd-sysctl; update-rc.d systemd-sysctl defaults",
        said={},
    ),
    "oldmute": Made(
        files={"/etc/init.d/oldmute": SYSV.format(name="oldmute", seconds=9)},
        script="echo exit 0 >/etc/default/oldmute;" + ENABLE.format(name="oldmute"),
        said={"oldmute.service": (SKIP, "accepts an action that does not exist")},
    ),
    "oldplain": Made(
        files={
            "/etc/init.d/oldplain": SYSV.format(name="oldplain", seconds=9).replace(
                "status)", "state)"
            )
        },
        script="echo 'echo not configured; exit 0' >/etc/default/oldplain;"
        + ENABLE.format(name="oldplain"),
        said={"oldplain.service": (SKIP, "accepts an action that does not exist")},
    ),
    "oldsilent": Made(
        files={
            "/etc/init.d/oldsilent": SYSV.format(name="oldsilent", seconds="0.1").replace(
                "status)", "state)"
            )
        },
        script=ENABLE.format(name="oldsilent"),
        said={"oldsilent.service": (FAIL, "but its daemon has ended")},
    ),
    "olddies": Made(
        files={"/etc/init.d/olddies": SYSV.format(name="olddies", seconds="0.7")},
        script=ENABLE.format(name="olddies"),
        said={"olddies.service": (FAIL, "its daemon has left /run/olddies.pid")},
    ),
    "barred": Made(
        units={
            "barred.socket": plain("Socket", "ListenStream=7011", "sockets.target"),
            "barred.service": f"[Unit]\nConditionPathExists=/no/thing\n[Service]\n{SLEEP}\n",
        },
        enable="barred.socket",
        said={
            "barred.socket": (
                PASS,
                "barred.service would not start, because ConditionPathExists=/no/thing is not met",
            )
        },
    ),
    "datagrams": Made(
        units={
            "datagrams.socket": plain("Socket", "ListenDatagram=7012", "sockets.target"),
            "datagrams.service": f"[Unit]\nAssertPathExists=/no/thing\n[Service]\n{SLEEP}\n",
        },
        enable="datagrams.socket",
        said={"datagrams.socket": (PASS, "would not start, because AssertPathExists=/no/thing is")},
    ),
    "refuses": Made(
        units={
            "refuses.socket": plain("Socket", "ListenStream=7013", "sockets.target"),
            "refuses.service": f"[Service]\nExecCondition=/bin/false\n{SLEEP}\n",
        },
        enable="refuses.socket",
        said={"refuses.socket": (PASS, "ExecCondition= is not met")},
    ),
    "reloads": Made(
        units={"reloads.service": service(f"{SLEEP}\nExecReload=/bin/sleep 2")},
        enable="reloads.service",
        script="",
        said={"reloads.service": (PASS, "active (running)")},
    ),
    "orphan": Made(
        script="setsid " + tcp(7010).replace("$$", "$") + " </dev/null >/dev/null 2>&1 &",
        said={},
    ),
    **IDLE,
    "accounts": Made(
        files={SYSUSERS: "u newcomer -\nu forgotten -\n"},
        script="useradd --system newcomer",
        said={},
    ),
}

ASKED = {
    "tcp://127.0.0.1:7006": (FAIL, "listening on that port: [::1]:7006 (six.service)"),
    "tcp://127.0.0.1:7099": (FAIL, "127.0.0.1:7001 (tcp.service)"),
    "tcp://127.0.0.1:7008": (PASS, "connected"),
}
"""Ports that somebody asks about: one bound elsewhere, one nowhere, one late."""

NETWORK = {
    "tcp://127.0.0.1:7001": (PASS, "tcp.service listens on 127.0.0.1:7001"),
    "tcp://[::1]:7006": (PASS, "six.service listens on [::1]:7006"),
    "tcp://[::1]:7007": (PASS, "every.service listens on [::]:7007"),
    "tcp://127.0.0.1:7010": (PASS, "process 'perl', which is in no unit, listens on"),
    "unix:/tmp/unix.sock": (PASS, "unix.service listens on /tmp/unix.sock"),
    "unix:@padded": (PASS, "abstract.service listens on @padded"),
}


def build(folder: Path, name: str, made: Made) -> None:
    """Build a package; what its postinst does to units is in `START`, once for all of them."""
    files = {f"/lib/systemd/system/{unit}": text for unit, text in made.units.items()}
    scripts = {"postinst": f"#!/bin/sh\n{made.script}\n"} if made.script else {}
    debs.build(folder, name, files=files | made.files, scripts=scripts)


STARTED = [made.enable for made in PACKAGES.values() if made.enable]
START = f"""
dpkg --install /srv/*.deb
systemctl daemon-reload
systemctl enable --quiet {" ".join(STARTED)}
systemctl start --no-block {" ".join(STARTED)}
until systemctl is-active -q reloads; do sleep 0.1; done
systemctl reload --no-block reloads.service
"""


REPOSITORY = "".join(
    f"Package: {name}\nVersion: 1.0\nArchitecture: all\nFilename: ./{name}.deb\nSize: 1\n"
    f"SHA256: {'0' * 64}\nSource: {source}\nDepends: {depends}\n\n"
    for name, source, depends in (
        ("desktop-program", "desktop (1.0)", "desktop (>= 1.0)"),
        ("desktop-manual", "desktop (1.0)", "dpkg"),
        ("stranger", "stranger", "desktop"),
        ("nomode", "desktop", "desktop"),
    )
)
"""What else is built of the source of `desktop`; `nomode` is installed."""
FETCH = """
mkdir /repository; cat > /repository/Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d
echo 'deb [trusted=yes] file:/repository ./' > /etc/apt/sources.list
apt-get --quiet update
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """All that was said about all packages."""

    answers: dict[str, CheckResult]
    discovery: Discovery
    sentence: str
    count: int
    companions: tuple[str, ...]


@pytest.fixture(scope="module")
def told(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Install all packages at once, and ask about everything."""
    folder = tmp_path_factory.mktemp("packages")
    for name, made in PACKAGES.items():
        build(folder, name, made)
    bind = Bind(source=folder, target="/srv", read_only=True)
    with (
        obtain(image) as stored,
        start_guest(GuestSpec(layers=stored.layers, binds=(bind,))) as guest,
    ):
        guest.run(["sh", "-c", "systemd-run --quiet --unit=old-failure --wait false || true"])
        failed = guest.failed_units()
        before = snapshot.take(guest)
        guest.run(["sh", "-c", START], timeout=120)
        brought = discover(guest, Apt(), list(PACKAGES), before)
        asked = [Question(kind=CheckKind.NETWORK, subject=url) for url in ASKED]
        questions = [*asked, *unasked_units(brought, asked)]
        new: list[Socket] = []

        def then() -> list[Question]:
            new.extend(listening.new_sockets(guest, brought, before))
            return listening.socket_questions(brought, new, asked)

        answers = list(ask_all(guest, questions, Manners(timeout=6, settle=1), failed, then))
        guest.run(["sh", "-ec", FETCH], stdin=REPOSITORY.encode())
        companions = Apt().companions("desktop")
        assert companions
        yield Told(
            answers={answer.subject: answer for answer in answers},
            discovery=brought.describe(new),
            sentence=brought.sentence,
            count=len(answers),
            companions=operations.ask(guest, companions),
        )


EXPECTED = {unit: said for made in PACKAGES.values() for unit, said in made.said.items()}


@pytest.mark.parametrize("subject", EXPECTED)
def test_discovered_unit_gets_its_outcome(told: Told, subject: str) -> None:
    answer = told.answers[subject]
    outcome, words = EXPECTED[subject]
    assert (answer.outcome, words in answer.reason) == (outcome, True), answer
    assert answer.discovered


@pytest.mark.parametrize("subject", NETWORK | ASKED)
def test_discovered_socket_gets_its_outcome(told: Told, subject: str) -> None:
    answer = told.answers[subject]
    outcome, words = (NETWORK | ASKED)[subject]
    assert (answer.outcome, words in answer.reason) == (outcome, True), answer
    assert answer.discovered == (subject in NETWORK)


def test_discovery_asks_nothing_else_and_nothing_twice(told: Told) -> None:
    others = {"polite.service", "asleep.service", "never.service", "nothing.service"}
    others |= {
        "watches.service",
        "each@.service",
        "barred.service",
        "datagrams.service",
        "refuses.service",
        "badeach@.service",
        "latebad@.service",
        "latebad-reader.service",
        "tcp://127.0.0.1:7008",
    }
    known = {*EXPECTED, *NETWORK, *ASKED, *others, NEW_FAILURES}
    assert set(told.answers) <= known
    assert told.count == len(told.answers)


def test_failing_unit_comes_with_its_journal(told: Told) -> None:
    assert "last words" in told.answers["fails.service"].reason


def test_only_units_that_failed_after_the_installation_are_named(told: Told) -> None:
    sentence = told.answers[NEW_FAILURES].reason.splitlines()[0]
    for name in ("fails.service", "badonce.service"):
        assert name in sentence
    assert "old-failure" not in sentence
    assert "each@0" not in sentence.replace("badeach@0", "")


def test_apt_names_packages_that_complete_one_of_the_same_source(told: Told) -> None:
    assert told.companions == ("desktop-program",)


def test_discovery_says_what_the_package_ships(told: Told) -> None:
    assert told.discovery.users == ("newcomer",)
    assert told.discovery.scripts == (
        *("oldbad", "olddies", "oldmute", "oldoff", "oldplain", "oldsilent", "oldstyle"),
        *("oldunsure", "systemd-sysctl"),
    )
    assert "/etc/init.d/oldstyle" in told.discovery.configuration
    heard = {(each.protocol, each.address, each.unit) for each in told.discovery.sockets}
    assert ("tcp", "[::1]:7006", "six.service") in heard
    assert ("stream", f"@padded{20 * '@'}", "abstract.service") in heard
    assert any(each[0] == "udp" and each[2] == "udp.service" for each in heard)
    assert told.discovery.user_units == tuple(map(USER_UNIT.format, ("calm", "fine@", "haunted")))
    assert told.discovery.drop_ins == ("/usr/lib/systemd/system/ssh.service.d/maker.conf",)
    assert told.discovery.generators == ("/usr/lib/systemd/system-generators/maker",)
    assert told.discovery.bus_services == tuple(
        map(BUS.format, ("called", "later", "phantom", "plain"))
    )
    assert told.discovery.cron == ("/etc/cron.d/maker",)
    assert {"scripted.service", "local.service"} <= {*told.discovery.units}
    assert "3 user units" in told.sentence and "drop-ins for ssh.service" in told.sentence
    assert f"{SYSUSERS}: it declares 'forgotten', which do not exist" in told.sentence
    assert "never runs the SysV script 'systemd-sysctl': systemd-sysctl.service is" in told.sentence
    assert "systemd-sysctl.service" not in told.discovery.units
    assert "9 SysV scripts" in told.sentence and "user newcomer" in told.sentence
