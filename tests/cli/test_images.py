from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from postroj.cli import completion
from postroj.cli.commands.pull import pull as pull_command
from postroj.errors import UsageError
from postroj.image import architectures, obtain
from postroj.image.store import store
from tests.support import images as stored

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    return path


def postroj(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "postroj", *argv], capture_output=True, text=True, check=False
    )


def put(name: str) -> Record:
    return stored.put(
        name, b"x" * 3_000_000, architectures.of_this_host(), **stored.SIGNED, allow_expired=True
    )


def test_list_images_of_the_catalog() -> None:
    put("debian-sid")
    done = postroj("list-images")
    assert (done.returncode, done.stderr) == (0, "")
    can, cannot = done.stdout.split("\n\n")
    head, *rows = can.splitlines()
    assert head.split("  ")[0] == "NAME"
    assert len(rows) + len(cannot.splitlines()) - 1 >= 60
    lines = {row.split()[0]: row.split()[1:] for row in rows}
    assert lines["debian-trixie"][:3] == ["13", "2030-06-30", "apt"]
    assert lines["debian-trixie"][-2:] == ["signature", "-"]
    assert lines["debian-sid"][-4:-1] == ["signature", "3", "MB,"]
    assert "no systemd" in next(row for row in cannot.splitlines() if row.startswith("alpine "))
    assert max(map(len, can.splitlines())) <= 110
    assert "\x1b" not in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def listed(*argv: str) -> list[str]:
    return [image["name"] for image in json.loads(postroj("list-images", "--json", *argv).stdout)]


def test_list_images_of_a_package_manager() -> None:
    assert listed("--manager", "pacman") == ["archlinux"]
    assert listed("--manager", "zypper", "leap") == [
        *("opensuse-leap-15.6", "opensuse-leap-16.0", "opensuse-leap-16.1")
    ]


def test_list_images_that_are_supported() -> None:
    everything, supported = listed(), listed("--supported")
    assert {"alpine", "centos-7", "debian-trixie"} <= set(everything)
    assert "debian-trixie" in supported
    assert not {"alpine", "centos-7", "debian-stretch"} & set(supported)


def test_list_images_in_an_order() -> None:
    put("debian-sid")
    assert listed("--sort", "size", "debian-*")[0] == "debian-sid"
    assert listed("--sort", "eol", "debian-b*")[0] == "debian-buster"
    by_name = listed("--sort", "name")
    assert by_name[0] == "almalinux-8"
    assert by_name.index("rhel-9") < by_name.index("rhel-10")


def test_list_images_of_another_architecture() -> None:
    assert "linuxmint-zena" not in listed("--arch", "riscv64", "--supported")
    assert "debian-trixie" in listed("--arch", "riscv64", "--supported")
    assert "none for riscv64" in postroj("list-images", "--arch", "riscv64", "zena").stdout


def test_list_images_shows_what_was_imported() -> None:
    put("my-own")
    assert "my-own" in listed()
    assert listed("my-*") == ["my-own"]
    assert " bootstrap " in postroj("list-images", "my-own").stdout


def test_list_images_that_match() -> None:
    assert len(postroj("list-images", "trixie", "*-sid").stdout.splitlines()) == 3
    done = postroj("list-images", "windows-*")
    assert done.returncode == 2
    assert "error: no image matches 'windows-*'" in done.stderr


def test_list_images_hides_the_secrets_of_urls(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[own-1]\ntitle = "Own"\ndistribution = "own"\nrelease = "1"\n'
        'architectures = ["x86_64"]\nmanager = "apt"\n'
        '[[own-1.sources]]\nkind = "tarball"\nurl = "https://host.example/a.tar?jwt=SECRET"\n'
        '[[own-1.sources]]\nkind = "bootstrap"\nsuites = ["own one"]\nkeyring = "own.gpg"\n'
        'archived = { own = "https://me:SECRET@host.example/own" }\n'
    )
    done = postroj("--catalog", str(own), "list-images", "--json", "own-1")
    (image,) = json.loads(done.stdout)
    assert image["sources"][0]["url"] == "https://host.example/a.tar?jwt=***"
    assert image["sources"][2]["mirrors"] == {"own": "https://***@host.example/own"}


def test_list_images_creates_no_folders(cache: Path) -> None:
    assert postroj("list-images", "--cached").stdout == ""
    assert not cache.exists()


def test_list_images_as_json() -> None:
    record = put("debian-trixie")
    done = postroj("list-images", "--json", "--cached")
    (image,) = json.loads(done.stdout)
    assert image["name"] == "debian-trixie"
    assert image["end_of_life"] == "2030-06-30"
    assert image["sources"][0]["kind"] == "bootstrap"
    assert image["sources"][0]["verification"] == "signature"
    assert image["sources"][-1]["reference"] == "docker.io/library/debian:trixie"
    assert (image["unbootable"], image["repositories"]) == (None, [])
    assert image["cached"]["sha256"] == record.sha256
    assert image["cached"]["path"] == str(record.path)
    assert json.loads(postroj("list-images", "--json", "*-sid").stdout)[0]["cached"] is None


