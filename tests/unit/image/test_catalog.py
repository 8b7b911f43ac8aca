from __future__ import annotations

import pytest

from postroj.errors import ImageError, UsageError
from postroj.image import catalog
from postroj.model import Manager, SourceKind, Verification

GOOD = """
[some-image]
distribution = "some"
release = "one"
title = "Some 1"
aliases = ["some-1"]
architectures = ["x86_64"]
manager = "apt"

[[some-image.sources]]
kind = "bootstrap"
suites = [{ archive = "debian", name = "one" }]
keyring = "/keyring.gpg"
keyring_package = "some-keyring"
packages = ["systemd-sysv"]
"""


def test_the_catalog_that_is_shipped() -> None:
    found = {entry.name: entry for entry in catalog.entries()}
    releases = ("bullseye", "bookworm", "trixie", "forky", "sid")
    assert list(found) == [f"debian-{release}" for release in releases]
    trixie = found["debian-trixie"]
    assert trixie.version == "13"
    assert trixie.systemd == 257
    assert trixie.manager is Manager.APT
    assert str(trixie.end_of_life) == "2030-06-30"
    (source,) = trixie.sources
    assert source.kind is SourceKind.BOOTSTRAP
    assert source.verification is Verification.SIGNATURE
    assert [suite.name for suite in source.suites] == [
        "trixie",
        "trixie-updates",
        "trixie-security",
    ]
    assert found["debian-sid"].version == ""
    assert found["debian-sid"].end_of_life is None


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
    ],
)
def test_names_and_aliases(name: str, release: str) -> None:
    assert catalog.find(name).release == release


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("debian-bokworm", "'debian-bookworm'"),
        ("debian-trixi", "'debian-trixie'"),
        ("trixie", "'debian-trixie'"),
        ("debain-stable", "'debian-stable'"),
    ],
)
def test_an_unknown_name_brings_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no image is named '{name}'") as caught:
        catalog.find(name)
    assert meant in caught.value.hint
    assert "debian-forky" not in caught.value.hint


def test_a_name_that_is_near_to_none() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.find("windows-95")
    assert caught.value.hint == "`postroj list-images` shows all of them"


def test_patterns() -> None:
    def names(*patterns: str) -> list[str]:
        return [entry.name for entry in catalog.matching(patterns)]

    assert len(names()) == len(catalog.entries())
    assert names("debian-*") == names()
    assert names("trixie") == ["debian-trixie"]
    assert names("*stable") == ["debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid"]
    assert names("sid", "debian-1[12]") == ["debian-bullseye", "debian-bookworm", "debian-sid"]
    with pytest.raises(UsageError, match="no image matches 'fedora-\\*'"):
        names("fedora-*")


def test_a_good_catalog() -> None:
    (entry,) = catalog.parse(GOOD)
    assert (entry.name, entry.aliases, entry.systemd) == ("some-image", ("some-1",), None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('release = "one"', "", "'release' is missing"),
        ('release = "one"', "release = 1", "'release' is of type int, not str"),
        ('release = "one"', 'release = "one"\nsystemd = true', "'systemd' is of type bool"),
        ('release = "one"', 'release = "one"\nrelaese = "x"', "'relaese' is no key"),
        ('release = "one"', 'release = "one"\nend_of_life = "x"', "'end_of_life' is of type str"),
        ('["x86_64"]', "[]", "'architectures' is empty"),
        ('["x86_64"]', "[64]", "'architectures' holds something else"),
        ('"apt"', '"atp"', "'manager' is 'atp', not one of 'apt'"),
        ('"bootstrap"', '"strap"', "'sources\\[0\\].kind' is 'strap', not one of 'bootstrap'"),
        ('"bootstrap"', '"bootstrap"\nsha = 1', "'sources\\[0\\].sha' is no key"),
        (', name = "one" }', "}", "'sources\\[0\\].suites\\[0\\].name' is missing"),
        ('name = "one" }', 'name = "one", x = 1 }', "'sources\\[0\\].suites\\[0\\].x' is no key"),
        ('[{ archive = "debian", name = "one" }]', "[]", "'sources\\[0\\].suites' is no list"),
        ('"some-1"', '"some-image"', "alias 'some-image' is 'some-image' already"),
        ('"some-1"', '"a", "a"', "alias 'a' is 'some-image' already"),
    ],
)
def test_a_mistake_names_entry_and_key(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ImageError, match=f"^entry 'some-image' of the catalog: {said}"):
        catalog.parse(GOOD.replace(old, new))


def test_an_entry_that_is_no_table() -> None:
    with pytest.raises(ImageError, match="entry 'x' of the catalog is no table"):
        catalog.parse("x = 1")
