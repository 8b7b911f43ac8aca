from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from postroj.cli import completion, images
from postroj.image import pull, store
from postroj.model import Manager, SourceKind, Verification

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    return path


def postroj(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "postroj", *argv], capture_output=True, text=True, check=False
    )


def put(name: str) -> store.Record:
    store.prepare()
    origin = store.Provenance(
        source=SourceKind.BOOTSTRAP,
        url="http://mirror.example/debian",
        suite="one",
        compression="lz4",
        verification=Verification.SIGNATURE,
        fingerprints=("0123456789ABCDEF0123456789ABCDEF01234567", "F" * 40),
        allow_expired=True,
    )
    with store.building(name, pull.architecture()) as directory:
        file = directory / "image.squashfs"
        file.write_bytes(b"x" * 3_000_000)
        return store.add(name, pull.architecture(), Manager.APT, file, origin)


def test_list_images() -> None:
    put("debian-sid")
    done = postroj("list-images")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.startswith("NAME             RELEASE      END OF LIFE  SOURCES")
    assert [row.split()[0] for row in rows] == [
        *("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-forky", "debian-sid")
    ]
    assert "13 trixie    2030-06-30   bootstrap  signature" in done.stdout
    assert "3 MB, 20" in rows[-1]
    assert "\x1b" not in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def test_list_images_that_match() -> None:
    assert len(postroj("list-images", "trixie", "*-sid").stdout.splitlines()) == 3
    done = postroj("list-images", "fedora-*")
    assert done.returncode == 2
    assert "error: no image matches 'fedora-*'" in done.stderr


def test_list_images_makes_nothing(cache: Path) -> None:
    assert postroj("list-images", "--cached").stdout == ""
    assert not cache.exists()


def test_list_images_as_json() -> None:
    record = put("debian-trixie")
    done = postroj("list-images", "--json", "--cached")
    (image,) = json.loads(done.stdout)
    assert image["name"] == "debian-trixie"
    assert image["end_of_life"] == "2030-06-30"
    assert image["sources"] == [{"kind": "bootstrap", "verification": "signature"}]
    assert image["cached"]["sha256"] == record.sha256
    assert image["cached"]["path"] == str(record.path)
    assert json.loads(postroj("list-images", "--json", "sid").stdout)[0]["cached"] is None


def test_a_pull_of_what_is_cached() -> None:
    put("debian-trixie")
    done = postroj("pull", "debian-stable")
    assert done.returncode == 0
    assert done.stdout == (
        "debian-trixie: cached already, 3 MB, bootstrap from http://mirror.example/debian, "
        "signature by 89ABCDEF01234567 and 1 more, although expired\n"
    )


@pytest.mark.parametrize("command", ["pull", "remove"])
def test_an_unknown_image(command: str, cache: Path) -> None:
    done = postroj(command, "debian-bokworm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no image is named 'debian-bokworm'\n"
        "\nhint: did you mean 'debian-bookworm'? `postroj list-images` shows all of them\n"
    )
    assert not cache.exists()


@pytest.mark.parametrize("argv", [[], ["--all", "debian-sid"]])
def test_pull_wants_names_or_all(argv: list[str]) -> None:
    done = postroj("pull", *argv)
    assert done.returncode == 2
    assert "either names of images or `--all`" in done.stderr


def test_an_architecture_that_has_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroj.image.pull.architecture", lambda: "vax")
    done = CliRunner().invoke(images.pull, ["debian-sid"])
    assert str(done.exception) == "there is no image 'debian-sid' for the architecture 'vax'"


def test_remove() -> None:
    put("debian-trixie")
    put("debian-sid")
    done = postroj("remove", "debian-13", "debian-sid", "debian-trixie")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "debian-trixie: removed, 3 MB freed\ndebian-sid: removed, 3 MB freed\n"


def test_remove_of_what_is_not_cached_removes_nothing() -> None:
    put("debian-trixie")
    done = postroj("remove", "debian-trixie", "debian-sid")
    assert done.returncode == 2
    assert "error: the image 'debian-sid' is not cached" in done.stderr
    assert len(store.records()) == 1


def test_remove_of_what_a_guest_holds() -> None:
    record = put("debian-trixie")
    with store.hold(record.as_image()):
        done = postroj("remove", "debian-trixie")
    assert done.returncode == 4
    assert "error: the image 'debian-trixie' is in use by a guest" in done.stderr
    assert store.records() == [record]


def test_a_cache_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", "/proc/nowhere")
    assert postroj("list-images").returncode == 0
    done = postroj("pull", "debian-trixie")
    assert done.returncode == 4
    assert done.stderr.startswith("error: the cache directory '/proc/nowhere' cannot be used\n")
    assert "Traceback" not in done.stderr


def test_completion() -> None:
    context = click.Context(images.pull)
    parameter = images.pull.params[0]
    names = [item.value for item in completion.complete_image(context, parameter, "debian-s")]
    assert names == ["debian-stable", "debian-sid"]
    put("debian-trixie")
    cached = [item.value for item in completion.complete_cached(context, parameter, "")]
    assert cached == ["debian-trixie"]
