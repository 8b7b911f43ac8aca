"""Packages that mean harm: each ends with a verdict in time, eats nothing, and leaves nothing.

What a package did is held against it: exit status 1, in words that say what it did.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from postroj.container import limits
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError, GuestError
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.package.package_file import recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import Outcome, StepName
from tests.integration.test_run import is_left
from tests.integration.test_steps import bare
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, POSTROJ, eventually, measured
from tests.support.listener import Nobody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.model import Image

__all__ = ["bare"]

MEMORY = 200 << 10
"""KiB that postroj itself may take."""
TIMEOUT = 15
"""Seconds for the package manager."""
SHORT = 8
"""Seconds for it where it hangs for sure."""
LONGEST = 75
"""Seconds for all of it, on a host that is busy."""
REPLACE = "chmod 755 /tmp/x; mv /tmp/x"
ESCAPES = r"\033]0;owned\007\033[2J\033[31mred\377\376\000nul ::error::no ]]> <script>x</script>"

MAINTENANCE = "the guest is in maintenance"
BROKEN = "the package has broken the guest"


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """What a postinst does, and what is said of it."""

    postinst: str
    words: tuple[str, ...] = ()
    """In the reason of the step, or else of a check."""
    status: int = 1
    files: dict[str, str] = field(default_factory=dict)
    timeout: int = TIMEOUT


HUNG = f"apt-get hung for {SHORT} s while setting up NAME"
STOPPED = "the guest (shut down|was shutting down) while apt-get was setting up NAME"
RESTARTED = "the guest (rebooted|was shutting down) while apt-get was setting up NAME"
PACKAGES = {
    "endless": Hostile(postinst="while :; do :; done", words=(HUNG,), timeout=SHORT),
    "floods": Hostile(
        postinst="echo first; yes | head -c 100000000; echo last words; exit 3",
        words=("post-installation script of 'NAME' ended with status 3", "last words"),
    ),
    "liar": Hostile(
        postinst="printf '#!/bin/sh\\nyes MainPID=x | head -c 3000000\\n' > /tmp/x; "
        f"{REPLACE} /usr/bin/systemctl",
        words=("failed since the installation|broken",),
    ),
    "floodhangs": Hostile(
        postinst="yes | head -c 100000000; sleep 1000",
        words=(HUNG,),
        timeout=SHORT,
    ),
    "oneline": Hostile(
        postinst="head -c 100000000 /dev/zero | tr '\\0' x; exit 4",
        words=("ended with status 4",),
    ),
    "holds": Hostile(postinst="setsid sleep 1000 & exit 0", status=0),
    "escapes": Hostile(postinst=f"printf '{ESCAPES}\\n'; exit 7", words=("ended with status 7",)),
    "killall": Hostile(postinst="kill -9 -1", words=("apt-get was killed while setting up NAME",)),
    "poweroff": Hostile(postinst="systemctl --force poweroff; sleep 99", words=(STOPPED,)),
    "halt": Hostile(postinst="kill -37 1; sleep 99", words=(STOPPED,)),
    "reboot": Hostile(postinst="systemctl --force --force reboot; sleep 99", words=(RESTARTED,)),
    "signal": Hostile(postinst="kill -39 1; sleep 99", words=(RESTARTED,)),
    "crash": Hostile(postinst="kill -SEGV 1; sleep 99", words=(STOPPED,)),
    "kexec": Hostile(postinst="systemctl kexec", words=("ended with status 1", "kexec")),
    "reexec": Hostile(postinst="systemctl daemon-reexec; kill -TERM 1; sleep 1", status=0),
    "dbus": Hostile(
        postinst="systemctl reload dbus; systemctl restart dbus; "
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do systemctl daemon-reload; done",
        status=0,
        timeout=60,  # a machine with much to do takes a second for each
    ),
    "rescue": Hostile(postinst="systemctl --no-block isolate rescue.target", words=(MAINTENANCE,)),
    "emergency": Hostile(
        postinst="systemctl --no-block isolate emergency.target; sleep 1", words=(MAINTENANCE,)
    ),
    "noproc": Hostile(postinst="umount -l /proc", words=(BROKEN, "/proc/self/status")),
    "noshell": Hostile(
        postinst=f"echo no > /tmp/x; {REPLACE} /usr/bin/dash", words=(BROKEN, "'sh'")
    ),
    "nodpkg": Hostile(
        postinst=f"echo no > /tmp/x; {REPLACE} /usr/bin/dpkg-query", words=(BROKEN, "dpkg-query")
    ),
    "nodatabase": Hostile(postinst="rm -rf /var/lib/dpkg", words=("dpkg refused the package",)),
    "nothing": Hostile(postinst="rm -rf /usr /etc", words=("dpkg|broken",)),
    "option": Hostile(
        postinst="systemctl daemon-reload; systemctl start --no-block -- --force.service",
        files={"/lib/systemd/system/--force.service": "[Service]\nExecStart=/bin/sleep 99\n"},
        status=0,
    ),
    "names": Hostile(
        postinst="cd /lib/systemd/system; for name in 'two\nlines' '<b>' '\\033[2Jred'; do "
        'echo \'[Service]\nExecStart=/bin/true\' > "$(printf "$name").service"; done; '
        'touch "/etc/$(printf "two\\nlines")"; systemctl daemon-reload',
        status=0,
    ),
    "links": Hostile(
        postinst="ln -sf /proc/1/root/etc/hostname /etc/passwd; exit 0",
        words=("user root existed before the install, but not after it",),
    ),
    "journal": Hostile(
        postinst="yes a flood of the journal | head -c 100000000 | timeout 5 systemd-cat; exit 0",
        status=0,
    ),
    "units": Hostile(
        postinst="cd /lib/systemd/system; i=0; while [ $i -lt 500 ]; do "
        "echo '[Service]\nExecStart=/bin/true' > many-$i.service; i=$((i+1)); done; "
        "systemctl daemon-reload",
        status=0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run of postroj: what it said, and what it took."""

    status: int
    report: dict[str, Any]
    stderr: str
    junit: str
    page: str
    seconds: float
    peak: int
    """KiB of postroj itself."""
    guest: str

    @property
    def reasons(self) -> str:
        """All that was said of what did not pass."""
        (probe,) = self.report["probes"]
        steps = probe["steps"]
        checks = [check for step in steps for check in step["checks"]]
        bad = [one["reason"] for one in checks if one["outcome"] in ("fail", "error")]
        bad += [step["reason"] for step in steps if step["done"] in ("fail", "error")]
        return "\n".join([probe["reason"], *bad])