def test_pull_of_a_stored_image() -> None:
    put("debian-trixie")
    done = postroj("pull", "debian-stable")
    assert done.returncode == 0
    assert done.stdout == (
        "debian-trixie: cached already, 3 MB, bootstrap from http://mirror.example/debian, "
        "signature by 89ABCDEF01234567 and 1 more, expired Release files accepted\n"
    )


def test_require_refuses_a_weaker_verification() -> None:
    put("debian-trixie")
    assert postroj("pull", "--require", "signature", "debian-trixie").returncode == 0
    weak = "import", "--require", "digest", "mine", "https://host.invalid/root.tar"
    done = postroj(*weak)
    assert done.returncode == 4
    assert "is verified by 'tls', but 'digest' is required" in done.stderr
    assert postroj("pull", "--require", "none", "debian-trixie").returncode == 2


@pytest.mark.parametrize("command", ["pull", "remove"])
def test_an_unknown_image(command: str, cache: Path) -> None:
    done = postroj(command, "debian-bokworm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: there is no image 'debian-bokworm'\n"
        "\nhint: did you mean 'debian-bookworm'? `postroj list-images` shows all of them\n"
    )
    assert not cache.exists()


@pytest.mark.parametrize("argv", [[], ["--all", "debian-sid"]])
def test_pull_wants_names_or_all(argv: list[str]) -> None:
    done = postroj("pull", *argv)
    assert done.returncode == 2
    assert "either names of images or `--all`" in done.stderr


def test_pull_of_an_unbootable_image_gives_the_reason(cache: Path) -> None:
    done = postroj("pull", "alpine")
    assert done.returncode == 2
    said = "the image 'alpine' is not available: it has no systemd: its init is BusyBox with OpenRC"
    assert said in done.stderr
    with pytest.raises(UsageError, match=said):  # as `run` and all others have images
        obtain.find_or_pull("alpine")
    assert not cache.exists()


def test_pull_of_an_architecture_this_host_cannot_run() -> None:
    foreign = "s390x" if architectures.of_this_host() != "s390x" else "riscv64"
    done = postroj("pull", "--arch", foreign, "debian-trixie", "--source", "bootstrap")
    assert done.returncode == 4
    assert f"cannot run programs for {foreign}" in done.stderr
    assert "qemu-user-static" in done.stderr


def test_pull_of_an_architecture_without_this_image() -> None:
    done = postroj("pull", "--arch", "s390x", "linuxmint-zena")
    assert done.returncode == 2
    assert "the image 'linuxmint-zena' does not exist for the architecture 's390x'" in done.stderr


def test_catalog_option_adds_images(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    text = '[mine]\ndistribution = "mine"\nrelease = "rolling"\ntitle = "Mine"\n'
    text += 'architectures = ["x86_64"]\n'
    text += 'sources = [{ kind = "oci", reference = "registry.example/mine:1" }]\n'
    own.write_text(text)
    done = postroj("--catalog", str(own), "list-images", "mine")
    assert done.stdout.splitlines()[1].split()[:1] == ["mine"]
    own.write_text(text + 'x = "y"\n')
    done = postroj("--catalog", str(own), "list-images", "mine")
    assert done.returncode == 4
    assert f"entry 'mine' of '{own}': 'x' is not a known key" in done.stderr
    assert postroj("--catalog", str(own), "--help").returncode == 0


def test_pull_on_an_architecture_without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroj.image.architectures.of_this_host", lambda: "vax")
    done = CliRunner().invoke(pull_command, ["debian-sid"])
    assert str(done.exception) == "the image 'debian-sid' does not exist for the architecture 'vax'"


def test_remove_of_a_stored_image() -> None:
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


def test_remove_of_an_image_in_use() -> None:
    record = put("debian-trixie")
    with store.use(record.as_image()):
        done = postroj("remove", "debian-trixie")
    assert done.returncode == 4
    assert "error: the image 'debian-trixie' is in use by a guest" in done.stderr
    assert store.records() == [record]


def test_unusable_cache_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", "/proc/nowhere")
    assert postroj("list-images").returncode == 0
    done = postroj("pull", "debian-trixie")
    assert done.returncode == 4
    assert done.stderr.startswith("error: the cache directory '/proc/nowhere' cannot be used\n")
    assert "Traceback" not in done.stderr


def test_completion_of_image_names() -> None:
    context = click.Context(pull_command)
    parameter = pull_command.params[0]
    names = [item.value for item in completion.complete_image(context, parameter, "debian-st")]
    assert names == ["debian-stretch", "debian-stable"]
    put("debian-trixie")
    cached = [item.value for item in completion.complete_cached(context, parameter, "")]
    assert cached == ["debian-trixie"]
