from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from postroj.errors import ImageError, UsageError
from postroj.image import architectures
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import (
    Bootstrap,
    Oci,
    Simplestreams,
    Tarball,
    expand,
)
from postroj.image.sources import mirror
from postroj.model import Manager, Verification
from tests.support.images import bootstrap_source

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.catalog.entry import Entry

ENTRIES = catalog.entries()

ENDLESS = {
    *("debian-forky", "debian-sid", "kali", "fedora-rawhide", "opensuse-tumbleweed", "archlinux"),
    *("altlinux-sisyphus", "gentoo", "nixos-unstable"),
}
"""Images that roll, or are not released yet: all others have an end."""

NAMED = {
    "amzn": "amazonlinux",
    "arch": "archlinux",
    "ol": "oraclelinux",
    "openEuler": "openeuler",
    "rocky": "rockylinux",
    "opensuse-tumbleweed": "opensuse",
}
"""How images are named, where that is not the ID of the distribution."""

BOOTABLE = """
debian-stretch debian-buster debian-bullseye debian-bookworm debian-trixie debian-forky debian-sid
ubuntu-bionic ubuntu-focal ubuntu-jammy ubuntu-noble ubuntu-resolute ubuntu-stonking
fedora-43 fedora-44 fedora-rawhide fedora-35 fedora-36 fedora-37
centos-7 centos-8 centos-stream-9 centos-stream-10
rockylinux-8 rockylinux-9 rockylinux-10 almalinux-8 almalinux-9 almalinux-10
oraclelinux-8 oraclelinux-9 oraclelinux-10 rhel-8 rhel-9 rhel-10
opensuse-leap-15.6 opensuse-leap-16.0 opensuse-tumbleweed sles-15 sles-16
archlinux amazonlinux-2 amazonlinux-2023 openeuler-24.03 mageia-9 mageia-10
kali nixos-26.05 gentoo linuxmint-zena
"""
UNBOOTABLE = "fedora-coreos fedora-silverblue alpine void kiss slackware devuan"


def ids(entry: Entry) -> str:
    return entry.name


def test_shipped_entry_of_a_debian_release() -> None:
    trixie = catalog.find("debian-trixie")
    assert trixie.version == "13"
    assert trixie.systemd == 257
    assert trixie.manager is Manager.APT
    assert str(trixie.end_of_life) == "2030-06-30"
    source = bootstrap_source(trixie)
    assert source.verification is Verification.SIGNATURE
    assert [suite.name for suite in source.suites] == [
        "trixie",
        "trixie-updates",
        "trixie-security",
    ]
    sid = catalog.find("debian-sid")
    assert (sid.version, sid.end_of_life) == ("", None)


def test_entries_can_be_members_of_a_set() -> None:
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_catalog_ships_many_images() -> None:
    assert len(ENTRIES) >= 60
    assert sum(not entry.unbootable for entry in ENTRIES) >= 50


@pytest.mark.parametrize("name", BOOTABLE.split())
def test_shipped_images_include_the_promised_releases(name: str) -> None:
    assert name in [entry.name for entry in catalog.matching([f"{name}*"])]
    assert catalog.find(name).sources


@pytest.mark.parametrize("name", UNBOOTABLE.split())
def test_unbootable_entries_give_their_reason(name: str) -> None:
    entry = catalog.find(name)
    assert entry.unbootable
    assert entry.sources == ()


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_entry_names_are_distribution_and_release(entry: Entry) -> None:
    named = NAMED.get(entry.distribution, entry.distribution)
    alone = entry.release in ("", "rolling")
    assert entry.name == (named if alone else f"{named}-{entry.release}")
    assert entry.title


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_shipped_entries_have_plausible_values(entry: Entry) -> None:
    assert entry.systemd is None or 200 < entry.systemd < 300
    assert entry.end_of_life is None or 2017 < entry.end_of_life.year < 2040
    assert not entry.packages or entry.manager
    assert "\t" not in "".join(entry.repositories)
    if entry.sources:
        reached = {one for source in entry.sources for one in source.architectures}
        everywhere = [source for source in entry.sources if not source.architectures]
        assert everywhere or set(entry.architectures) == reached


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_sources_are_ordered_by_verification(entry: Entry) -> None:
    strength = list(Verification)
    for one, other in pairwise(source.verification for source in entry.sources):
        assert strength.index(one) <= strength.index(other)


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_source_urls_have_no_placeholders_left_on_any_architecture(entry: Entry) -> None:
    for source in entry.sources:
        for architecture in source.architectures or entry.architectures:
            assert architecture in architectures.DEBIAN
            assert architecture in entry.architectures
            texts: list[str] = []
            match source:
                case Bootstrap():
                    continue
                case Simplestreams(server=server, product=product):
                    assert re.fullmatch(r"[\w.]+(:[\w.-]+){3}", expand(product, architecture))
                    texts = [server]
                case Tarball(url=url, checksums=checksums, signature=signature):
                    assert checksums or signature
                    texts = [url, *filter(None, (checksums, signature))]
                case Oci(reference=reference):
                    assert re.fullmatch(
                        r"[a-z0-9.]+(/[a-z0-9-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})", reference
                    )
                    texts = [f"https://{reference.partition('@')[0]}"]
            for text in texts:
                assert re.fullmatch(
                    r"https://[a-z0-9.-]+(/[\w.*:~-]+)*", expand(text, architecture)
                )


