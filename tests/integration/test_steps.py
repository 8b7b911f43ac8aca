"""The life of a package in a booted guest: a good one passes, each bad twin is found out."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask import checks
from postroj.probe.ask.checks import Manners
from postroj.probe.ask.question import Question
from postroj.probe.ask.recheck import ENDED_BY_US
from postroj.probe.package.package_file import OLDER_DIR, recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.report import summary
from postroj.verdict import CheckKind, Outcome, StepName
from tests.support import debs
from tests.support.listener import Nobody

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postroj.model import Image
    from postroj.verdict import ProbeResult

PASS, FAIL, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.SKIP
INSTALL, REINSTALL, UPGRADE = StepName.INSTALL, StepName.REINSTALL, StepName.UPGRADE
DOWNGRADE, REBOOT = StepName.DOWNGRADE, StepName.REBOOT
REMOVE, PURGE = StepName.REMOVE, StepName.PURGE
COURSE = (INSTALL, UPGRADE, REBOOT, REINSTALL, DOWNGRADE, REMOVE, PURGE)

SERVER = """#!/usr/bin/perl
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8080, Listen => 5,
    ReuseAddr => 1) or die;
while (my $client = $server->accept) { close $client }
"""

POSTINST = """\
#!/bin/sh
set -e
getent passwd lifer >/dev/null || useradd --system --no-create-home lifer
mkdir -p /var/lib/lifer
touch /var/lib/lifer/state
deb-systemd-helper unmask lifer.service >/dev/null
if deb-systemd-helper --quiet was-enabled lifer.service; then
    deb-systemd-helper enable lifer.service >/dev/null
else
    deb-systemd-helper update-state lifer.service >/dev/null
fi
systemctl daemon-reload
deb-systemd-invoke restart lifer.service
"""
PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ]; then deb-systemd-invoke stop lifer.service; fi
"""
POSTRM = """\
#!/bin/sh
set -e
systemctl daemon-reload
if [ "$1" = purge ]; then
    deb-systemd-helper purge lifer.service >/dev/null
    deb-systemd-helper unmask lifer.service >/dev/null
    userdel lifer
    rm -rf /var/lib/lifer
fi
"""
GOOD = {"postinst": POSTINST, "prerm": PRERM, "postrm": POSTRM}


