"""The key of a package's relations: a rebuild keeps it, another dependency changes it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from postroj.probe.package.formats import Format, Recognised
from postroj.probe.package.package_file import recognise
from postroj.probe.package.relations import key, names_others
from tests.support import debs, pacman, rpms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def deb(folder: Path, version: str, needs: str) -> Path:
    return debs.build(folder, "rel", version=version, depends=f"{needs}, rel-data (= {version})")


def rpm(folder: Path, version: str, needs: str) -> Path:
    tags = f"Requires: {needs}\nRequires: rel-data = %{{version}}-%{{release}}"
    return rpms.build(folder, "rel", version=version, tags=tags)


def arch(folder: Path, version: str, needs: str) -> Path:
    version = f"{version}-1"
    return pacman.build(folder, "rel", version=version, depends=[needs, f"rel-data={version}"])


@pytest.mark.parametrize("build", [deb, rpm, arch])
def test_key_of_relations_survives_a_rebuild_with_a_new_version(
    tmp_path: Path, build: Callable[[Path, str, str], Path]
) -> None:
    old, new, other = (
        recognise(build(tmp_path, version, needs)).relations
        for version, needs in (("1.0", "libone"), ("1.1", "libone"), ("1.1", "libtwo"))
    )
    assert old == new != other
    assert len(old) == 64


@pytest.mark.parametrize(
    ("field", "named"),
    [("", False), ("Recommends: x\n", True), ("Provides: x\n", True), ("Suggests: x\n", False)],
)
def test_deb_names_others_by_what_installs_or_removes_them(
    tmp_path: Path, field: str, named: bool
) -> None:
    name, _, value = field.strip().partition(": ")
    built = debs.build(tmp_path, "rel", fields={name: value} if name else {})
    assert recognise(built).names_others is named
    assert recognise(debs.build(tmp_path, "other", depends="libone")).names_others


def test_rpm_and_what_cannot_be_read_may_name_others(tmp_path: Path) -> None:
    assert recognise(rpms.build(tmp_path, "rel")).names_others
    assert names_others(Recognised(format=Format.DEB, metadata=b""))
    assert not recognise(pacman.build(tmp_path, "rel", version="1-1")).names_others


def test_key_of_relations_is_empty_without_metadata() -> None:
    assert key(Recognised(format=Format.DEB, metadata=b"")) == ""


@pytest.mark.parametrize("kind", [3, 4, 6, 8])
def test_key_of_relations_reads_no_value_outside_of_an_rpm_header(kind: int) -> None:
    entry = struct.pack(">IIII", 1049, kind, 2, 0xFFFFFFFF)
    header = struct.pack(">8xII", 1, 5) + entry + b"lib\0x"
    assert len(key(Recognised(format=Format.RPM, metadata=header))) == 64
