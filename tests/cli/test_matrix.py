"""`postroj matrix`: without root, whatever is cached."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.support import debs
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path


def test_matrix_has_one_job_for_each_image_of_the_catalog() -> None:
    done = postroj("matrix", "--image", "debian-*", "--format", "github")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    jobs = json.loads(line)["include"]
    assert {"name": "debian-trixie", "images": "debian-trixie"} in jobs
    assert all(job["images"].startswith("debian-") for job in jobs)


def test_matrix_takes_images_with_commas_and_any_name_of_an_architecture() -> None:
    done = postroj("matrix", "-i", "debian-sid,arch*", "-i", "debian-trixie", "--arch", "amd64")
    assert done.returncode == 0, done.stderr
    found = [job["name"] for job in json.loads(done.stdout)]
    assert found == ["debian-sid", "archlinux", "debian-trixie"]
    done = postroj("matrix", "-i", "arch*", "--arch", "linux/s390x")
    assert "'arch*' matches no supported image" in done.stderr


def test_matrix_has_only_images_that_can_install_the_package(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "fleeting")
    done = postroj("matrix", "--package", deb, "--shards", 2)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    names = {*first["images"], *second["images"]}
    assert {"debian-trixie", "ubuntu-noble"} <= names
    assert not any(name.startswith(("fedora", "arch", "opensuse")) for name in names)
    done = postroj("matrix", "--package", deb, "--image", "fedora-*")
    assert done.returncode == 2
    assert "'fedora-*' matches no supported image" in done.stderr


def test_matrix_refuses_files_that_are_not_packages(tmp_path: Path) -> None:
    text = tmp_path / "x.deb"
    text.write_text("no package")
    assert postroj("matrix", "--package", text).returncode == 1
    done = postroj("matrix", "--package", tmp_path / "none.deb")
    assert done.returncode == 2
    assert "none.deb' is not a file" in done.stderr


def test_matrix_needs_no_cache_folder() -> None:
    env = {**os.environ, "POSTROJ_CACHE_DIR": "/proc/none"}
    done = postroj("matrix", "--image", "debian-trixie", env=env)
    assert (done.returncode, done.stderr) == (0, "")