@pytest.fixture(scope="module")
def bare(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of the tests without repositories: nothing is fetched."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "tree/etc/apt").mkdir(parents=True)
    (folder / "tree/etc/apt/sources.list").touch()
    layer = folder / "bare.squashfs"
    subprocess.run(["mksquashfs", folder / "tree", layer, "-quiet", "-all-root"], check=True)
    with obtain(image) as stored:
        yield replace(stored, layers=(*stored.layers, layer))


def lifer(
    folder: Path,
    version: str,
    server: str = SERVER,
    more: Mapping[str, str] | None = None,
    **scripts: str,
) -> Path:
    """Build a version of the package of these tests, with some scripts other than the good ones.

    `more` are other files.
    """
    unit = debs.SERVICE.format(
        name="lifer", kind="simple", command="/usr/bin/lifer-server", more=""
    )
    return debs.build(
        folder,
        "lifer",
        version=version,
        files={
            "/lib/systemd/system/lifer.service": unit,
            "/usr/bin/lifer-server": server,
            **(more or {}),
        },
        scripts=GOOD | scripts,
    )


def helper_image(image: Image, folder: Path, deb: Path) -> Image:
    """Make an image whose repository has a package."""
    repo = folder / "tree/srv/repo"
    repo.mkdir(parents=True)
    (repo / deb.name).write_bytes(deb.read_bytes())
    argv = ["apt-ftparchive", "packages", "."]
    done = subprocess.run(argv, cwd=repo, check=True, capture_output=True)
    (repo / "Packages").write_bytes(done.stdout)
    (folder / "tree/etc/apt").mkdir(parents=True)
    (folder / "tree/etc/apt/sources.list").write_text("deb [trusted=yes] file:///srv/repo ./\n")
    layer = folder / "helper.squashfs"
    argv = ["mksquashfs", f"{folder}/tree", str(layer), "-quiet", "-all-root", "-no-progress"]
    subprocess.run(argv, check=True)
    return replace(image, layers=(*image.layers, layer))


@dataclass(frozen=True)
class Life:
    """What a probe found, step by step."""

    result: ProbeResult

    @property
    def outcomes(self) -> dict[StepName, Outcome]:
        """Of the steps with their checks."""
        return {step.name: step.outcome for step in self.result.steps}

    def reason(self, step: StepName, subject: str) -> str:
        """The answer to a question after a step, its outcome before it."""
        (found,) = [
            f"{check.outcome}: {check.reason}"
            for one in self.result.steps
            for check in one.checks
            if (one.name, check.subject) == (step, subject)
        ]
        return found

    def bad(self) -> list[str]:
        """All that was not a pass, for people."""
        return [
            f"{step.name} {check.subject}: {check.outcome}: {check.reason}"
            for step in self.result.steps
            for check in step.checks
            if check.outcome is not PASS
        ]


def live(
    image: Image,
    package: Path,
    *steps: StepName,
    older: Path | None = None,
    beside: Path | None = None,
    quiet: bool = False,
    may_leave: tuple[str, ...] = (),
    unit: str = "",
) -> Life:
    """Probe a package through steps, with a question about its port if it is alone."""
    port = Question(kind=CheckKind.NETWORK, subject="tcp://127.0.0.1:8080")
    plan = Plan(
        questions=(Question(kind=CheckKind.UNIT, subject=unit),)
        if unit
        else (() if beside or quiet else (port,)),
        manners=Manners(timeout=5, settle=0.3),
        network=NetworkMode.NONE,
        timeout=60,
        boot_timeout=30,
        steps=steps,
        may_leave=may_leave,
        older=(recognise(older, OLDER_DIR),) if older else (),
    )
    packages = [recognise(path) for path in (package, beside) if path]
    result = probe(image, packages, plan, Nobody())
    assert not result.reason
    return Life(result)


SHY = """#!/usr/bin/perl
use Socket;
socket(my $server, PF_UNIX, SOCK_STREAM, 0);
unlink "/run/shy.sock";
bind($server, sockaddr_un("/run/shy.sock")) or die;
listen($server, 5);
accept(my $client, $server);
exit(0) unless sysread($client, my $word, 1);
sleep;
"""


def test_a_service_that_ends_when_somebody_connects_in_vain_is_not_to_blame(
    bare: Image, tmp_path: Path
) -> None:
    (step,) = live(bare, lifer(tmp_path, "1.0", server=SHY), INSTALL, quiet=True).result.steps
    assert step.outcome is PASS
    (told,) = (check for check in step.checks if check.subject == "units stay up")
    assert "it has ended" in told.reason
    assert told.reason.endswith(ENDED_BY_US)


def test_steps_all_pass_for_a_good_package(bare: Image, tmp_path: Path) -> None:
    older, newer = lifer(tmp_path, "1.0"), lifer(tmp_path, "2.0")
    life = live(bare, newer, *COURSE, older=older)
    assert life.result.outcome is PASS, life.bad()
    assert set(life.outcomes.values()) == {PASS}
    versions = [step.reason.splitlines()[0] for step in life.result.steps]
    one, two = "lifer 1.0 (all)", "lifer 2.0 (all)"
    rebooted = f"{two}, after a reboot of the guest"
    assert versions == [one, two, rebooted, two, one, one, one]
    assert "; restarted, its main PID was " in life.reason(REBOOT, "lifer.service")
    assert "; restarted, its main PID was " in life.reason(UPGRADE, "lifer.service")
    stays = "pass: lifer.service stays disabled and stopped"
    assert life.reason(UPGRADE, "no disabled unit comes back") == stays
    assert life.reason(REMOVE, "lifer.service").startswith("pass: does not run, ")
    assert life.reason(PURGE, "lifer.service") == "pass: does not run, gone"
    assert life.reason(REMOVE, "tcp://127.0.0.1:8080") == "pass: closed: connection refused"
    assert life.reason(PURGE, "no file left behind") == "pass: none"
    assert life.reason(PURGE, "no user left behind") == "pass: none"


LATE = SERVER.replace("my $server", 'sleep 3 if -e "/run/late";\nmy $server', 1)


def test_reinstall_waits_for_a_port_that_opens_late(bare: Image, tmp_path: Path) -> None:
    """Nobody asks for it, and the settle time is over long before."""
    slowly = POSTINST.replace("set -e", 'set -e\n[ -z "$2" ] || touch /run/late', 1)
    life = live(bare, lifer(tmp_path, "1.0", LATE, postinst=slowly), INSTALL, REINSTALL, quiet=True)
    assert life.result.outcome is PASS, life.bad()
    told = life.reason(REINSTALL, "tcp://127.0.0.1:8080")
    assert told.endswith("lifer.service listens on 127.0.0.1:8080")


NO_STOP = "#!/bin/sh\n"
STOPS_AT_UPGRADE = "#!/bin/sh\ndeb-systemd-invoke stop lifer.service\n"
STARTS_FIRST_TIME = POSTINST.replace(
    "deb-systemd-invoke restart", '[ -n "$2" ] || deb-systemd-invoke start'
)
DISABLES = POSTINST + '[ -z "$2" ] || systemctl disable --quiet lifer.service\n'


def test_remove_fails_a_service_that_outlives_its_package(bare: Image, tmp_path: Path) -> None:
    life = live(bare, lifer(tmp_path, "1.0", prerm=NO_STOP), INSTALL, REMOVE)
    assert life.outcomes == {INSTALL: PASS, REMOVE: FAIL}
    reason = life.reason(REMOVE, "lifer.service")
    assert reason.startswith("fail: still active (running), main PID ")
    assert "its file is gone" in reason
    assert life.reason(REMOVE, "tcp://127.0.0.1:8080") == (
        "fail: still open after the removal: lifer.service listens there"
    )


def test_upgrade_fails_if_it_stops_the_service(bare: Image, tmp_path: Path) -> None:
    older = lifer(tmp_path, "1.0", prerm=STOPS_AT_UPGRADE)
    newer = lifer(tmp_path, "2.0", postinst=STARTS_FIRST_TIME)
    life = live(bare, newer, INSTALL, UPGRADE, older=older)
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL}
    assert life.reason(UPGRADE, "lifer.service").startswith(
        "fail: ran before the upgrade, but was inactive (dead) right after it; now inactive (dead)"
    )


