"""What is kept of a failure: on a booted guest, in files, in a shell in that very guest."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postroj.cli import artifacts
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.package.package_file import recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import Report
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, POSTROJ, host_state, measured, postroj
from tests.support.listener import Nobody
from tests.support.terminal import converse

UNITS = "/lib/systemd/system"
HOLDER = """#!/usr/bin/perl
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8099, Listen => 5) or die;
sleep 1000;
"""
DUMPS = "LimitCORE=infinity\nWorkingDirectory=/var/tmp"
POSTINST = """\
#!/bin/sh
set -e
echo the postinst of evident runs
systemctl daemon-reload
systemctl start evident-holder
systemctl start --no-block evident-waits
systemctl start --no-block evident
"""
NAMES = (
    *("console", "cores", "failed", "jobs", "journal", "output", "packages", "sockets"),
    *("status", "unit-journal"),
)
QUICK = ("--settle", "0.5", "--check-timeout", "2", *NO_REPOSITORIES)


def unit(name: str, command: str, **options: str) -> dict[str, str]:
    text = debs.SERVICE.format(
        name=name, command=command, **{"kind": "simple", "more": ""} | options
    )
    return {f"{UNITS}/{name}.service": text}


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package: one service holds a port, one is never done starting, one dies and dumps core."""
    files = {
        **unit("evident-holder", "/usr/bin/evident-holder"),
        **unit("evident-waits", "/bin/sleep 1000", kind="oneshot"),
        **unit("evident", "/bin/sh -c 'echo cannot go on; kill -SEGV $$$$'", more=DUMPS),
        "/usr/bin/evident-holder": HOLDER,
    }
    folder = tmp_path_factory.mktemp("evident with space")
    return debs.build(folder, "evident", files=files, scripts={"postinst": POSTINST})