def test_only_images_that_roll_have_no_end_of_life() -> None:
    endless = {entry.name for entry in ENTRIES if entry.sources and entry.end_of_life is None}
    assert endless == ENDLESS


def test_each_distribution_has_an_image_that_is_named_after_it() -> None:
    families = {entry.name.partition("-")[0] for entry in ENTRIES if entry.sources}
    assert families <= set(catalog.names())


@pytest.mark.parametrize("name", ["fedora-43", "fedora-44"])
def test_fedora_is_tried_in_the_archive_after_its_mirrors(name: str) -> None:
    first, second, *_ = catalog.find(name).sources
    assert isinstance(first, Tarball)
    assert isinstance(second, Tarball)
    assert (first.archived, second.archived) == (False, True)
    assert second.url == first.url.replace(
        "download.fedoraproject.org/pub/fedora", "archives.fedoraproject.org/pub/archive/fedora"
    )
    assert second.checksums.rpartition("/")[0] == second.url.rpartition("/")[0]


FEDORA = """\
[updates]
#baseurl=http://download.example/pub/fedora/linux/updates/$releasever/Everything/$basearch/
metalink=https://mirrors.fedoraproject.org/metalink?repo=updates-released-f$releasever
gpgcheck=1
"""
CENTOS = """\
[updates]
mirrorlist=http://mirrorlist.centos.org/?release=$releasever&arch=$basearch&repo=updates
#baseurl=http://mirror.centos.org/TREE/$releasever/updates/$basearch/
gpgcheck=1
"""


@pytest.mark.parametrize(
    ("name", "machine", "path", "text", "wanted"),
    [
        (
            *("fedora-37", "x86_64", "yum.repos.d/fedora-updates.repo", FEDORA),
            "\nbaseurl=https://archives.fedoraproject.org/pub/archive/fedora/linux/updates/$releasever/",
        ),
        (
            *("fedora-37", "s390x", "yum.repos.d/fedora-updates.repo", FEDORA),
            "\nbaseurl=https://archives.fedoraproject.org/pub/archive/fedora-secondary/updates/$rel",
        ),
        (
            *("centos-7", "x86_64", "yum.repos.d/CentOS-Base.repo"),
            CENTOS.replace("TREE", "centos"),
            "\nbaseurl=http://vault.centos.org/7.9.2009/updates/$basearch/",
        ),
        (
            *("centos-7", "aarch64", "yum.repos.d/CentOS-Base.repo"),
            CENTOS.replace("TREE", "altarch"),
            "\nbaseurl=http://vault.centos.org/altarch/7.9.2009/updates/$basearch/",
        ),
    ],
)
def test_repositories_lead_to_where_a_release_is(
    name: str, machine: str, path: str, text: str, wanted: str, tmp_path: Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir()
    file.write_text(text)
    (tmp_path / "apt/apt.conf.d").mkdir(parents=True)
    uname = tmp_path / "uname"
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    for command in catalog.find(name).repositories:
        script = command.replace("/etc/", f"{tmp_path}/")
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["sh", "-euc", script], env=env, check=True)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert wanted in "\n" + "\n".join(lines)
    assert not [line for line in lines if re.search(r"mirror|metalink", line)]


@pytest.mark.parametrize(
    "name", ["debian-bullseye", "debian-bookworm", "debian-trixie", "ubuntu-stonking"]
)
def test_bootstrapped_releases_have_an_archive_of_each_suite(name: str) -> None:
    source = bootstrap_source(catalog.find(name), archived=True)
    assert source.architectures == bootstrap_source(catalog.find(name)).architectures
    for suite in source.suites:
        for machine in catalog.find(name).architectures:
            assert mirror.archive_for(suite.archive, machine) in source.mirrors


