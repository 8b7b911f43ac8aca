"""Real-world faults of packages, each in a small package with a good twin, on real guests.

A fault is one line that makes the good package bad. What can live beside others shares a guest:
the good ones go through a whole life together; so do the bad ones whose steps go through; a bad
one whose installation (or another step) fails has a guest of its own.

Sources are the issues in which users met the fault, by repository and number, where there is one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from postroj.model import NetworkMode
from postroj.probe.ask.checks import Manners
from postroj.probe.ask.question import Question
from postroj.probe.compare import residue
from postroj.probe.package.package_file import OLDER_DIR, recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import CheckKind, Outcome, StepName
from tests.integration.test_steps import bare
from tests.support import debs
from tests.support.listener import Nobody

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroj.model import Image
    from postroj.verdict import ProbeResult

    Lines = Sequence[tuple[str, str, str]]

__all__ = ["bare"]

PASS, FAIL = Outcome.PASS, Outcome.FAIL
INSTALL, REINSTALL, UPGRADE = StepName.INSTALL, StepName.REINSTALL, StepName.UPGRADE
REBOOT, REMOVE, PURGE = StepName.REBOOT, StepName.REMOVE, StepName.PURGE
LONG_AGO = 1_700_000_000
LIFE = (INSTALL, UPGRADE, REBOOT, REMOVE, PURGE)

UNIT = """\
[Unit]
Description=NAME of the tests
[Service]
User=daemon
Type=simple
ExecStart=/usr/bin/NAME
[Install]
WantedBy=multi-user.target
"""
DAEMON = "#!/bin/sh\nexec sleep infinity\n"
POSTINST = """\
#!/bin/sh
set -e
mkdir -p /var/lib/NAME
[ -n "$2" ] || touch /var/lib/NAME/data
systemd-tmpfiles --create NAME.conf
deb-systemd-helper enable NAME.service >/dev/null
systemctl daemon-reload
[ -z "$2" ] || systemctl is-enabled --quiet NAME.service || exit 0
systemctl --no-block restart NAME.service || :
"""
PRERM = """\
#!/bin/sh
set -e
case "$1" in
remove) systemctl stop NAME.service ;;
upgrade) : ;;
failed-upgrade) exit 1 ;;
esac
"""
POSTRM = """\
#!/bin/sh
set -e
[ "$1" = upgrade ] || systemctl daemon-reload
if [ "$1" = purge ]; then
    deb-systemd-helper purge NAME.service >/dev/null
    rm -rf /var/lib/NAME
