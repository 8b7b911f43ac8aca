"""Guests of another architecture, whose programs run through qemu-user."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from postroj.image import pull
from postroj.image.catalog import catalog
from postroj.image.pull import Request
from tests.support import debs
from tests.support.binfmt import registered
from tests.support.cli import NO_REPOSITORIES, postroj

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = {"aarch64": ("aarch64", "arm64"), "x86_64": ("x86_64", "amd64")}
"""Of qemu and of Debian."""
FOREIGN = "x86_64" if os.uname().machine == "aarch64" else "aarch64"
QEMU, DEBIAN = NAMES[FOREIGN]
IMAGE = "debian-bookworm"
"""systemd 257 and qemu 7.2 do not get along."""
HERE = ("--arch", FOREIGN, "--image", IMAGE)

START = debs.START.format(unit="far.service")
PORT = 8431
SERVER = f"""#!/usr/bin/perl
use strict;
use warnings;
use IO::Socket::INET;
my $server = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => {PORT}, Listen => 5, ReuseAddr => 1
) or die $!;
while (my $client = $server->accept) {{ close $client; }}
"""


@pytest.fixture(scope="module", autouse=True)
def qemu() -> Iterator[None]:
    """Programs of it run here, and its image is stored."""
    with registered(QEMU):
        pull.pull(catalog.find(IMAGE), Request(architecture=FOREIGN))
        yield


def probed(deb: Path, *words: object) -> tuple[int, dict[str, Any]]:
    """Probe a package: exit status and report of the one image."""
    argv = ("--no-project", "--json", *HERE, *NO_REPOSITORIES, "--package", deb, *words)
    done = postroj("pkgprobe", *argv)
    return done.returncode, json.loads(done.stdout)["probes"][0]


def outcomes(step: dict[str, Any]) -> dict[str, str]:
    return {check["subject"]: check["outcome"] for check in step["checks"]}


def test_run_arch_passes_the_status_of_an_emulated_command() -> None:
    script = "uname -m; dpkg --print-architecture; cat /proc/1/comm; systemctl is-system-running"
    done = postroj("run", *HERE, "--", "sh", "-c", f"{script}; exit 7")
    assert done.stdout.split() == [FOREIGN, DEBIAN, "systemd", "running"]
    assert done.returncode == 7


def test_pkgprobe_arch_installs_reboots_and_keeps_an_emulated_guest(
    tmp_path: Path,
) -> None:
    """The guest is kept, entered from another command, and ended."""
    unit = debs.SERVICE.format(name="far", kind="simple", command="/usr/bin/far", more="")
    deb = debs.build(
        tmp_path,
        "far",
        architecture=DEBIAN,
        files={
            "/usr/bin/far": SERVER,
            "/lib/systemd/system/far.service": unit,
            "/usr/lib/tmpfiles.d/far.conf": "d /run/far\n",
        },
        scripts={"postinst": f"{START}systemd-tmpfiles --create far.conf\n"},
    )
    words = ("--steps", "install,reboot", "--check-file", "/run/far", "--keep")
    status, probe = probed(deb, *words)
    name = probe["guest"]
    try:
        assert status == 0, probe
        assert [step["name"] for step in probe["steps"]] == ["install", "reboot"]
        for step in probe["steps"]:
            assert outcomes(step)[f"tcp://127.0.0.1:{PORT}"] == "pass"
            assert outcomes(step)["/run/far"] == "pass"
            listens = [check["reason"] for check in step["checks"] if check["kind"] == "unit"]
            assert f"listens on 127.0.0.1:{PORT}" in listens[0]
        assert any("through qemu-user" in note for note in probe["notes"])
        assert name in postroj("ps").stdout
        assert postroj("exec", name, "--", "uname", "-m").stdout == f"{FOREIGN}\n"
    finally:
        assert postroj("stop", name).returncode == 0
    assert name not in postroj("ps").stdout


def test_pkgprobe_arch_blames_qemu_for_a_script_that_it_cannot_run(
    tmp_path: Path,
) -> None:
    unit = debs.SERVICE.format(
        name="strict", kind="oneshot", command="/bin/true", more="PrivateNetwork=yes"
    )
    files = {"/lib/systemd/system/strict.service": unit}
    postinst = "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl start strict.service\n"
    deb = debs.build(tmp_path, "strict", files=files, scripts={"postinst": postinst})
    status, probe = probed(deb)
    assert status == 4
    (step, _) = probe["steps"]
    assert step["done"] == "error"
    assert "qemu-user may be to blame" in step["reason"]
    assert "Failed at step NETWORK" in step["reason"]


def test_pkgprobe_arch_blames_qemu_for_a_unit_that_it_cannot_run(tmp_path: Path) -> None:
    """What a package does wrong still is."""
    apart = debs.service(tmp_path, "apart", "/bin/sleep 1000", more="PrivateNetwork=yes")
    wrong = debs.service(tmp_path, "wrong", "/bin/false")
    status, probe = probed(apart, "--package", wrong)
    assert status == 4
    answers = {check["subject"]: check for check in probe["steps"][0]["checks"]}
    assert answers["apart.service"]["outcome"] == "error"
    assert "qemu-user may be to blame" in answers["apart.service"]["reason"]
    assert "225 (NETWORK)" in answers["apart.service"]["reason"]
    assert answers["wrong.service"]["outcome"] == "fail"