def test_upgrade_notes_a_service_that_it_does_not_restart(bare: Image, tmp_path: Path) -> None:
    newer = lifer(tmp_path, "2.0", postinst=STARTS_FIRST_TIME)
    life = live(bare, newer, INSTALL, UPGRADE, older=lifer(tmp_path, "1.0"))
    told = life.reason(UPGRADE, "lifer.service")
    assert told.startswith("pass: ")
    assert told.splitlines()[0].count("not restarted, same main PID as before") == 1


def test_upgrade_fails_if_it_disables_the_unit(bare: Image, tmp_path: Path) -> None:
    newer = lifer(tmp_path, "2.0", postinst=DISABLES)
    life = live(bare, newer, INSTALL, UPGRADE, older=lifer(tmp_path, "1.0"))
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL}
    assert life.reason(UPGRADE, "lifer.service").startswith(
        "fail: was enabled before the upgrade, but is disabled after it; now active (running)"
    )


def test_upgrade_without_an_older_package_goes_to_a_raised_version(
    bare: Image, tmp_path: Path
) -> None:
    life = live(bare, lifer(tmp_path, "1.0"), INSTALL, UPGRADE, DOWNGRADE, PURGE)
    assert life.result.outcome is PASS, life.bad()
    versions = [step.reason.splitlines()[0] for step in life.result.steps]
    one, made = "lifer 1.0 (all)", "lifer 1.0+postroj1 (all)"
    assert versions == [one, made, one, one]
    assert "; restarted, its main PID was " in life.reason(UPGRADE, "lifer.service")
    assert life.reason(UPGRADE, COMES_BACK).startswith("pass: ")
    assert life.reason(PURGE, "no file left behind") == "pass: none"