def run(image: str, folder: Path, name: str) -> Ended:
    """Probe a package by a process of its own."""
    made = PACKAGES[name]
    scripts = {"postinst": f"#!/bin/sh\n{made.postinst}\n"}
    deb = debs.build(folder, f"hostile-{name}", scripts=scripts, files=made.files)
    junit, page = folder / f"{name}.xml", folder / f"{name}.html"
    argv = ["-v", "pkgprobe", "--image", image, "--package", str(deb), "--json", *NO_REPOSITORIES]
    argv += ["--timeout", str(made.timeout), "--settle", "1", "--check-timeout", "5"]
    argv += ["--report", f"junit={junit}", "--report", f"html={page}"]
    said, stderr = folder / f"{name}.out", folder / f"{name}.err"
    peak = folder / f"{name}.peak"
    began = time.monotonic()
    with said.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.run(
            measured(peak, *argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=LONGEST,
            check=False,
        )
    text = stderr.read_text(errors="replace")
    guests = re.findall(r"--machine=(postroj-[0-9a-f]{8})", text)
    return Ended(
        status=process.returncode,
        report=json.loads(said.read_text() or "{}"),
        stderr=text,
        junit=junit.read_text() if junit.exists() else "",
        page=page.read_text() if page.exists() else "",
        seconds=time.monotonic() - began,
        peak=int(peak.read_text()),
        guest=guests[0] if guests else "",
    )


@pytest.fixture(scope="module")
def ended(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Run all of them, three at once."""
    folder = tmp_path_factory.mktemp("hostile")
    with ThreadPoolExecutor(3) as pool:
        runs = {name: pool.submit(run, image, folder, name) for name in PACKAGES}
        yield {name: future.result() for name, future in runs.items()}


@pytest.mark.parametrize("name", PACKAGES)
def test_hostile_package_gets_a_verdict_in_time(ended: dict[str, Ended], name: str) -> None:
    made, found = PACKAGES[name], ended[name]
    assert "Traceback" not in found.stderr, found.stderr[-3000:]
    assert found.status == made.status, (found.status, found.reasons, found.stderr[-2000:])
    for word in made.words:
        assert re.search(word.replace("NAME", f"hostile-{name}"), found.reasons), found.reasons
    assert found.seconds < LONGEST


@pytest.mark.parametrize("name", PACKAGES)
def test_hostile_package_takes_little_memory_and_leaves_nothing(
    ended: dict[str, Ended], name: str
) -> None:
    found = ended[name]
    assert found.peak < MEMORY
    assert found.guest
    assert eventually(lambda: not is_left(found.guest)), found.guest


@pytest.mark.parametrize("name", PACKAGES)
def test_hostile_package_leaves_reports_whole_and_harmless(
    ended: dict[str, Ended], name: str
) -> None:
    found = ended[name]
    ElementTree.fromstring(found.junit)
    for text in (found.junit, found.page, found.stderr):
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]", text)
    assert "<script" not in found.page
    assert len(found.page) < 1 << 20


def harm(image: Image, folder: Path, name: str, postinst: str) -> tuple[Outcome, str]:
    """Install a package in a guest that has a sixteenth of this host: outcome and reasons."""
    deb = debs.build(folder, name, scripts={"postinst": f"#!/bin/sh\n{postinst}\n"})
    plan = Plan(
        questions=(),
        manners=Manners(timeout=5, settle=0),
        network=NetworkMode.NONE,
        timeout=TIMEOUT,
        boot_timeout=60,
        guests=16,
    )
    found = probe(image, [recognise(deb)], plan, Nobody())
    (step,) = found.steps
    return found.outcome, "\n".join([step.reason, *(check.reason for check in step.checks)])


def test_hostile_package_fills_only_the_disk_of_its_guest(bare: Image, tmp_path: Path) -> None:
    outcome, reason = harm(bare, tmp_path, "filler", "cat /dev/zero > /var/lib/big")
    assert (outcome, "'filler'" in reason) == (Outcome.FAIL, True), reason
    assert "the guest's disk is full" in reason


def test_hostile_package_eats_only_the_memory_of_its_guest(bare: Image, tmp_path: Path) -> None:
    postinst = "perl -e 'my @all; push @all, q(x) x 1e7 while 1'"
    outcome, reason = harm(bare, tmp_path, "eater", postinst)
    assert (outcome, "'eater'" in reason) == (Outcome.FAIL, True), reason


def test_hostile_package_forks_only_up_to_the_limit_of_its_guest(
    bare: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(limits.of_host(16), processes=256)  # others want to run here, too
    monkeypatch.setattr(limits, "of_host", lambda guests: few)
    postinst = "bomb() { bomb | bomb & }; bomb; sleep 99"
    outcome, reason = harm(bare, tmp_path, "bomber", postinst)
    # which of the shells is refused a process first is chance; as long as one says so,
    # apt-get might be about to end
    assert outcome in (Outcome.FAIL, Outcome.ERROR), reason
    said = "setting up bomber|dpkg refused the package|script of 'bomber' ended with status 2"
    assert re.search(said, reason), reason


def test_guest_takes_no_more_memory_than_its_limit_in_a_tmpfs(image: str) -> None:
    """A tmpfs of its own does not get it more than it may have."""
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, guests=32, network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            size = guest.run(["stat", "--file-system", "--format=%b %S", "/"]).text.split()
            assert int(size[0]) * int(size[1]) <= spec.limits.disk
            script = "mount -t tmpfs -o size=100%% x /mnt; head -c %d /dev/zero > /mnt/x"
            # the kernel kills in the guest until its memory is free: init, too, in the end
            with pytest.raises((CommandError, GuestError)):
                guest.run(["sh", "-c", script % (2 * spec.limits.memory)], timeout=60)


def test_hostile_links_of_a_guest_lead_to_no_file_of_the_host(image: str, tmp_path: Path) -> None:
    """A package whose folders of units and programs lead out of the guest, as it were."""
    secret = tmp_path / "secret.service"
    secret.write_text("[Service]\nExecStart=/bin/false\n# of the host\n")
    deb = debs.build(
        tmp_path,
        "hostile-outward",
        scripts={
            "postinst": f"#!/bin/sh\nln -s {tmp_path} /etc/outward\n"
            f"ln -s {secret} /lib/systemd/system/outward.service\n"
            f"ln -s {tmp_path} /lib/systemd/system/outward.service.d\n"
            "systemctl daemon-reload\nsystemctl start --no-block outward\nexit 0\n"
        },
    )
    argv = [*POSTROJ, "pkgprobe", "--image", image, "--package", str(deb), "--json"]
    argv += ["--steps=install,purge", "--settle=0", *NO_REPOSITORIES]
    argv += ["--check-file", "/etc/outward/secret.service"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "of the host" not in done.stdout
    (install, _) = json.loads(done.stdout)["probes"][0]["steps"]
    asked = {check["subject"]: check for check in install["checks"]}
    assert "no such file" in asked["/etc/outward/secret.service"]["reason"]
    assert install["name"] == StepName.INSTALL