def test_no_repository_is_trusted_without_a_key() -> None:
    commands = "\n".join(command for entry in ENTRIES for command in entry.repositories)
    assert "archive." in commands
    assert not re.search(r"trusted|gpgcheck=0|allow-unauthenticated", commands)


def test_entries_past_end_of_life_have_repositories() -> None:
    for name in ("debian-stretch", "debian-buster", "fedora-35", "centos-7", "centos-8"):
        assert catalog.find(name).repositories
    assert not catalog.find("debian-trixie").repositories


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("debian-trixie", "trixie"),
        ("debian-stable", "trixie"),
        ("debian-13", "trixie"),
        ("debian-oldstable", "bookworm"),
        ("debian-12", "bookworm"),
        ("debian-11", "bullseye"),
        ("debian-testing", "forky"),
        ("debian-unstable", "sid"),
        ("debian", "trixie"),
        ("ubuntu", "resolute"),
        ("fedora", "45"),
        ("centos", "stream-10"),
        ("rocky", "10"),
        ("opensuse-leap", "16.1"),
        ("rhel", "10"),
    ],
)
def test_find_takes_names_and_aliases(name: str, release: str) -> None:
    assert catalog.find(name).release == release


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("debian-bokworm", "'debian-bookworm'"),
        ("debian-trixi", "'debian-trixie'"),
        ("trixie", "'debian-trixie'"),
        ("debain-stable", "'debian-stable'"),
        ("debian:12", "'debian-12'"),
        ("alpine:3.22", "'alpine'"),
    ],
)
def test_find_suggests_similar_names(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"there is no image '{name}'") as caught:
        catalog.find(name)
    assert meant in caught.value.hint
    assert "debian-forky" not in caught.value.hint


def test_find_suggests_nothing_for_a_strange_name() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.find("windows-95")
    assert caught.value.hint == "`postroj list-images` shows all of them"


def test_matching_takes_patterns_and_parts_of_names() -> None:
    def names(*patterns: str) -> list[str]:
        return [entry.name for entry in catalog.matching(patterns)]

    assert len(names()) == len(catalog.entries())
    assert names("debian-*") == names()[:7]
    assert names("trixie") == ["debian-trixie"]
    assert names("*Stable") == [
        *("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid", "nixos-unstable")
    ]
    assert names("sid", "debian-1[12]") == ["debian-bullseye", "debian-bookworm", "debian-sid"]
    with pytest.raises(UsageError, match="no image matches 'windows-\\*'"):
        names("windows-*")


OWN = """
[debian-trixie]
distribution = "debian"
release = "trixie"
title = "Ours"
architectures = ["x86_64"]
sources = [{ kind = "oci", reference = "registry.example/debian:trixie" }]

[my-image]
distribution = "mine"
release = "1"
title = "Mine"
aliases = ["mine"]
architectures = ["x86_64"]
sources = [{ kind = "tarball", url = "http://own.example/mine.tar.xz" }]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of the user's own."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    monkeypatch.setenv("POSTROJ_CATALOG", str(path))
    return path


def test_users_catalog_replaces_entries_of_the_same_name(own: Path) -> None:
    names = [entry.name for entry in catalog.entries()]
    assert names == [*(entry.name for entry in ENTRIES), "my-image"]
    assert catalog.find("mine").title == "Mine"
    assert catalog.find("debian-trixie").title == "Ours"
    with pytest.raises(UsageError, match="there is no image 'debian-stable'"):
        catalog.find("debian-stable")  # the name was that of the entry which is replaced


def test_users_catalog_has_a_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTROJ_CATALOG", raising=False)
    monkeypatch.setattr("postroj.paths.config_dir", lambda: tmp_path)
    assert catalog.entries() == ENTRIES
    (tmp_path / "catalog.toml").write_text(OWN)
    assert catalog.find("my-image").title == "Mine"


def test_users_catalog_that_does_not_exist_is_refused(own: Path) -> None:
    own.unlink()
    with pytest.raises(UsageError, match=f"the catalog '{own}' cannot be read") as caught:
        catalog.entries()
    assert "No such file" in caught.value.evidence


@pytest.mark.parametrize("taken", ["debian-12", "debian-sid", "my-image"])
def test_check_names_refuses_an_alias_that_is_taken(own: Path, taken: str) -> None:
    own.write_text(OWN.replace('"mine"', f'"{taken}"', 2).replace(f'"{taken}"', '"mine"', 1))
    with pytest.raises(ImageError, match=f"entry 'my-image' of '{own}': alias '{taken}' is"):
        catalog.entries()