def test_upgrade_takes_packages_that_need_each_other_exactly(bare: Image, tmp_path: Path) -> None:
    lib = debs.build(tmp_path, "libpair++", version="2:1.0~a-1", files={"/usr/lib/pair": "x"})
    exact = "libpair++ (= 2:1.0~a-1), dpkg | libpair++:any (=2:1.0~a-1)"
    tool = debs.build(tmp_path, "pair-tool", version="1", depends=exact)
    alone = live(bare, tool, INSTALL, UPGRADE, beside=lib)
    assert alone.outcomes == {INSTALL: PASS, UPGRADE: PASS}
    (step,) = alone.result.steps[1:]
    assert step.reason.splitlines()[0] == (
        "pair-tool 1+postroj1 (all), libpair++ 2:1.0~a-1+postroj1 (all)"
    )


DEAF = "$SIG{TERM} = sub {}; sleep 1 while 1;"
FORKS = "if (!fork) { $0 = q(worker); sleep 1 while 1 } sleep 1 while 1;"
STUBBORN = {
    "deaf": ("/usr/bin/deaf", "TimeoutStopSec=2"),
    "forks": ("/usr/bin/forks", "KillMode=process"),
    "kept": ("/usr/bin/kept 9999", ""),
}
STARTS_STUBBORN = """#!/bin/sh
systemctl daemon-reload
systemctl restart deaf forks
[ -z "$2" ] || exit 0
systemctl start kept
printf "[Service]\\nExecStart=sleep 9998\\n" >/etc/systemd/system/made.service
systemctl start made
setsid /usr/bin/kept 9997 </dev/null >/dev/null 2>&1 &
"""
STOPS_STUBBORN = """#!/bin/sh
[ "$1" != remove ] || systemctl stop deaf forks kept
"""
FORGETS_STUBBORN = """#!/bin/sh
[ "$1" != remove ] || rm -f /etc/systemd/system/made.service
systemctl daemon-reload
"""


def stubborn(folder: Path, version: str) -> Path:
    """Build a package whose processes outlive what they should not."""
    files: dict[str, str | bytes] = {
        f"/lib/systemd/system/{name}.service": debs.SERVICE.format(
            name=name, kind="simple", command=command, more=more
        )
        for name, (command, more) in STUBBORN.items()
    }
    files |= {
        "/usr/bin/deaf": f"#!/usr/bin/perl\n{DEAF}\n",
        "/usr/bin/forks": f"#!/usr/bin/perl\n{FORKS}\n",
        "/usr/bin/kept": Path("/bin/sleep").read_bytes() + version.encode(),
    }
    scripts = {"postinst": STARTS_STUBBORN, "prerm": STOPS_STUBBORN, "postrm": FORGETS_STUBBORN}
    return debs.build(folder, "stubborn", version=version, files=files, scripts=scripts)


def test_upgrade_and_remove_fail_processes_that_run_on(bare: Image, tmp_path: Path) -> None:
    older = stubborn(tmp_path, "1.0")
    newer = stubborn(tmp_path, "2.0")
    life = live(bare, newer, INSTALL, UPGRADE, REMOVE, older=older, quiet=True)
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL, REMOVE: FAIL}
    late = "fail: deaf.service did not stop for 2 s (TimeoutStopSec=), so systemd killed it"
    assert life.reason(UPGRADE, "units stop in time").splitlines()[0] == late
    first, *old = life.reason(UPGRADE, "no old process runs on").splitlines()
    assert first == "fail: the upgrade has restarted forks.service, but old processes run on"
    (worker,) = old
    assert worker.startswith("'worker' (PID ")
    assert worker.endswith(") of /usr/bin/perl, in forks.service")

    assert life.reason(REMOVE, "units stop in time").splitlines()[0] == late
    told = "pass: none but deaf.service, which did not stop in time"
    assert life.reason(REMOVE, "no newly failed unit") == told
    first, *left = life.reason(REMOVE, "no process runs on").splitlines()
    assert first == "fail: still running after the removal"
    ends = [line.partition(")")[2] for line in left]
    assert sorted(ends) == [
        " of /usr/bin/kept (deleted), in no unit",
        " of /usr/bin/perl, in forks.service",
        " of /usr/bin/perl, in forks.service",
    ]
    made = life.reason(REMOVE, "made.service")
    assert made.startswith("fail: still active (running), main PID ")
    assert "its file is gone" in made