@pytest.fixture(scope="module")
def kept(image: str, deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a probe of that package has left."""
    folder = tmp_path_factory.mktemp("kept") / "not" / "yet"
    done = postroj(
        *("pkgprobe", "-p", deb, "--image", image, *QUICK, "--artifacts", folder),
        *(
            "--check-command",
            "echo 'a  b'; true",
            "--report",
            f"junit={folder.parents[1]}/junit.xml",
        ),
    )
    assert done.returncode == 1, done.stderr
    assert f"wrote artifacts to '{folder}'" in done.stderr
    (line,) = [text for text in done.stdout.splitlines() if text.startswith("  reproduce: ")]
    assert (folder / image / "reproduce.sh").read_text().splitlines()[1] == (
        line.replace("  reproduce: ", "exec ") + ' "$@"'
    )
    return folder


def only_step(report: dict[str, Any]) -> dict[str, Any]:
    (probe,) = report["probes"]
    (step, _) = probe["steps"]
    assert isinstance(step, dict)
    return step


def test_evidence_holds_exactly_these_files(kept: Path, image: str) -> None:
    found = sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())
    steps = [f"{image}/install/{name}.txt" for name in NAMES]
    assert found == [*steps, f"{image}/reproduce.sh", "report.json"]


def test_evidence_files_contain_what_they_are_named_for(kept: Path, image: str) -> None:
    evidence = only_step(json.loads((kept / "report.json").read_text()))["evidence"]
    assert sorted(evidence) == sorted(NAMES)
    for name in NAMES:
        text = (kept / image / "install" / f"{name}.txt").read_text()
        assert [line.strip() for line in text.splitlines()] == [
            line.expandtabs().strip() for line in evidence[name].splitlines()
        ]
    assert "Result: core-dump" in evidence["status"]
    assert "evident-holder.service" in evidence["status"]
    assert "sh[" in evidence["unit-journal"]
    assert evidence["unit-journal"].count("]: cannot go on") == 1
    assert "systemd[1]: Reloading" not in evidence["unit-journal"]
    assert "systemd[1]: Reloading" in evidence["journal"]
    assert "evident.service" in evidence["failed"]
    assert re.search(r"evident-waits.service +start +running", evidence["jobs"])
    (held,) = [line for line in evidence["sockets"].splitlines() if "127.0.0.1:8099" in line]
    assert "evident-holder.service" in held
    assert "the postinst of evident runs" in evidence["output"]
    assert "$ apt-get " in evidence["output"]
    assert "status installed evident:all 1.0" in evidence["packages"]
    assert "/var/log/apt/history.log" in evidence["packages"]
    assert "systemd" in evidence["console"]
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    assert f"kernel.core_pattern: {pattern}" in evidence["cores"]
    if pattern.startswith("|"):
        assert "a program of the host" in evidence["cores"]
    elif "/" not in pattern:
        assert re.search(r"\d+ root root +\d{5,} .* /var/tmp/core", evidence["cores"])


def test_junit_report_names_the_evidence(kept: Path) -> None:
    assert (
        "evident-waits.service"
        in (kept.parents[1] / "junit.xml").read_text().partition("== jobs ==")[2]
    )


def test_evidence_contains_a_command_that_repeats_the_probe(kept: Path, image: str) -> None:
    script = kept / image / "reproduce.sh"
    words = shlex.split(script.read_text().splitlines()[1])[1:]
    assert words[:2] == ["postroj", "pkgprobe"]
    assert {"--artifacts", "--report"}.isdisjoint(words)
    folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [script, "--json"], cwd="/", env=env, check=False, capture_output=True, timeout=100
    )
    assert done.returncode == 1, done.stderr

    def verdicts(text: str | bytes) -> list[tuple[str, str, str]]:
        checks = only_step(json.loads(text))["checks"]
        return sorted((check["kind"], check["subject"], check["outcome"]) for check in checks)

    assert verdicts(done.stdout) == verdicts((kept / "report.json").read_text())


STUCK = """\
[Unit]
Before=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sleep infinity
"""


def test_evidence_of_a_guest_that_is_never_ready_is_its_console(
    image: str, deb: Path, tmp_path: Path
) -> None:
    wants = tmp_path / "tree/etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants.parent / "stuck.service").write_text(STUCK)
    (wants / "stuck.service").symlink_to("../stuck.service")
    layer = tmp_path / "stuck.squashfs"
    subprocess.run(["mksquashfs", tmp_path / "tree", layer, "-quiet", "-all-root"], check=True)
    plan = Plan(
        questions=(),
        manners=Manners(),
        network=NetworkMode.NONE,
        timeout=60,
        boot_timeout=8,
    )
    with obtain(image) as stored:
        stuck = replace(stored, layers=(*stored.layers, layer))
        result = probe(stuck, [recognise(deb)], plan, Nobody())
    sentence = (
        r"the guest was not ready within 8 s: it waits for .*'stuck\.service' \(start, for \d"
    )
    assert re.match(sentence, result.reason), result.reason
    artifacts.write(Report(probes=(result,)), tmp_path / "kept")
    console = (tmp_path / "kept" / image / "probe" / "console.txt").read_text()
    assert "Reached target" in console
    assert len(console.splitlines()) > 20


FLOOD = """#!/usr/bin/perl
print "x" x 1000, "\n" for 1 .. 20000;
print "last words\n";
exit 1;
"""


def test_evidence_of_a_flooded_journal_is_bounded(image: str, tmp_path: Path) -> None:
    more = "LogRateLimitIntervalSec=0"
    files = unit("flooder", "/usr/bin/flooder", kind="oneshot", more=more)
    files["/usr/bin/flooder"] = FLOOD
    scripts = {"postinst": "#!/bin/sh\nsystemctl daemon-reload\nsystemctl start flooder || :\n"}
    deb = debs.build(tmp_path, "flooder", files=files, scripts=scripts)
    argv = ["pkgprobe", "-p", str(deb), "--image", image, *QUICK, "--artifacts", str(tmp_path)]
    peak = tmp_path / "peak"
    done = subprocess.run(measured(peak, *argv), stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1
    assert int(peak.read_text()) < 150 << 10  # in KiB
    for name in ("journal", "unit-journal"):
        text = (tmp_path / image / "install" / f"{name}.txt").read_text()
        assert text.startswith("... the last 256 KiB ...\n")
        assert 200 << 10 < len(text) < 257 << 10
        assert "last words" in text


def test_shell_on_failure_opens_in_the_guest_of_the_probe(image: str, deb: Path) -> None:
    """After the first step somebody looks, after the second one somebody ends the guest."""
    argv = ["pkgprobe", "-p", str(deb), "--image", image, *QUICK, "--shell-on-failure"]
    more = ("--steps", "install,reinstall,remove", "--no-discover", "--check-unit", "evident")
    keys: list[tuple[bytes, bytes | signal.Signals]] = [
        (b"# ", b"systemctl is-failed evident; exit 3\n"),
        (b"# ", b"poweroff -ff\n"),
    ]
    screen, status = converse([*POSTROJ, *argv, *more], keys)
    text = screen.decode()
    sentence = "unit evident: failed (result 'core-dump')"
    before, _, after = text.partition(f"{image}: install: {sentence}")
    assert "unit     evident" in before, text
    looked, _, ended = after.partition(f"{image}: reinstall: {sentence}")
    assert re.search(r"[\rl]failed\r\n", looked), text
    assert "reinstall  evident 1.0 (all)" in looked, text
    assert "the guest ended while the shell was open" in ended, text
    assert "ERROR  the package was not judged" in ended.splitlines()[-1], text
    assert status == 4


def test_shell_on_failure_ends_with_a_signal(image: str, deb: Path) -> None:
    argv = ["pkgprobe", "-p", str(deb), "--image", image, *QUICK, "--shell-on-failure"]
    more = ("--no-discover", "--check-unit", "evident")
    screen, status = converse([*POSTROJ, *argv, *more], [(b"# ", signal.SIGTERM)])
    assert status == 128 + signal.SIGTERM
    text = screen.decode()
    assert "ERROR  the package was not judged" in text, text
    assert "root@guest:" in text
    assert not [what for what in host_state() if str(deb) in what]
