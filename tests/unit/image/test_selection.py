"""Which images are meant: names, patterns, or what is cached."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from postroj.errors import UsageError
from postroj.image import selection
from postroj.image.architectures import of_this_host
from postroj.image.catalog import catalog
from postroj.model import Manager
from tests.support.images import put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APT = (Manager.APT,)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))


def choose(*wanted: str, managers: Sequence[Manager] = APT) -> list[str]:
    selection.check(wanted)
    return selection.choose(wanted, managers)


def test_choose_takes_any_image_by_its_name() -> None:
    assert choose("debian-13", "debian-buster", "debian-trixie") == [
        "debian-trixie",
        "debian-buster",
    ]


def test_choose_by_pattern_takes_supported_images_that_fit() -> None:
    found = choose("debian-*")
    assert {"debian-bookworm", "debian-trixie", "debian-sid"} <= set(found)
    assert "debian-stretch" not in found
    assert "debian-stretch" in choose("debian-*", "debian-stretch")
    assert choose("*", managers=[Manager.PACMAN])
    assert not set(choose("*", managers=[Manager.PACMAN])) & set(choose("*"))


def test_choose_keeps_the_order_of_its_patterns() -> None:
    found = choose("debian-sid", "Debian-*", "ubuntu-noble")
    assert found[0] == "debian-sid"
    assert found[-1] == "ubuntu-noble"
    assert len(found) == len(set(found))
    rest = found[1:-1]
    order = [entry.name for entry in catalog.entries()]
    assert rest == sorted(rest, key=order.index)


def test_choose_without_names_takes_cached_images(caplog: pytest.LogCaptureFixture) -> None:
    """Of what is supported, for this host, of that package manager, and no import."""
    ours = of_this_host()
    for name in ("debian-trixie", "debian-bookworm", "debian-stretch", "fedora-43", "own"):
        put(name, name.encode(), ours)
    put("debian-sid", b"other", "aarch64" if ours != "aarch64" else "x86_64")
    with caplog.at_level(logging.INFO, logger="postroj"):
        found = choose()
    assert found == ["debian-bookworm", "debian-trixie"]
    assert "cached images that fit: debian-bookworm, debian-trixie" in caplog.text


def test_choose_for_another_architecture() -> None:
    other = "aarch64" if of_this_host() != "aarch64" else "x86_64"
    put("debian-trixie", b"x", of_this_host())
    put("debian-bookworm", b"y", other)
    put("own-far", b"z", other)
    assert selection.choose((), APT, other) == ["debian-bookworm"]
    assert selection.choose(("own-*",), APT, other) == ["own-far"]
    with pytest.raises(UsageError, match="no image"):
        choose("own-far")


RPM = (Manager.DNF, Manager.ZYPPER)


@pytest.mark.parametrize(
    ("managers", "default"),
    [(APT, "debian-stable"), (RPM, "fedora"), ([Manager.PACMAN], "archlinux")],
)
def test_choose_without_names_or_cached_images_takes_the_default_of_the_format(
    managers: Sequence[Manager], default: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="postroj"):
        found = selection.choose((), managers, "x86_64")
    assert found == [catalog.find(default).name]
    assert caplog.messages == [f"no `--image` given, using {found[0]} as none that fits is cached"]


def test_choose_without_names_takes_the_default_of_a_format_of_which_none_is_cached() -> None:
    put("debian-bookworm", b"x", "x86_64")
    assert selection.choose((), [*APT, *RPM], "x86_64") == [
        "debian-bookworm",
        catalog.find("fedora").name,
    ]


def test_choose_without_names_takes_the_images_for_which_packages_were_built() -> None:
    homes = ("almalinux-9", "rockylinux-9", "centos-stream-9")
    put("fedora-44", b"x", "x86_64")
    assert selection.choose((), RPM, "x86_64") == ["fedora-44"]
    assert selection.choose((), RPM, "x86_64", homes) == ["centos-stream-9"]
    put("rockylinux-9", b"y", "x86_64")
    assert selection.choose((), RPM, "x86_64", homes) == ["rockylinux-9"]
    assert selection.choose((), RPM, "x86_64", ["fedora-9"]) == ["fedora-44", "rockylinux-9"]


def test_choose_without_names_refuses_an_architecture_without_images() -> None:
    with pytest.raises(UsageError, match="no image of the catalog fits") as caught:
        selection.choose((), [Manager.PACMAN], "s390x")
    assert "--image" in caught.value.hint


def test_choose_fitting_leaves_out_what_does_not_fit() -> None:
    put("own", b"x", "x86_64")
    wanted = ("debian-buster", "fedora-*", "own", "debian-13", "debian-trixie")
    assert selection.choose_fitting(wanted, APT, "x86_64") == [
        "debian-buster",
        "own",
        "debian-trixie",
    ]
    assert set(selection.choose_fitting(wanted, RPM, "x86_64")) >= {"fedora-44"}
    assert selection.choose_fitting(wanted, [Manager.PACMAN], "x86_64") == []
    assert selection.choose_fitting((), [Manager.PACMAN], "x86_64") == ["archlinux"]


def test_choose_takes_imported_images() -> None:
    put("own-one", b"x", of_this_host())
    assert choose("own-one") == ["own-one"]
    assert choose("own-*") == ["own-one"]
    assert choose("*-sid", "own*") == ["debian-sid", "own-one"]
    with pytest.raises(UsageError, match="matches no supported image"):
        selection.choose(["own-*"], [Manager.DNF])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("debian-trixy", "there is no image 'debian-trixy'"),
        ("nothing-*", "no image matches 'nothing-*'"),
        ("debian-stret*", "'debian-stret*' matches no supported image"),
    ],
)
def test_check_refuses_names_without_an_image(wanted: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        selection.check([wanted])
    assert caught.value.message.startswith(words)
    assert caught.value.hint


def test_to_pull_takes_supported_images_by_pattern_and_any_by_name() -> None:
    def names(*wanted: str) -> list[str]:
        return [entry.name for entry in selection.to_pull(wanted, "x86_64")]

    found = names("debian-*", "debian-13")
    assert {"debian-trixie", "debian-sid"} <= set(found)
    assert not {"debian-stretch", "ubuntu-noble"} & set(found)
    assert len(found) == len(set(found))
    assert names("debian-stretch", "nixos-unstab*") == ["debian-stretch", "nixos-unstable"]
    with pytest.raises(UsageError, match="matches no supported image"):
        names("debian-stret*")
    with pytest.raises(UsageError, match="there is no image 'debian-trixy'"):
        names("debian-trixy")


def elsewhere(*wanted: str, managers: Sequence[Manager] = APT, on: str = "x86_64") -> list[str]:
    return selection.choose_from_catalog(wanted, managers, on)


def test_choose_from_catalog_without_names_takes_all_supported_images() -> None:
    put("debian-bookworm", b"any")
    put("of-ours", b"any")
    found = elsewhere()
    assert {"debian-bookworm", "debian-trixie", "ubuntu-noble"} <= set(found)
    assert not {"debian-stretch", "fedora-43", "of-ours"} & set(found)
    assert elsewhere("*") == found
    assert "of-ours" not in elsewhere("debian-*", "*")


def test_choose_from_catalog_ignores_imported_images() -> None:
    put("of-ours", b"any")
    assert choose("of-ours") == ["of-ours"]
    with pytest.raises(UsageError, match="'of-ours'"):
        elsewhere("of-ours")


def test_choose_from_catalog_takes_images_for_another_architecture() -> None:
    assert elsewhere("archlinux", managers=[Manager.PACMAN], on="s390x") == ["archlinux"]
    with pytest.raises(UsageError, match="matches no supported image"):
        elsewhere("arch*", managers=[Manager.PACMAN], on="s390x")
    assert "debian-trixie" in elsewhere(on="s390x")
