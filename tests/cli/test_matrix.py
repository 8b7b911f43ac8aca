"""`postroj matrix`: without root, whatever is cached."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.support import debs, rpms
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """\
package = "*.deb"
image = ["debian-trixie", "debian-sid", "fedora-*"]
steps = "all"
check-unit = "fleeting"

[[expect]]
image = "debian-sid"
outcome = "skip"
reason = "in transition"
until = 2999-12-31
"""


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
    assert "fedora-*: no such image can install these packages" in done.stderr


def test_matrix_of_a_build_has_the_images_that_its_packages_fit(tmp_path: Path) -> None:
    debs.build(tmp_path, "fleeting")
    debs.build(tmp_path, "foreign", architecture="s390x")
    (tmp_path / "checksums.txt").touch()
    images = ("-i", "debian-trixie,fedora-*,debian-sid")
    done = postroj("matrix", "--arch", "amd64", "-p", f"{tmp_path}/*.*", *images)
    assert done.returncode == 0, done.stderr
    assert [job["name"] for job in json.loads(done.stdout)] == ["debian-trixie", "debian-sid"]
    assert "left out, not a package: checksums.txt" in done.stderr
    assert "left out, for s390x: foreign_1.0_s390x.deb" in done.stderr
    done = postroj("matrix", "--arch", "amd64", "-p", tmp_path / "foreign_1.0_s390x.deb")
    assert done.returncode == 3
    assert "`--arch s390x`" in done.stderr


def test_default_images_are_one_for_each_kind_of_package(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "fleeting")
    done = postroj("matrix", "--default-images", "--package", deb, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [job["images"] for job in json.loads(done.stdout)] == [["debian-trixie"]]
    done = postroj("matrix", "--default-images", cwd=tmp_path)
    assert done.returncode == 2
    assert "no package is given" in done.stderr


def test_matrix_has_an_image_for_each_kind_of_package_in_a_build(tmp_path: Path) -> None:
    debs.build(tmp_path, "fleeting")
    rpms.build(tmp_path, "fleeting", release="1.el9")
    done = postroj("matrix", "-p", f"{tmp_path}/*.*", "--default-images", "--arch", "amd64")
    assert done.returncode == 0, done.stderr
    assert {job["name"] for job in json.loads(done.stdout)} == {"debian-trixie", "centos-stream-9"}
    done = postroj("matrix", "-p", f"{tmp_path}/*.*", "--arch", "amd64")
    names = {job["name"] for job in json.loads(done.stdout)}
    assert {"debian-trixie", "ubuntu-noble", "almalinux-9"} <= names
    assert not any(name.startswith(("fedora", "opensuse")) for name in names)


def test_matrix_takes_packages_and_images_from_the_project_file(tmp_path: Path) -> None:
    debs.build(tmp_path, "fleeting")
    (tmp_path / "postroj.toml").write_text(PROJECT)
    done = postroj("matrix", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [job["name"] for job in json.loads(done.stdout)] == ["debian-trixie"]
    assert "debian-sid: not tried: in transition (until 2999-12-31)" in done.stderr
    done = postroj("matrix", "--image", "debian-bookworm", cwd=tmp_path)
    assert [job["name"] for job in json.loads(done.stdout)] == ["debian-bookworm"]
    done = postroj("matrix", "--image", "debian-sid", cwd=tmp_path)
    assert done.returncode == 3
    assert "the project file excludes all of these images" in done.stderr
    done = postroj("matrix", "--no-project", "-i", "debian-sid", cwd=tmp_path)
    assert [job["name"] for job in json.loads(done.stdout)] == ["debian-sid"]


def test_matrix_of_a_project_file_takes_the_packages_of_its_tables(tmp_path: Path) -> None:
    debs.build(tmp_path, "fleeting")
    (tmp_path / "postroj.toml").write_text('[[package]]\nfile = "*.deb"\n')
    done = postroj("matrix", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {job["name"] for job in json.loads(done.stdout)}
    assert {"debian-trixie", "ubuntu-noble"} <= names
    assert "archlinux" not in names


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
