"""What `postroj catalog check` finds out from real servers: nginx, a registry, keys by gpg."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.console import Silence
from postroj.image import architectures, catalog_check
from postroj.image.catalog.entry import Bootstrap, Oci, Simplestreams, Suite, Tarball
from postroj.image.catalog_check import State
from postroj.image.sources import mirror
from tests.support import oci
from tests.support.cli import postroj
from tests.support.images import entry
from tests.support.keys import signer
from tests.support.nginx import Nginx
from tests.support.streams import PRODUCT, Tree
from tests.support.tars import tar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.image.catalog.entry import Source
    from tests.support.keys import Signer

pytestmark = pytest.mark.integration

HERE = architectures.of_this_host()
OTHER = "aarch64" if HERE != "aarch64" else "x86_64"
SUMS = f"{'1' * 64}  some-1.9.tar.xz\n{'2' * 64}  some-1.10.tar.xz\n"
ONLY_HEAD = "location ~ \\.(tar\\.xz|squashfs)$ { limit_except HEAD { deny all; } }"
"""Images are not to be downloaded."""


@dataclass(frozen=True)
class Site:
    """The servers of a publisher, and its key."""

    nginx: Nginx
    registry: oci.Registry
    key: str
    tree: Tree

    def tarball(self, **special: Any) -> Tarball:
        """Return a tarball whose signed checksums are there, except for what is special."""
        source = Tarball(
            url=f"{self.nginx.url}/some-*.tar.xz", checksums=f"{self.nginx.url}/SUMS", key=self.key
        )
        return replace(source, **special)

    def product(self, name: str) -> Simplestreams:
        """Return a product of the simplestreams server."""
        return Simplestreams(server=self.nginx.url, product=name, key=self.key)


def release(*, days: float, architecture: str) -> bytes:
    """Return a Release file that is valid for so many days."""
    until = format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True)
    lines = ["Suite: old", f"Architectures: all {architecture}", "Components: updates/main"]
    return "\n".join([*lines, f"Valid-Until: {until}", "SHA256:", f" {'0' * 64} 0 x", ""]).encode()


def fill(folder: Path, publisher: Signer, stranger: Signer) -> Tree:
    """Write the files of a publisher, and return its simplestreams tree."""
    folder.mkdir()
    for name, by in {"SUMS": publisher, "FORGED": stranger}.items():
        (folder / name).write_bytes(by.sign(SUMS.encode(), "--clear-sign"))
    (folder / "GONE").write_bytes(publisher.sign(SUMS.replace("10", "11").encode(), "--clear-sign"))
    (folder / "some-1.10.tar.xz").write_bytes(b"an image")
    here = architectures.DEBIAN[HERE]
    suites = {"good": (1.0, here), "stale": (-1.0, here), "foreign": (1.0, "m68k")}
    for name, (days, architecture) in suites.items():
        path = folder / f"debian/dists/{name}/InRelease"
        path.parent.mkdir(parents=True)
        path.write_bytes(
            publisher.sign(release(days=days, architecture=architecture), "--clear-sign")
        )
    tree = Tree(folder)
    tree.add("20261120_05:24", b"squashfs")
    tree.publish(publisher.gpg, publisher.fingerprint)
    return tree


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("publisher")
    with (
        signer(work) as publisher,
        signer(work, "Stranger") as stranger,
        oci.registry(work / "registry") as registry,
    ):
        tree = fill(work / "site", publisher, stranger)
        layout = oci.Layout(work / "layout")
        image = layout.image([tar()], **oci.platform(oci.HERE))
        layout.finish(layout.index(image))
        registry.push(layout.folder, "some:1")
        single = oci.Layout(work / "single")
        single.finish(single.image([tar()]))
        registry.push(single.folder, "some:single")
        with Nginx(work / "site", work / "nginx", server=ONLY_HEAD) as nginx:
            yield Site(nginx, registry, str(publisher.key), tree)


@pytest.fixture
def mirrored(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The archive as the mirror of this host's apt."""
    archives = {"debian": f"{site.nginx.url}/debian"}
    monkeypatch.setattr(mirror, "archives", lambda _: archives)
    return archives