fi
"""
GOOD = {
    "unit": UNIT,
    "daemon": DAEMON,
    "postinst": POSTINST,
    "prerm": PRERM,
    "postrm": POSTRM,
    "tmpfiles": "d /run/NAME 0755 daemon daemon\n",
    "depends": "systemd",
    "architecture": "all",
    "other": "/usr/share/NAME/other",
}

PORT_GOOD = """\
#!/usr/bin/perl
use IO::Socket::IP;
my $at = "127.0.0.1";
my $s = IO::Socket::IP->new(LocalHost => $at, LocalPort => 7300, Listen => 5, ReuseAddr => 1);
while ($s and my $c = $s->accept) { close $c }
"""
NOTIFIES = "Type=notify\nNotifyAccess=all"
SAYS = "#!/bin/sh\nsystemd-notify --ready\nexec sleep infinity\n"
FORKS = "#!/bin/sh\nsleep infinity &\necho $! > /run/NAME/pid\n"
FORKING = "Type=forking\nPIDFile=/run/NAME/pid"


ADDS = "getent passwd NAME >/dev/null || useradd --system NAME"
ACCOUNT = (
    ("postinst", "mkdir", f"{ADDS}\nmkdir"),
    ("postrm", "    rm -rf", "    userdel NAME\n    rm -rf"),
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A good package, and the one line of it that is bad in its twin."""

    name: str
    part: str
    """Of `GOOD`."""
    line: str
    instead: str
    step: StepName
    words: Sequence[str]
    """What the reason must have."""
    subject: str = "NAME.service"
    """What is asked about; '' is the step itself, which fails."""
    more: Lines = ()
    """Lines of `GOOD` that differ in both: part, line, instead."""
    changes: Lines = ()
    """Lines that differ in the newer version of both."""
    fails_from: str = "new"
    """Which version is bad in the bad one: `new`, or `all`."""

    @property
    def lives_on(self) -> bool:
        """Whether the steps go through."""
        return bool(self.subject)

    def parts(self, *, bad: bool, newer: bool) -> dict[str, str]:
        """Return the parts of the package."""
        found = dict(GOOD)
        lines = [*self.more, *(self.changes if newer else ())]
        if bad and (newer or self.fails_from == "all"):
            lines.append((self.part, self.line, self.instead))
        for part, line, instead in lines:
            assert line in found[part], (self.name, part, line)
            found[part] = found[part].replace(line, instead, 1)
        name = self.package(bad=bad)
        return {part: text.replace("NAME", name) for part, text in found.items()}

    def package(self, *, bad: bool) -> str:
        """Name of the package; one good package is the twin of all that differ from it alone."""
        if bad:
            return f"flt-{self.name}-bad"
        first = next(one for one in FAULTS if self.is_twin(one))
        return f"flt-{first.name}-good"

    def is_twin(self, other: Fault) -> bool:
        """Whether the good packages of both are the same."""
        return [*self.more, *self.changes] == [*other.more, *other.changes]

    def build(self, folder: Path, *, bad: bool, newer: bool = True) -> Path:
        """Build the package."""
        name, parts = self.package(bad=bad), self.parts(bad=bad, newer=newer)
        return debs.build(
            folder,
            name,
            version="2.0" if newer else "1.0",
            architecture=parts["architecture"],
            depends=parts["depends"],
            files={
                f"/lib/systemd/system/{name}.service": parts["unit"],
                f"/usr/bin/{name}": parts["daemon"],
                f"/usr/lib/tmpfiles.d/{name}.conf": parts["tmpfiles"],
                parts["other"]: "a file\n",
            },
            scripts={key: parts[key] for key in ("postinst", "prerm", "postrm")},
            latest=None if newer else LONG_AGO,
        )


def at_install(*spoilt: str, more: Lines = (), subject: str = "NAME.service") -> Fault:
    """A package whose service does not work; after a line, and what it becomes, come words."""
    name, part, line, instead, *words = spoilt
    return Fault(
        name=name,
        part=part,
        line=line,
        instead=instead,
        step=INSTALL,
        words=words,
        more=more,
        subject=subject,
    )


UNITS = [
    at_install(  # unit files of other distributions
        *("path", "unit", "ExecStart=/usr/bin/NAME", "ExecStart=/usr/local/bin/NAME"),
        *("ended with status 203 (EXEC)", "status=203/EXEC"),
    ),
    at_install(  # bindplane-op#1020
        *("user", "unit", "User=daemon", "User=nobody-made-me"),
        *("ended with status 217 (USER)", "Failed to determine user credentials"),
    ),
    at_install(
        *("crash", "daemon", "exec sleep infinity", "sleep 0.5; echo lost my mind; exit 9"),
        *("failed (result 'exit-code')", "status 9", "lost my mind"),
    ),
    at_install(  # tenzir#4188, Dynatrace otel PR257: seen as running by who looks once
        *("loop", "daemon", "exec sleep infinity", "sleep 0.3; exit 7"),
        *("crash loop", "status 7"),
        more=[("unit", "Type=simple", "Type=simple\nRestart=always\nRestartSec=200ms")],
    ),
    at_install(  # "activating" is taken for active: testinfra, goss
        *("silent", "daemon", "systemd-notify --ready", ":"),
        "still activating (start)",
        more=[("unit", "Type=simple", NOTIFIES), ("daemon", DAEMON, SAYS)],
    ),
    at_install(  # a daemon that goes to the background, and Type=simple
        *("detaches", "unit", FORKING, "Type=simple"),
        "inactive (dead)",
        more=[("unit", "Type=simple", FORKING), ("daemon", DAEMON, FORKS)],
    ),
    at_install(
        *("pidfile", "unit", "PIDFile=/run/NAME/pid", "PIDFile=/run/NAME.pid"),
        *("still activating (start)", "PID file"),
        more=[("unit", "Type=simple", FORKING), ("daemon", DAEMON, FORKS)],
    ),
    at_install(
        *("relative", "unit", "ExecStart=/usr/bin/NAME", "ExecStart=./NAME"),
        "could not be loaded (bad-setting)",
    ),
    at_install(  # rsyslog-pkg-ubuntu#69
        *("stopped", "postinst", "systemctl --no-block restart NAME.service", ":"),
        "inactive (dead), not started",
    ),
    at_install(  # goss#804: a port that is seen, at another address
        *("address", "daemon", '"127.0.0.1"', '"::1"'),
        "listening on that port: [::1]:7300 (NAME.service)",
        subject="tcp://127.0.0.1:7300",
        more=[("daemon", DAEMON, PORT_GOOD)],
    ),
]
"""What the installation itself does not notice."""

