"""The action as a runner of GitHub runs it: no root, the real sudo, pip, images from the cache."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.image.architectures import of_this_host
from postroj.image.store import store
from tests.support import debs
from tests.support.runner import PATH, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
SUDOERS = f"root ALL=(ALL:ALL) ALL\n#{NOBODY} ALL=(ALL:ALL) NOPASSWD:ALL\n"
BECOME = (
    'mount --bind "$1" /etc/sudoers; shift; '
    f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups -- "$@"'
)
"""Who may use sudo is another file, for this command and what it starts alone."""

PROJECT = """\
package = "dist/*.deb"
image = "debian-trixi[e]"
check-unit = "for-action.service"
settle = 0
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[Runner]:
    """A runner who is nobody, and may become root without a password; a step has installed."""
    with tempfile.TemporaryDirectory(prefix="r-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sudoers = folder / "sudoers"
        sudoers.write_text(SUDOERS)
        sudoers.chmod(0o440)
        namespace = ["unshare", "--mount", "--propagation", "slave", "sh", "-euc", BECOME, "sh"]
        made = Runner(
            folder=folder,
            inputs={"install-only": "true"},
            before=[*namespace, str(sudoers)],
        )
        give(folder / "work")
        done = made.run("setup")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


def give(path: Path) -> None:
    subprocess.run(["chown", "--recursive", f"{NOBODY}:{NOBODY}", path], check=True)


def restore(made: Runner, image: str) -> str:
    """Do what `actions/cache/restore` does: put files there, which are the runner's.

    What the record of the image says is returned.
    """
    record = store.require(image, of_this_host())
    cache = Path(made.outputs["setup"]["cache"])
    cache.mkdir(parents=True)
    json_file = record.path.parent / f"{record.name}-{record.architecture}.json"
    for path in (json_file, *record.paths):
        shutil.copy(path, cache)
    give(made.temp / "postroj/cache")
    return json_file.read_text()


def test_action_without_inputs_probes_as_the_project_file_says_and_keeps_its_cache(
    installed: Runner, image: str, tmp_path: Path
) -> None:
    made = replace(installed, inputs={}, outputs={})
    (made.workspace / "postroj.toml").write_text(PROJECT)
    dist = made.workspace / "dist"
    dist.mkdir()
    deb = debs.service(tmp_path, "for-action", "/bin/sleep infinity")
    shutil.copy(deb, dist)
    give(made.folder / "work")

    done = made.run("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::group::postroj doctor --fix" in done.stdout
    setup = made.outputs["setup"]
    assert setup["images"] == image
    assert setup["artifact"] == f"postroj-probe-{image}"
    assert re.fullmatch(r"postroj-\S+-\w+-\d{4}-\d\d-[0-9a-f]{16}", setup["key"])
    restored = restore(made, image)
    done = made.run("probe")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"for-action_1.0_all.deb on {image}" in done.stdout
    (record,) = Path(setup["cache"]).glob("*.json")
    assert record.read_text() == restored, "it was pulled anew"
    reports = Path(made.outputs["probe"]["report"])
    assert made.outputs["probe"] == {"outcome": "pass", "report": str(reports), "cached": "true"}
    (probe,) = json.loads((reports / "report.json").read_text())["probes"]
    assert probe["image"] == image
    assert {path.name for path in reports.iterdir()} == {"report.html", "report.json", "junit.xml"}
    assert "pass" in made.file("summary").read_text()
    assert [path for path in made.temp.rglob("*") if path.lstat().st_uid != NOBODY] == []

    # inputs win over the file: another package, that has no such unit
    debs.build(made.workspace, "for-action", version="2.0")
    (made.workspace / "SHA256SUMS").touch()
    made = replace(made, inputs={"packages": "for-action_*.deb\nSHA256SUMS"})
    done = made.run("probe")
    assert "left out, not a package: SHA256SUMS" in done.stderr
    assert "for-action_2.0_all.deb on debian-trixie" in done.stdout
    assert done.returncode == 1, done.stdout + done.stderr
    assert made.outputs["probe"]["outcome"] == "fail"
    assert "::error title=debian-trixie" in done.stdout
    assert "fail" in made.file("summary").read_text()


def test_action_without_a_package_installs_postroj_which_prints_a_matrix_without_root(
    installed: Runner,
) -> None:
    assert installed.outputs["setup"] == {}
    folder = installed.file("path").read_text().splitlines()[0]
    assert [path.name for path in Path(folder).iterdir()] == ["postroj"]
    argv = [f"{folder}/postroj", "matrix", "--image", "debian-trixie", "--format", "github"]
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *argv],
        env={"HOME": str(installed.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    (job,) = json.loads(done.stdout)["include"]
    assert job["images"] == "debian-trixie"


def test_action_frees_pasta_from_apparmor_on_a_machine_of_github(
    installed: Runner, tmp_path: Path
) -> None:
    """What AppArmor does is played here; who unloads its profile is a machine of GitHub alone."""
    programs = tmp_path / "bin"
    programs.mkdir()
    denied = "echo Permission denied >&2; exit 1"
    fakes = {
        "pasta": f'[ "$1" = --version ] && echo "pasta 7" && exit\n{denied}',
        "apparmor_parser": f'printf "%s\\n" "$*" >>{tmp_path}/unloaded',
    }
    for name, text in fakes.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    made = replace(
        installed,
        # root of a container job may meet a project file of somebody else
        inputs={"packages": "*.deb", "images": "debian-trixie", "args": "--no-project"},
        before=(),
        outputs={},
        path=f"{programs}:{PATH}",
        variables={"RUNNER_ENVIRONMENT": "github-hosted"},
    )
    debs.build(made.workspace, "freeing")
    done = made.run("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("serves no network: Permission denied") == 2
    profile = "/etc/apparmor.d/usr.bin.passt"
    assert f"--remove {profile}" in (tmp_path / "unloaded").read_text().splitlines()