def checked(source: Source, architecture: str = HERE, **others: Any) -> tuple[State, str]:
    """Check one source; its state, and the URL or the reason."""
    some = entry("some", source, architectures=(architecture,), **others)
    (finding,) = catalog_check.check([some], Silence())
    assert (finding.image, finding.source) == ("some", source.kind)
    assert (finding.architecture, finding.verification) == (architecture, source.verification)
    assert bool(finding.url) == (finding.state is State.HOLDS)
    return finding.state, finding.url or finding.reason


def test_tarball_holds_if_its_newest_file_is_signed_and_there(site: Site) -> None:
    assert checked(site.tarball()) == (State.HOLDS, f"{site.nginx.url}/some-1.10.tar.xz")
    assert site.nginx.answers[-1] == "200 /some-1.10.tar.xz"


@pytest.mark.parametrize(
    ("special", "reason"),
    [
        ({"checksums": "URL/NOWHERE"}, "'URL/NOWHERE' does not exist"),
        ({"checksums": "URL/GONE"}, "'URL/some-1.11.tar.xz' does not exist"),
        ({"checksums": "URL/FORGED"}, "'URL/FORGED' is signed by an unknown key"),
        ({"url": "URL/other-*.tar.xz"}, "'URL/SUMS' does not list the file 'other-*.tar.xz'"),
        ({"url": "URL/nothing.tar", "checksums": "", "key": ""}, "'URL/nothing.tar' does not"),
    ],
)
def test_tarball_is_broken(special: dict[str, str], reason: str, site: Site) -> None:
    special = {key: text.replace("URL", site.nginx.url) for key, text in special.items()}
    state, said = checked(site.tarball(**special))
    assert state is State.BROKEN
    assert said.startswith(reason.replace("URL", site.nginx.url))


def test_tarball_of_a_server_that_does_not_listen_is_unknown(site: Site) -> None:
    state, said = checked(site.tarball(checksums="http://127.0.0.1:9/SUMS"))
    assert (state, "its host refused the connection" in said) == (State.UNKNOWN, True)


def test_product_holds_if_its_newest_build_is_there(site: Site) -> None:
    state, url = checked(site.product(PRODUCT))
    assert (state, url.endswith("/20261120_05:24/rootfs.squashfs")) == (State.HOLDS, True)


def test_product_is_broken_if_it_is_not_listed_or_not_what_is_listed(site: Site) -> None:
    assert checked(site.product("debian:sid:amd64:default")) == (
        State.BROKEN,
        f"'{site.nginx.url}' has no image 'debian:sid:amd64:default'",
    )
    (file,) = site.tree.folder.rglob("rootfs.squashfs")
    kept = file.read_bytes()
    file.write_bytes(b"longer than listed")
    state, said = checked(site.product(PRODUCT))
    file.write_bytes(kept)
    assert (state, "does not have the size" in said) == (State.BROKEN, True)


def test_index_is_fetched_once_for_all_images(site: Site) -> None:
    before = len(site.nginx.answers)
    images = [entry(name, site.product(PRODUCT)) for name in ("one", "two")]
    images.append(entry("three", site.product("fedora:44:amd64:default")))
    found = list(catalog_check.check(images, Silence()))
    assert [one.state for one in found] == [State.HOLDS, State.HOLDS, State.BROKEN]
    answers = site.nginx.answers[before:]
    assert answers.count("200 /streams/v1/index.sjson") == 1
    assert answers.count("200 /streams/v1/images.sjson") == 1


SUITES = {
    "good": (State.HOLDS, ""),
    "stale": (State.BROKEN, "has expired on"),
    "foreign": (State.BROKEN, "lists no packages for"),
    "absent": (State.BROKEN, "does not exist"),
}


def suite(site: Site, name: str, **special: Any) -> Bootstrap:
    return Bootstrap(
        suites=(Suite(archive="debian", name=name),),
        keyring=Path(site.key),
        keyring_package="keys",
        **special,
    )


@pytest.mark.parametrize("name", SUITES)
def test_suite_must_be_signed_valid_and_of_the_architecture(
    name: str, site: Site, mirrored: dict[str, str]
) -> None:
    state, said = checked(suite(site, name))
    assert state is SUITES[name][0]
    assert SUITES[name][1] in said
    if state is State.HOLDS:
        assert said == f"{mirrored['debian']}/dists/good"