LIVES = [
    Fault(  # rustfs#8011, centreon-collect#3685
        name="stops",
        part="postinst",
        line="systemctl --no-block restart NAME.service",
        instead="systemctl stop NAME.service",
        step=UPGRADE,
        words=["ran before the upgrade"],
    ),
    Fault(  # firezone#10539, ncpa#329
        name="disables",
        part="postinst",
        line="systemctl daemon-reload",
        instead="systemctl --quiet disable NAME.service",
        step=UPGRADE,
        words=["was enabled before the upgrade, but is disabled after it"],
    ),
    Fault(  # ntopng#2267
        name="masks",
        part="postinst",
        line="systemctl daemon-reload",
        instead="rm -f /etc/systemd/system/NAME.service; systemctl --quiet mask --runtime NAME",
        step=UPGRADE,
        words=["was enabled before the upgrade, but is masked-runtime after it"],
    ),
    Fault(  # fluent-package-builder: its own test of data loss
        name="data",
        part="postinst",
        line="mkdir -p /var/lib/NAME",
        instead="rm -rf /var/lib/NAME; mkdir /var/lib/NAME",
        step=UPGRADE,
        words=["ran before the upgrade", "no data"],
        more=[("daemon", "exec", "[ -e /var/lib/NAME/data ] || { echo no data; exit 1; }\nexec")],
    ),
    Fault(
        name="onlynow",
        part="postinst",
        line="deb-systemd-helper enable NAME.service >/dev/null",
        instead=":",
        step=REBOOT,
        words=["ran before the reboot"],
        fails_from="all",
    ),
    Fault(  # fluent-package-builder: its own test of tmpfiles
        name="rundir",
        part="tmpfiles",
        line="d /run/NAME 0755 daemon daemon\n",
        instead="",
        step=REBOOT,
        words=["ran before the reboot", "no runtime directory"],
        more=[
            ("postinst", "systemctl daemon-reload", "mkdir -p /run/NAME\nsystemctl daemon-reload"),
            ("daemon", "exec", "[ -d /run/NAME ] || { echo no runtime directory; exit 1; }\nexec"),
        ],
        fails_from="all",
    ),
    Fault(
        name="outlives",
        part="prerm",
        line="systemctl stop NAME.service",
        instead=":",
        step=REMOVE,
        words=["still active (running)", "its file is gone"],
    ),
    Fault(  # piuparts: "leaves unowned files behind"
        name="files",
        part="postrm",
        line="rm -rf /var/lib/NAME",
        instead=":",
        step=PURGE,
        subject=residue.FILES.subject,
        words=["/var/lib/NAME/"],
    ),
    Fault(  # fluent-package-builder: its own test of links of units
        name="link",
        part="postrm",
        line="deb-systemd-helper purge NAME.service >/dev/null",
        instead=":",
        step=PURGE,
        subject=residue.FILES.subject,
        words=["/etc/systemd/system/multi-user.target.wants/NAME.service", "leads nowhere"],
    ),
    Fault(
        name="alternative",
        part="postrm",
        line="update-alternatives --quiet --remove NAME /usr/share/NAME/other",
        instead=":",
        step=PURGE,
        subject=residue.FILES.subject,
        words=["/etc/alternatives/NAME"],
        more=[
            (
                *("postinst", "systemctl daemon-reload"),
                "update-alternatives --quiet --install /usr/bin/NAME-tool NAME "
                "/usr/share/NAME/other 10\nsystemctl daemon-reload",
            ),
            (
                *("postrm", 'if [ "$1" = purge ]'),
                "update-alternatives --quiet --remove NAME /usr/share/NAME/other\n"
                'if [ "$1" = purge ]',
            ),
        ],
    ),
]
"""What only a life brings to light; its steps go through."""