def test_upgrade_notes_old_programs_that_it_does_not_restart(bare: Image, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"/usr/bin/kept": Path("/bin/sleep").read_bytes()}
    unit = debs.SERVICE.format(name="kept", kind="simple", command="/usr/bin/kept 99", more="")
    files["/lib/systemd/system/kept.service"] = unit
    script = "#!/bin/sh\nsystemctl daemon-reload\nsystemctl start kept\n"
    kept = debs.build(tmp_path, "kept", files=files, scripts={"postinst": script})
    life = live(bare, kept, INSTALL, REINSTALL, quiet=True)
    assert life.outcomes == {INSTALL: PASS, REINSTALL: PASS}
    told, program = life.reason(REINSTALL, "no old process runs on").splitlines()
    assert told == (
        "pass: the reinstall has not restarted these, as may be intended: they run older programs"
    )
    assert program.endswith(") of /usr/bin/kept (deleted), in kept.service")


COMES_BACK = "no disabled unit comes back"
ENABLES_AGAIN = POSTINST + '[ -z "$2" ] || systemctl enable --quiet --now lifer.service\n'


def test_upgrade_fails_if_it_overrides_the_administrator(bare: Image, tmp_path: Path) -> None:
    newer = lifer(tmp_path, "2.0", postinst=ENABLES_AGAIN)
    life = live(bare, newer, INSTALL, UPGRADE, REMOVE, older=lifer(tmp_path, "1.0"))
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL, REMOVE: PASS}
    assert life.reason(UPGRADE, COMES_BACK) == (
        "fail: lifer.service was disabled and stopped before the reinstall,"
        " but is enabled, active (running) after it"
    )


def test_reinstall_fails_if_it_overrides_the_administrator(bare: Image, tmp_path: Path) -> None:
    life = live(bare, lifer(tmp_path, "1.0", postinst=ENABLES_AGAIN), INSTALL, REINSTALL)
    assert life.outcomes == {INSTALL: PASS, REINSTALL: FAIL}
    assert life.reason(REINSTALL, COMES_BACK).startswith("fail: lifer.service was disabled and")


TWICE = """#!/usr/bin/perl
use IO::Socket::UNIX;
unlink "/run/twice";
my $server = IO::Socket::UNIX->new(Local => "/run/twice", Listen => 5) or die;
while (my $client = $server->accept) { close $client }
"""
STARTS_TWICE = """#!/bin/sh
systemctl daemon-reload
if [ -z "$2" ]; then
    systemctl enable --quiet twice.service twice.socket
    systemctl start twice.service
    sleep 1
    systemctl start twice.socket
elif systemctl --quiet is-enabled twice.service; then
    systemctl restart twice.service
elif systemctl --quiet is-enabled twice.socket; then
    systemctl start twice.socket twice.service
fi
exit 0
"""


def test_install_starts_a_service_before_its_socket(bare: Image, tmp_path: Path) -> None:
    """As lirc: systemd refuses the socket, the service listens, and both may be disabled."""
    unit = debs.SERVICE.format(name="twice", kind="simple", command="/usr/bin/twice", more="")
    files = {
        "/usr/bin/twice": TWICE,
        "/lib/systemd/system/twice.service": unit,
        "/lib/systemd/system/twice.socket": (
            "[Socket]\nListenStream=/run/twice\n[Install]\nWantedBy=sockets.target\n"
        ),
    }
    package = debs.build(tmp_path, "twice", files=files, scripts={"postinst": STARTS_TWICE})
    life = live(bare, package, INSTALL, StepName.START, REINSTALL, quiet=True)
    assert life.result.outcome is PASS, life.bad()
    refused = "skip: inactive (dead), not started, as twice.service listens there itself"
    assert life.reason(INSTALL, "twice.socket") == refused
    assert life.result.steps[1].reason.startswith("nothing to start")
    stay = "pass: twice.service, twice.socket stay disabled and stopped"
    assert life.reason(REINSTALL, COMES_BACK) == stay


NO_WAY_BACK = """\
#!/bin/sh
[ "$1" != upgrade ] || dpkg --compare-versions "$2" lt 2.0
"""


