"""Images of a user without root, from every source, with real servers on loopback."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from postroj.image.architectures import of_this_host
from tests.support import oci, unprivileged
from tests.support.keys import signer
from tests.support.streams import PRODUCT, Tree
from tests.support.tars import COMPRESSIONS, ROOT, squashfs, tar
from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.keys import Signer
    from tests.support.tars import Member
    from tests.support.unprivileged import User

SYSTEMD: Member = ("usr/lib/systemd/systemd", {"data": b"", "mode": 0o755})
"""With it and without a shell, an image needs no preparation."""
TAR = tar(SYSTEMD)
ARCHIVE = COMPRESSIONS["xz"](TAR)
ENTRY = """
[{name}]
distribution = "some"
release = "1"
version = "1"
title = "Some 1"
aliases = []
architectures = ["{machine}"]
manager = "apt"
packages = []
sources = [{source}]
"""


class Publisher(NamedTuple):
    """Servers that run, and the folder of the one for files."""

    folder: Path
    url: str
    registry: oci.Registry
    key: Signer


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("publisher")
    (folder / "www").mkdir()
    with (
        signer(folder) as key,
        served(folder / "www") as url,
        oci.registry(folder / "registry") as registry,
    ):
        yield Publisher(folder / "www", url, registry, key)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with unprivileged.user() as made:
        yield made


def record_of(user: User, name: str) -> dict[str, Any]:
    """Return the record of an image, all of which belongs to the user."""
    files = [*(user.cache / "images").glob(f"{name}-*")]
    assert {file.stat().st_uid for file in files} == {user.home.stat().st_uid}
    (record,) = (json.loads(file.read_bytes()) for file in files if file.suffix == ".json")
    assert isinstance(record, dict)
    return record


def as_index(publisher: Publisher, tmp_path: Path) -> str:
    tree = Tree(publisher.folder)
    tree.add("20261120_05:24", squashfs(tmp_path / "image", *ROOT, SYSTEMD).read_bytes())
    tree.publish(publisher.key.gpg, publisher.key.fingerprint)
    server = f'server = "{publisher.url}", product = "{PRODUCT}", key = "key"'
    return f'{{ kind = "simplestreams", {server} }}'


def as_tarball(publisher: Publisher, _: Path) -> str:
    (publisher.folder / "some.tar.xz").write_bytes(ARCHIVE)
    signature = publisher.key.sign(ARCHIVE, "--detach-sign")
    (publisher.folder / "some.sig").write_bytes(signature)
    url = f"{publisher.url}/some.tar.xz"
    return f'{{ kind = "tarball", url = "{url}", signature = "some.sig", key = "key" }}'


def pushed(publisher: Publisher, tmp_path: Path) -> str:
    """Return the reference of an image of two layers in the registry."""
    layout = oci.Layout(tmp_path / "layout")
    second = tar(("etc/issue", {"data": b"second"}), root=False)
    return publisher.registry.push(layout.finish(layout.image([TAR, second])), "some:1")


def as_registry(publisher: Publisher, tmp_path: Path) -> str:
    return f'{{ kind = "oci", reference = "{pushed(publisher, tmp_path)}" }}'


@pytest.mark.parametrize(
    ("source", "verification"),
    [(as_index, "signature"), (as_tarball, "signature"), (as_registry, "none")],
)
def test_pull_as_a_user_from(
    source: Any, verification: str, user: User, publisher: Publisher, tmp_path: Path
) -> None:
    name = source.__name__.replace("_", "-")
    (user.home / "key").write_bytes(publisher.key.key.read_bytes())
    text = ENTRY.format(name=name, machine=of_this_host(), source=source(publisher, tmp_path))
    (user.home / "catalog.toml").write_text(text)
    done = user.postroj("--catalog", "catalog.toml", "pull", name)
    assert done.returncode == 0, done.stderr
    assert record_of(user, name)["verification"] == verification


def test_pull_as_a_user_bootstraps_a_debian_that_boots(user: User) -> None:
    argv = ("pull", "--source=bootstrap", "--allow-expired", "debian-bookworm")
    done = user.postroj(*argv)
    assert done.returncode == 0, done.stderr
    record = record_of(user, "debian-bookworm")
    assert (record["source"], record["verification"]) == ("bootstrap", "signature")
    script = "systemctl is-system-running; stat --format=%a%u:%g /usr/bin/su /var/mail"
    done = user.postroj("run", "--image=debian-bookworm", "--", "sh", "-c", script)
    assert done.stdout.split() == ["running", "47550:0", "27750:8"], done.stderr


def as_folder(_: Publisher, user: User) -> str:
    (user.home / "root/usr/bin").mkdir(parents=True)
    (user.home / "root/usr/bin/apt-get").write_text("#!/bin/sh\n")
    (user.home / "root/usr/lib/systemd").mkdir(parents=True)
    (user.home / "root/usr/lib/systemd/systemd").touch()
    unprivileged.own(user.home / "root", user.name)
    return "root"


def as_squashfs(_: Publisher, user: User) -> str:
    return squashfs(user.home / "root.squashfs", *ROOT, SYSTEMD).name


def as_url(publisher: Publisher, _: User) -> str:
    (publisher.folder / "mine.tar.xz").write_bytes(ARCHIVE)
    return f"{publisher.url}/mine.tar.xz"


@pytest.mark.parametrize("source", [as_folder, as_squashfs, as_url])
def test_import_as_a_user(source: Any, user: User, publisher: Publisher) -> None:
    name = source.__name__.replace("_", "-")
    where = source(publisher, user)
    pin = [f"--sha256={hashlib.sha256(ARCHIVE).hexdigest()}"] if source is as_url else []
    done = user.postroj("import", name, where, *pin)
    assert done.returncode == 0, done.stderr
    assert record_of(user, name)["source"] == "import"


def test_import_as_a_user_from_a_registry(user: User, publisher: Publisher, tmp_path: Path) -> None:
    done = user.postroj("import", "from-registry", f"docker://{pushed(publisher, tmp_path)}")
    assert done.returncode == 0, done.stderr
    assert record_of(user, "from-registry")["url"].startswith("docker://127.0.0.1:")


def test_import_as_a_user_refuses_a_disk(user: User) -> None:
    (user.home / "disk.raw").write_bytes(bytes(510) + b"\x55\xaa" + bytes(5000))
    done = user.postroj("import", "my-disk", "disk.raw")
    assert done.returncode == 4
    assert "root" in done.stderr


def test_stored_images_of_a_user_are_verified_and_removed(user: User) -> None:
    squashfs(user.home / "small.squashfs", *ROOT, SYSTEMD)
    assert user.postroj("import", "small", "small.squashfs").returncode == 0
    done = user.postroj("verify", "small")
    assert (done.returncode, done.stdout.startswith("small: clean")) == (0, True), done.stderr
    assert user.postroj("remove", "small").returncode == 0
    assert not [*(user.cache / "images").glob("small-*")]