def that_ends(
    step: StepName, name: str, *spoilt: str, words: Sequence[str], more: Lines = ()
) -> Fault:
    """A package of which a step fails."""
    part, line, instead = spoilt
    return Fault(
        name=name,
        part=part,
        line=line,
        instead=instead,
        step=step,
        words=words,
        subject="",
        more=more,
        fails_from="new" if step is UPGRADE and part != "prerm" else "all",
    )


ENDS = [
    # what another package does would hide it
    Fault(
        name="reload",
        part="postinst",
        line="systemctl daemon-reload",
        instead=":",
        step=UPGRADE,
        words=["its file has changed", "daemon-reload"],
        changes=[("unit", "Type=simple", "Type=simple\nNice=5")],
    ),
    # otel-collector-releases#767, vector#5478: it dies of a systemctl that cannot do it
    that_ends(
        *(INSTALL, "misnamed", "postinst", "systemctl daemon-reload", "systemctl start NAMEd"),
        words=["post-installation script of 'NAME' ended with status 5", "NAMEd.service not found"],
    ),
    that_ends(
        *(INSTALL, "interpreter", "postinst", "#!/bin/sh", "#!/usr/bin/nosuchshell"),
        words=["post-installation script of 'NAME'", "No such file"],
    ),
    that_ends(  # whoever installs unattended has no answer
        *(INSTALL, "asks", "postinst", "systemctl daemon-reload", "echo Really?; read answer"),
        words=["post-installation script of 'NAME' ended with status 1", "Really?"],
    ),
    that_ends(  # a start that waits for a notification that never comes
        *(INSTALL, "blocks", "unit", "Type=simple", "Type=notify"),
        more=[("postinst", "--no-block", "--quiet")],
        words=["hung for", "setting up NAME"],
    ),
    that_ends(
        *(INSTALL, "conflict", "other", "/usr/share/NAME/other", "/usr/bin/perl"),
        words=["ships '/usr/bin/perl', which is also in package 'perl-base'"],
    ),
    that_ends(
        *(INSTALL, "foreign", "architecture", "all", "s390x"),
        words=["is for s390x, the guest is"],
    ),
    that_ends(
        *(INSTALL, "needs", "depends", "systemd", "systemd, libsurely-not-there1 (>= 2)"),
        words=["'NAME' depends on 'libsurely-not-there1 (>= 2)'"],
    ),
    that_ends(  # not idempotent: netdata#6739
        *(REINSTALL, "twice", "postinst", ADDS, "useradd --system NAME"),
        more=ACCOUNT,
        words=["post-installation script of 'NAME' ended with status 9", "already exists"],
    ),
    that_ends(  # mimir#4801
        *(UPGRADE, "rejects", "prerm", "upgrade) :", "upgrade) echo unknown argument >&2; exit 1"),
        words=["pre-removal script", "'NAME'"],
    ),
    that_ends(
        *(PURGE, "purges", "postrm", "userdel NAME", "userdel NAME-daemon"),
        more=ACCOUNT,
        words=["post-removal script of 'NAME' ended with status 6", "does not exist"],
    ),
]
"""Of what a step fails, or what must be alone: each has a guest of its own."""

FAULTS = [*UNITS, *LIVES, *ENDS]


@dataclass(frozen=True, kw_only=True)
class Lives:
    """What the probes found, by fault: of the bad ones, and of the good ones together."""

    bad: dict[str, ProbeResult]
    good: ProbeResult