def test_upgrade_never_goes_back_to_an_older_version(bare: Image, tmp_path: Path) -> None:
    older = lifer(tmp_path, "1.0", preinst=NO_WAY_BACK)
    life = live(bare, lifer(tmp_path, "2.0"), INSTALL, UPGRADE, PURGE, older=older)
    assert life.result.outcome is PASS, life.bad()
    stays = "pass: lifer.service stays disabled and stopped"
    assert life.reason(UPGRADE, COMES_BACK) == stays


NOT_ENABLED = """\
#!/bin/sh
set -e
useradd --system --no-create-home lifer
systemctl daemon-reload
systemctl start lifer.service
"""


def test_reboot_fails_a_service_that_does_not_come_back(bare: Image, tmp_path: Path) -> None:
    life = live(bare, lifer(tmp_path, "1.0", postinst=NOT_ENABLED), INSTALL, REBOOT)
    assert life.outcomes == {INSTALL: PASS, REBOOT: FAIL}
    assert life.reason(REBOOT, "lifer.service") == (
        "fail: ran before the reboot, but was inactive (dead) right after it; "
        "not enabled by the package"
    )
    assert life.reason(REBOOT, "tcp://127.0.0.1:8080").startswith("fail: connection refused")


AGAIN_AND_AGAIN = """\
#!/bin/sh
(for _ in $(seq 40); do kill -TERM 1; sleep 0.07; done) </dev/null >/dev/null 2>&1 &
"""


def test_manager_that_restarts_itself_is_no_fault_of_the_package(
    bare: Image, tmp_path: Path
) -> None:
    tiny = debs.build(tmp_path, "again", scripts={"postinst": AGAIN_AND_AGAIN})
    life = live(bare, tiny, INSTALL, REBOOT, REMOVE, quiet=True)
    assert life.outcomes == {INSTALL: PASS, REBOOT: PASS, REMOVE: PASS}


def test_steps_after_one_that_failed_are_skipped(bare: Image, tmp_path: Path) -> None:
    newer = lifer(tmp_path, "2.0", postinst="#!/bin/sh\necho no such luck >&2\nexit 3\n")
    life = live(bare, newer, INSTALL, UPGRADE, REMOVE, older=lifer(tmp_path, "1.0"))
    assert life.outcomes == {INSTALL: PASS, UPGRADE: FAIL, REMOVE: SKIP}
    upgrade, remove = life.result.steps[1:]
    assert "no such luck" in upgrade.reason
    assert remove.reason == "the step 'upgrade' before it did not succeed"
    assert life.reason(REMOVE, "tcp://127.0.0.1:8080") == "skip: the step was not taken"


def test_upgrade_from_the_same_version_is_refused(bare: Image, tmp_path: Path) -> None:
    package = lifer(tmp_path, "1.0")
    life = live(bare, package, INSTALL, UPGRADE, REMOVE, older=package)
    assert life.outcomes == {INSTALL: PASS, UPGRADE: SKIP, REMOVE: PASS}


COMPLAINS = SERVER.replace("my $server", 'print STDERR "<3>out of frobnicators\\n";\nmy $server', 1)


def test_upgrade_notes_a_daemon_that_complains(bare: Image, tmp_path: Path) -> None:
    package = lifer(tmp_path, "1.0", server=COMPLAINS)
    life = live(bare, package, INSTALL, REINSTALL, REMOVE)
    assert life.result.outcome is PASS, life.bad()
    for step in (INSTALL, REINSTALL):
        sentence, evidence = life.reason(step, "errors in the journal").splitlines()
        assert sentence == "pass: 1 line, not a failure"
        assert evidence.endswith(": out of frobnicators")
    assert not [c for c in life.result.steps[2].checks if c.subject == "errors in the journal"]


FORGETS = """\
#!/bin/sh
set -e
systemctl daemon-reload
dpkg-divert --quiet --no-rename --package lifer --divert /usr/bin/lifer-other.real \
    --add /usr/bin/lifer-other
dpkg-divert --quiet --no-rename --local --add /usr/bin/lifer-local
if [ "$1" = purge ]; then
    deb-systemd-helper unmask lifer.service >/dev/null
    ln -s nowhere /etc/lifer-link
    mkdir -p /var/log/lifer
    touch /var/log/lifer/one /var/log/lifer/two /var/cache/lifer
fi
"""


