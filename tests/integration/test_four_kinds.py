"""One image from each kind of source, by names of a catalog of the user: pulled, then booted.

Servers are real ones on loopback; what they serve is a real Debian.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.image import architectures
from postroj.image.store import store
from tests.support import oci
from tests.support.cli import postroj
from tests.support.keys import signer
from tests.support.nginx import Nginx
from tests.support.streams import PRODUCT, Tree
from tests.support.tars import tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

BOOTED = ("sh", "-c", "systemctl is-system-running; . /etc/os-release; echo $ID")
VERSION = "20261120_05:24"


@pytest.fixture(scope="module")
def catalog(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Servers that offer a Debian in three ways, and the catalog that names them."""
    folder = tmp_path_factory.mktemp("servers")
    record = store.require(image, architectures.of_this_host())
    root = subprocess.run(["sqfs2tar", record.path], capture_output=True, check=True).stdout
    archive = subprocess.run(["zstd", "-1"], input=root, capture_output=True, check=True).stdout
    (folder / "www").mkdir()
    (folder / "www/rootfs.tar.zst").write_bytes(archive)
    checksums = f"{hashlib.sha256(archive).hexdigest()}  rootfs.tar.zst\n".encode()
    layout = oci.Layout(folder / "layout")
    layers = [root, tar(("etc/motd", {"data": b"second layer"}), root=False)]
    with (
        signer(folder) as publisher,
        Nginx(folder / "www", folder / "nginx") as nginx,
        oci.registry(folder / "registry") as registry,
    ):
        tree = Tree(folder / "www")
        tree.add(VERSION, record.path.read_bytes())
        tree.publish(publisher.gpg, publisher.fingerprint)
        (folder / "www/SHA256SUMS").write_bytes(publisher.sign(checksums, "--clear-sign"))
        reference = registry.push(layout.finish(layout.image(layers)), "some/debian:13")
        sources = {
            "simplestreams": f'server = "{nginx.url}", product = "{PRODUCT}", '
            f'key = "{publisher.key}"',
            "tarball": f'url = "{nginx.url}/rootfs.tar.zst", '
            f'checksums = "{nginx.url}/SHA256SUMS", key = "{publisher.key}"',
            "oci": f'reference = "{reference}"',
        }
        path = folder / "catalog.toml"
        path.write_text("\n".join(_entry(kind, keys) for kind, keys in sources.items()))
        yield path


def _entry(kind: str, keys: str) -> str:
    return f"""
[mine-{kind}]
distribution = "mine"
release = "{kind}"
title = "Mine from {kind}"
architectures = ["{architectures.of_this_host()}"]
manager = "apt"
sources = [{{ kind = "{kind}", {keys} }}]
"""


@pytest.mark.parametrize(
    ("kind", "verification"),
    [("simplestreams", "signature"), ("tarball", "signature"), ("oci", "none")],
)
def test_pull_from_each_kind_of_source_gives_an_image_that_boots(
    kind: str, verification: str, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    name = f"mine-{kind}"
    done = postroj("--catalog", catalog, "pull", name)
    assert done.returncode == 0, done.stderr
    listed = postroj("--catalog", catalog, "list-images", "--json", "--cached", name)
    (record,) = (one["cached"] for one in json.loads(listed.stdout))
    assert (record["source"], record["verification"]) == (kind, verification)
    assert record["prepared"] is not None
    done = postroj("--catalog", catalog, "run", "--image", name, "--", *BOOTED)
    assert (done.returncode, done.stdout) == (0, "running\ndebian\n")
    assert postroj("verify").returncode == 0
