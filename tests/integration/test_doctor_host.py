"""doctor on the real host, whole and with tools taken away in a mount namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postroj.container.cgroup import hierarchies
from postroj.doctor import Status, survey
from postroj.doctor.facts import layout

POSTROJ = (sys.executable, "-m", "postroj")
REPLACE = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'


def doctor(
    *options: str, without: tuple[str, ...] = (), **instead: Path
) -> subprocess.CompletedProcess[str]:
    """Run doctor where some tools are a file that nobody can execute, or another program."""
    files = dict.fromkeys(without, Path("/dev/null")) | instead
    binds = [
        str(path)
        for name, file in files.items()
        for path in (file, Path(shutil.which(name) or name).resolve())
    ]
    namespace = ["unshare", "--mount", "--propagation", "slave", "sh", "-euc", REPLACE, "sh"]
    command = [*namespace, *binds, "--", *POSTROJ, "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


NEEDED = ("root", "systemd-nspawn", "namespaces", "loop, squashfs", "overlay", "cgroups")


def test_doctor_finds_all_that_postroj_needs_on_this_host() -> None:
    results = survey()
    assert [result for result in results if result.lacking] == []
    named = {result.requirement.name: result for result in results}
    for name in (*NEEDED, "limits", "devices", "private users"):
        assert named[name].status is Status.OK, named[name]


def test_doctor_leaves_no_namespace_and_no_group(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*POSTROJ, "--verbose", "doctor"]
    child = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    said = child.communicate()[1].decode()
    assert child.returncode == 0
    assert f"{tmp_path}/postroj-doctor-" in said, "the trials were made somewhere else"
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in loops.stdout
    for part in layout(hierarchies.mounted())[1]:
        assert not (part / f"postroj-doctor-{child.pid}").exists()


def test_doctor_prints_its_table_to_stdout_and_ends_with_status_0() -> None:
    done = doctor()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:2] == ["ok", "root"]


def test_doctor_names_the_package_of_a_missing_pasta() -> None:
    done = doctor("--json", without=("pasta",))
    found = {one["name"]: one for one in json.loads(done.stdout)["requirements"]}
    assert found["pasta"]["status"] == "missing"
    assert found["pasta"]["packages"]["apt"] == "passt"
    assert found["pasta"]["needed_for"] == "--network=private"
    assert done.returncode == 0
    assert " passt`" in done.stderr


def test_doctor_reports_a_pasta_that_may_not_enter_a_namespace(tmp_path: Path) -> None:
    """As AppArmor keeps it out."""
    denied = "Couldn't open network namespace /x: Permission denied"
    fake = tmp_path / "pasta"
    version = '[ "$1" = --version ] && echo "pasta 7" && exit'
    fake.write_text(f'#!/bin/sh\n{version}\necho "{denied}" >&2\nexit 1\n')
    fake.chmod(0o755)
    done = doctor("--json", pasta=fake)
    found = {one["name"]: one for one in json.loads(done.stdout)["requirements"]}
    assert found["pasta"]["status"] == "warning"
    assert found["pasta"]["found"].startswith(f"7, serves no network: {denied}")
    assert done.returncode == 0
    assert "passt`" not in done.stderr


def test_doctor_does_not_try_a_missing_tar2sqfs() -> None:
    done = doctor(without=("tar2sqfs",))
    assert done.returncode == 0  # images that are there can be used
    assert "not tried: 'tar2sqfs' is missing" in done.stdout
    assert "squashfs-tools-ng`" in done.stderr


def test_doctor_reports_a_missing_unshare() -> None:
    done = doctor(without=("unshare",))
    assert done.returncode == 4
    assert done.stdout.count("not tried: 'unshare' is missing") == 4
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="installs with apt")
def test_doctor_fix_installs_with_the_real_package_manager() -> None:
    done = doctor("--fix", without=("pasta",))
    # apt has the package already, so that the tool stays hidden: it is looked for again.
    assert done.returncode == 0, done.stderr
    assert "apt-get install -y" in done.stderr
    assert "Reading package lists" not in done.stderr
    assert done.stdout.count("STATUS") == 1
    assert "missing  pasta" in done.stdout