def test_purge_fails_a_package_that_leaves_residue(bare: Image, tmp_path: Path) -> None:
    life = live(bare, lifer(tmp_path, "1.0", postrm=FORGETS), INSTALL, PURGE)
    assert life.outcomes == {INSTALL: PASS, PURGE: FAIL}
    stays = "pass: left behind, as packages may: lifer"
    assert life.reason(PURGE, "no user left behind") == stays
    assert life.reason(PURGE, "no diversion left behind").splitlines() == [
        "fail: left behind",
        "diversion of /usr/bin/lifer-other to /usr/bin/lifer-other.real by lifer",
        "local diversion of /usr/bin/lifer-local to /usr/bin/lifer-local.distrib",
    ]
    files = life.reason(PURGE, "no file left behind").splitlines()
    assert files[0].startswith("fail: left behind: ")
    assert {
        "/etc/lifer-link (a link that leads nowhere)",
        "/etc/systemd/system/multi-user.target.wants/lifer.service (a link that leads nowhere)",
        "/var/lib/lifer/ with 1 file",
        "/var/log/lifer/ with 2 files",
    } <= set(files), files
    assert not any("/var/cache" in line for line in files)


def test_purge_does_not_blame_the_package_for_what_a_dependency_made(
    bare: Image, tmp_path: Path
) -> None:
    """As redis-server has its user and its folder from redis-tools, which purges both."""
    makes = "#!/bin/sh\nset -e\nmkdir -p /var/lib/toolbox/x /srv/others\nuseradd --system toolbox\n"
    purges = "#!/bin/sh\n[ $1 != purge ] || rm -rf /var/lib/toolbox\n"
    scripts = {"postinst": makes, "postrm": purges}
    tools = debs.build(tmp_path, "toolbox", files={"/etc/tb": ""}, scripts=scripts)
    leaves = "#!/bin/sh\nmkdir /var/lib/toolbox-own\ntouch /var/lib/toolbox/log /srv/others/own\n"
    leaves += "useradd --system toolbox-own\n"
    leaves += "update-alternatives --quiet --install /usr/bin/spanner spanner /usr/bin/tb-own 1\n"
    files = {"/usr/bin/tb-own": "#!/bin/sh\n"}
    own_scripts = {"postinst": leaves, "postrm": "#!/bin/sh\n"}
    own = debs.build(tmp_path, "toolbox-own", depends="toolbox", files=files, scripts=own_scripts)
    life = live(helper_image(bare, tmp_path, tools), own, INSTALL, PURGE, quiet=True)
    assert life.reason(INSTALL, "the dependencies work") == (
        "pass: 1 were installed before the package"
    )
    assert life.reason(PURGE, "no file left behind").splitlines() == [
        "fail: left behind: 4 files",
        "/etc/alternatives/spanner (a link that leads nowhere)",
        "/srv/others/own",
        "/usr/bin/spanner (a link that leads nowhere)",
        "/var/lib/toolbox-own",
    ]
    stays = "pass: left behind, as packages may: toolbox-own"
    assert life.reason(PURGE, "no user left behind") == stays


def test_purge_fails_a_postrm_that_needs_a_dependency(bare: Image, tmp_path: Path) -> None:
    files = {"/usr/bin/toolbox-sweep": "#!/bin/sh\n"}
    tools = debs.build(tmp_path, "toolbox", files=files)
    needs = {"postrm": "#!/bin/sh\nset -e\n[ $1 != purge ] || toolbox-sweep\n"}
    own = debs.build(tmp_path, "toolbox-own", depends="toolbox", scripts=needs)
    life = live(helper_image(bare, tmp_path, tools), own, INSTALL, PURGE, quiet=True)
    (purge,) = (step for step in life.result.steps if step.name is PURGE)
    assert purge.done is FAIL
    assert re.match(r"the \S+ script of 'toolbox-own' ended with status 127", purge.reason)
    assert purge.hint.startswith("its dependencies were removed before")
    assert "toolbox-sweep: not found" in purge.reason