def live(
    image: Image, folder: Path, faults: Sequence[Fault], *steps: StepName, bad: bool
) -> ProbeResult:
    """Probe packages together."""
    questions = [
        Question(kind=CheckKind.NETWORK, subject="tcp://127.0.0.1:7300")
        for fault in faults
        if fault.name == "address"
    ]
    questions += [
        Question(kind=CheckKind.UNIT, subject=fault.package(bad=bad))
        for fault in faults
        if fault.name == "stopped"
    ]
    plan = Plan(
        questions=tuple(questions),
        manners=Manners(timeout=5, settle=1),
        network=NetworkMode.NONE,
        timeout=8 if len(faults) == 1 else 40,
        boot_timeout=60,
        steps=steps,
    )
    if UPGRADE in steps:
        older = (fault.build(folder, bad=bad, newer=False) for fault in faults)
        plan = replace(plan, older=tuple(recognise(path, OLDER_DIR) for path in older))
    files = [recognise(fault.build(folder, bad=bad)) for fault in faults]
    return probe(image, files, plan, Nobody())


def live_alone(image: Image, folder: Path, fault: Fault) -> ProbeResult:
    """Probe a bad package until its step fails."""
    return live(image, folder, [fault], *dict.fromkeys([INSTALL, fault.step]), bad=True)


@pytest.fixture(scope="module")
def lives(bare: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """Live all of them, four guests at once."""
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(4) as pool:
        twins = {fault.package(bad=False): fault for fault in reversed(FAULTS)}
        good = pool.submit(live, bare, folder, [*twins.values()], *LIFE, bad=False)
        life = pool.submit(live, bare, folder, LIVES, *LIFE, bad=True)
        units = pool.submit(live, bare, folder, UNITS, INSTALL, bad=True)
        alone = {fault.name: pool.submit(live_alone, bare, folder, fault) for fault in ENDS}
        yield Lives(
            bad={
                **{fault.name: life.result() for fault in LIVES},
                **{fault.name: units.result() for fault in UNITS},
                **{name: future.result() for name, future in alone.items()},
            },
            good=good.result(),
        )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_pkgprobe_fails_a_faulty_package_with_the_reason(lives: Lives, fault: Fault) -> None:
    result, name = lives.bad[fault.name], fault.package(bad=True)
    assert not result.reason, result.reason
    steps = {step.name: step for step in result.steps}
    step = steps[fault.step]
    if fault.lives_on:
        subject = fault.subject.replace("NAME", name)
        asked = {check.subject.removesuffix(".service"): check for check in step.checks}
        answer = asked[subject.removesuffix(".service")]
        outcome, reason = answer.outcome, answer.reason
    else:
        outcome, reason = step.done, step.reason
    assert outcome is FAIL, (outcome, reason)
    for word in fault.words:
        assert word.replace("NAME", name) in reason, reason


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_pkgprobe_passes_the_twin_without_the_fault(lives: Lives, fault: Fault) -> None:
    name = fault.package(bad=False)
    for step in lives.good.steps:
        assert step.done is PASS, step.reason
        asked = {check.subject.removesuffix(".service"): check for check in step.checks}
        assert asked[name].outcome is PASS, (step.name, asked[name].reason)


def test_pkgprobe_says_nothing_else_of_packages_without_a_fault(lives: Lives) -> None:
    said = [check for step in lives.good.steps for check in step.checks]
    assert [check for check in said if check.outcome is not PASS] == []
    assert lives.good.outcome is PASS


def test_pkgprobe_passes_a_faulty_package_until_the_step_of_its_fault(lives: Lives) -> None:
    """A fault of a later step is not seen in an earlier one."""
    for fault in LIVES:
        for step in lives.bad[fault.name].steps:
            if LIFE.index(step.name) < LIFE.index(fault.step):
                asked = {check.subject: check for check in step.checks}
                answer = asked[f"{fault.package(bad=True)}.service"]
                assert answer.outcome is PASS, (step.name, answer)
