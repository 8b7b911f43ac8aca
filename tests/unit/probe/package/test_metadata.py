"""What a package says about itself: real packages of all three formats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from postroj.image.catalog import catalog
from postroj.probe.package import metadata
from postroj.probe.package.formats import Format, Recognised
from postroj.probe.package.metadata import DISTRIBUTIONS, Metadata, Need
from postroj.probe.package.package_file import recognise
from tests.support import debs, pacman, rpms

if TYPE_CHECKING:
    from pathlib import Path


def test_metadata_of_a_deb(tmp_path: Path) -> None:
    path = debs.build(
        tmp_path,
        "web",
        version="2:1.0-1",
        architecture="arm64",
        depends="libweb:any (= 1.0-1), libc6 (>= 2.36) | libc6.1, base-files",
        fields={"Provides": "httpd, www (= 3)", "Pre-Depends": "init"},
    )
    assert recognise(path).metadata == Metadata(
        name="web",
        version="1.0-1",
        architecture="aarch64",
        full_version="2:1.0-1",
        stated_architecture="arm64",
        needs=(
            (Need(name="init"),),
            (Need(name="libweb", version="1.0-1"),),
            (Need(name="libc6"), Need(name="libc6.1")),
            (Need(name="base-files"),),
        ),
        provides=frozenset({"web", "httpd", "www"}),
    )


def test_metadata_of_an_rpm(tmp_path: Path) -> None:
    tags = "Requires: libweb = %{version}-%{release}\nRequires: base >= 3\nProvides: httpd = 3"
    found = recognise(rpms.build(tmp_path, "web", tags=tags)).metadata
    assert (found.name, found.version, found.architecture) == ("web", "1.0-1", "")
    assert (found.full_version, found.stated_architecture) == ("1.0-1", "noarch")
    assert (Need(name="libweb", version="1.0-1"),) in found.needs
    assert (Need(name="base"),) in found.needs
    assert {"web", "httpd"} <= found.provides


def test_metadata_of_a_pacman_package(tmp_path: Path) -> None:
    more = "provides = httpd=3\nprovides = libweb.so=1-64\n"
    path = pacman.build(
        tmp_path, "web", architecture="x86_64", depends=["libweb=1.0-1", "base>=3"], more=more
    )
    assert recognise(path).metadata == Metadata(
        name="web",
        version="1.0-1",
        architecture="x86_64",
        full_version="1.0-1",
        stated_architecture="x86_64",
        needs=((Need(name="libweb", version="1.0-1"),), (Need(name="base"),)),
        provides=frozenset({"web", "httpd", "libweb.so"}),
    )


@pytest.mark.parametrize("kind", Format)
def test_metadata_that_cannot_be_read_is_unknown(kind: Format) -> None:
    assert metadata.read(Recognised(format=kind, metadata=b"")) == metadata.UNKNOWN


@pytest.mark.parametrize("name", ["x-dbgsym", "x-debuginfo", "x-debugsource", "x-debug"])
def test_debug_packages_are_told_by_their_names(name: str) -> None:
    assert Metadata(name=name).is_debug
    assert not Metadata(name=f"{name}-tools").is_debug


@pytest.mark.parametrize(
    ("version", "homes"),
    [
        ("1.0-1.fc44", ("fedora-44",)),
        ("1.0-3.el9_4.1", tuple(f"{name}-9" for name in DISTRIBUTIONS["el"])),
        ("1.0-1.amzn2023", ("amazonlinux-2023",)),
        ("1.0-1", ()),
        ("1.0-1~deb12u1", ()),
    ],
)
def test_homes_of_an_rpm_are_in_its_release(version: str, homes: tuple[str, ...]) -> None:
    assert Metadata(name="x", version=version).homes == homes


def test_distributions_of_homes_are_in_the_catalog() -> None:
    names = {re.sub(r"-[0-9]+$", "", entry.name) for entry in catalog.entries()}
    assert {name for names in DISTRIBUTIONS.values() for name in names} <= names