def test_install_takes_one_transaction_if_a_dependency_needs_the_package(
    bare: Image, tmp_path: Path
) -> None:
    helper = debs.build(tmp_path, "helper", depends="circle")
    own = debs.build(tmp_path, "circle", depends="helper")
    life = live(helper_image(bare, tmp_path, helper), own, INSTALL, PURGE, quiet=True)
    assert life.outcomes == {INSTALL: PASS, PURGE: PASS}
    (install, _) = life.result.steps
    assert install.reason.startswith("circle 1.0 (all), in one transaction with helper")


def test_units_of_a_dependency_in_the_same_transaction_are_not_counted(
    bare: Image, tmp_path: Path
) -> None:
    server = "/usr/bin/perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Listen => 1, LocalPort"
    unit = f"[Service]\nExecStart={server} => 7777) and sleep 1000'\n"
    starts = "#!/bin/sh\nsystemctl daemon-reload; systemctl start helper.service\n"
    helper = debs.build(
        tmp_path,
        "helper",
        depends="circle",
        files={"/lib/systemd/system/helper.service": unit},
        scripts={"postinst": starts},
    )
    idle = {"/lib/systemd/system/circle.service": "[Service]\nExecStart=/bin/sleep 1000\n"}
    own = debs.build(tmp_path, "circle", depends="helper", files=idle)
    life = live(helper_image(bare, tmp_path, helper), own, INSTALL)
    answers = life.result.steps[0].checks
    theirs = {answer.subject: answer.outcome for answer in answers if answer.is_dependency}
    assert theirs == {"helper.service": PASS, "tcp://127.0.0.1:7777": PASS}
    found = summary.of(life.result)
    assert (found.up, found.answers, found.idle) == ((), (), ("circle.service",))


WANTED = "[Install]\nWantedBy=multi-user.target\n"
FAILING = f"[Service]\nType=oneshot\nExecStart=/bin/false\n{WANTED}"


def test_install_judges_the_unit_of_a_dependency_that_the_package_completes(
    bare: Image, tmp_path: Path
) -> None:
    """As nginx-light brings the program of nginx.service, which nginx-common ships."""
    unit = f"[Service]\nExecStart=/usr/bin/shop-server\n{WANTED}"
    starts = "#!/bin/sh\nsystemctl daemon-reload; systemctl enable --now shop.service || :\n"
    common = debs.build(
        tmp_path,
        "shop-common",
        files={"/lib/systemd/system/shop.service": unit},
        scripts={"postinst": starts},
    )
    package = debs.build(
        tmp_path,
        "shop",
        depends="shop-common",
        files={"/usr/bin/shop-server": "#!/bin/sh\nexec sleep 1000\n"},
        scripts={
            "postinst": "#!/bin/sh\nsystemctl restart shop.service\n",
            "prerm": "#!/bin/sh\nsystemctl stop shop.service\n",
        },
    )
    life = live(helper_image(bare, tmp_path, common), package, INSTALL, REMOVE, quiet=True)
    assert life.reason(INSTALL, "shop.service").startswith("pass: active (running)")
    assert life.outcomes == {INSTALL: PASS, REMOVE: PASS}, life.bad()


def test_install_is_not_judged_if_a_dependency_does_not_work(bare: Image, tmp_path: Path) -> None:
    starts = "#!/bin/sh\nsystemctl daemon-reload; systemctl enable --now {0}.service || :\n"
    helper = debs.build(
        tmp_path,
        "helper",
        files={"/lib/systemd/system/helper.service": FAILING},
        scripts={"postinst": starts.format("helper")},
    )
    unit = "[Unit]\nWants=helper.service\n[Service]\nExecStart=/bin/sleep 1000\n"
    user = debs.build(
        tmp_path,
        "user",
        depends="helper",
        files={
            "/lib/systemd/system/user.service": f"{unit}[Install]\nWantedBy=multi-user.target\n"
        },
        scripts={"postinst": starts.format("user")},
    )
    life = live(helper_image(bare, tmp_path, helper), user, INSTALL, quiet=True)
    assert life.outcomes == {INSTALL: Outcome.ERROR}
    assert life.reason(INSTALL, "the dependencies work").startswith(
        "error: a dependency does not work: helper.service of 'helper' failed\n"
    )
    assert life.reason(INSTALL, checks.NEW_FAILURES) == "pass: none"
    assert life.reason(INSTALL, "user.service").startswith("pass: active (running)")