def test_archive_counts_after_the_end_instead_of_what_it_stands_in_for(
    site: Site, mirrored: dict[str, str]
) -> None:
    today = datetime.now(UTC).date()
    ended = today - timedelta(days=1)
    sources = (
        suite(site, "good"),
        suite(site, "stale", mirrors=mirrored),
        site.tarball(),
        site.tarball(archived=True),
    )
    for day, why in {today: [1, 3], ended: [0, 2]}.items():
        found = list(catalog_check.check([entry("some", *sources, end_of_life=day)], Silence()))
        skipped = [number for number, one in enumerate(found) if one.state is State.SKIPPED]
        assert skipped == why
        assert all(str(day) in found[number].reason for number in skipped)
        assert {one.state for one in found} == {State.HOLDS, State.SKIPPED}


def test_suite_without_a_mirror_is_unknown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "archives", lambda _: {})
    assert checked(suite(site, "good")) == (
        State.UNKNOWN,
        "apt of this host has no mirror of 'debian'",
    )


def test_image_of_a_registry_must_exist_for_the_architecture(site: Site) -> None:
    for tag in ("1", "single"):
        source = Oci(reference=f"{site.registry.address}/some:{tag}")
        state, url = checked(source)
        assert (state, "@sha256:" in url) == (State.HOLDS, True)
        assert checked(source, OTHER) == (
            State.BROKEN,
            f"the image does not exist for the architecture '{OTHER}'",
        )
    state, said = checked(Oci(reference=f"{site.registry.address}/some:2"))
    assert (state, "has no image" in said) == (State.BROKEN, True)


CATALOG = """
[good-1]
distribution = "good"
release = "1"
title = "Good 1"
architectures = ["{here}", "{other}"]
sources = [
    {{ kind = "tarball", url = "{url}/some-*.tar.xz", checksums = "SUMS", key = "{key}" }},
    {{ kind = "oci", reference = "{registry}/some:1", architectures = ["{here}"] }},
]

[bad-1]
distribution = "bad"
release = "1"
title = "Bad 1"
architectures = ["{here}", "{other}"]
sources = [
    {{ kind = "tarball", url = "{url}/some-*.tar.xz", checksums = "GONE", key = "{key}" }},
    {{ kind = "oci", reference = "{registry}/some:1" }},
]
"""


def test_command_prints_a_table_or_json_and_judges(site: Site, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    places = {"url": site.nginx.url, "key": site.key, "registry": site.registry.address}
    own.write_text(CATALOG.format(here=HERE, other=OTHER, **places))
    env = os.environ | {"POSTROJ_CATALOG": str(own)}
    done = postroj("catalog", "check", "good-1", env=env)
    assert (done.returncode, done.stderr) == (0, "check the catalog ...\n")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows == [
        ["IMAGE", "SOURCE", "VERIFICATION", "ARCHITECTURES", "STATE", "REASON"],
        ["good-1", "tarball", "signature", HERE, OTHER, "holds"],
        ["good-1", "oci", "tls", HERE, "holds"],
    ]
    done = postroj("catalog", "check", "--json", "bad-*", "good-1", "bad-1", env=env)
    assert done.returncode == 4
    assert "error: not all sources hold: 3 of 7 sources broken, 0 unknown" in done.stderr
    found = json.loads(done.stdout)["sources"]
    assert [(one["image"], one["source"], one["state"]) for one in found[:4]] == [
        ("bad-1", "tarball", "broken"),
        ("bad-1", "tarball", "broken"),
        ("bad-1", "oci", "holds"),
        ("bad-1", "oci", "broken"),
    ]
    assert found[0]["evidence"] == f"HEAD {site.nginx.url}/some-1.11.tar.xz: 404 Not Found"
    done = postroj("catalog", "check", "--arch", HERE, "bad-1", env=env)
    assert (done.returncode, len(done.stdout.splitlines())) == (4, 3)
    assert postroj("catalog", "check", "bad-2", env=env).returncode == 2
    done = postroj("catalog", "check", "alpine", env=env)
    assert (done.returncode, "none of these images has a source" in done.stderr) == (2, True)
