"""What is taken from files, folders and .changes files, and what is left out for which reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postroj.errors import UsageError
from postroj.probe.package.collect import LeftOut, collect, expand
from postroj.probe.package.formats import Format
from tests.support import debs, pacman, rpms

CHANGES = """\
Format: 1.8
Source: hello
Checksums-Sha256:
 00 1 other_1.0_all.deb
Files:
 00 1 misc optional hello_1.0.dsc
 00 1 misc optional {name}
 00 1 debug optional hello_1.0_amd64.buildinfo
Description:
 hello - none
"""


def names(*places: object, architecture: str = "x86_64") -> tuple[list[str], dict[str, list[str]]]:
    """Return the names of the packages that are taken, and what is left out."""
    left_out = LeftOut(list)
    files = collect(expand(map(str, places)), (), architecture, left_out)
    return [file.name for file in files], left_out


def test_collect_sorts_what_a_build_left(tmp_path: Path) -> None:
    taken = [
        debs.build(tmp_path, "amd", architecture="amd64"),
        debs.build(tmp_path, "every"),
        rpms.build(tmp_path, "red"),
        pacman.build(tmp_path, "arch", architecture="x86_64"),
    ]
    left = {
        "for aarch64": [debs.build(tmp_path, "arm", architecture="arm64").name],
        "debug symbols": [
            debs.build(tmp_path, "amd-dbgsym", architecture="amd64").name,
            rpms.build(tmp_path, "red-debuginfo").name,
        ],
        "not a package": ["checksums.txt"],
        "for Debian's installer": ["amd.udeb"],
    }
    (tmp_path / "checksums.txt").write_text("00  amd.deb\n")
    (tmp_path / "amd.udeb").touch()
    (tmp_path / "empty").mkdir()
    files = [path for path in sorted(tmp_path.iterdir()) if path.is_file()]
    found, left_out = names(*files, tmp_path / "empty")
    assert set(found) == {path.name for path in taken}
    assert left_out == {**left, "no package in it": [f"{tmp_path}/empty/"]}
    found, left_out = names(*files, architecture="aarch64")
    assert {"for x86_64"} <= set(left_out)
    assert "arm_1.0_arm64.deb" in found


def test_collect_takes_packages_below_a_folder_but_none_of_hidden_ones(tmp_path: Path) -> None:
    for part in ("RPMS/noarch", "RPMS/.cache"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "state.log").touch()
    package = rpms.build(tmp_path, "mocked")
    hidden = tmp_path / "RPMS/.cache" / package.name
    package.rename(hidden)
    assert names(tmp_path / "RPMS") == ([], {"no package in it": [f"{tmp_path}/RPMS/"]})
    hidden.rename(tmp_path / "RPMS/noarch" / package.name)
    assert names(tmp_path / "RPMS") == ([package.name], {})


def test_collect_leaves_source_packages_out(tmp_path: Path) -> None:
    package = rpms.build(tmp_path, "red")
    source = tmp_path / "red-1.0-1.src.rpm"
    content = bytearray(package.read_bytes())
    content[6:8] = b"\x00\x01"
    source.write_bytes(content)
    assert names(source) == ([], {"a source package": [source.name]})


def test_collect_reads_a_changes_file(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "hello")
    file = tmp_path / "hello.changes"
    file.write_text(CHANGES.format(name=deb.name))
    assert names(file) == ([deb.name], {})
    assert names(deb, file, f"{tmp_path}/*.deb", os.path.relpath(deb)) == ([deb.name], {})
    deb.unlink()
    with pytest.raises(UsageError, match=f"'hello.changes' lists '{deb.name}', which does not"):
        names(file)


def test_a_changes_file_names_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    deb = debs.build(tmp_path, "hello")
    file = tmp_path / "sub/hello.changes"
    file.write_text(CHANGES.format(name=f"../{deb.name}"))
    with pytest.raises(UsageError, match="which does not lie beside it"):
        names(file)


def test_collect_keeps_a_damaged_package_with_the_reason(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "hello")
    deb.write_bytes(deb.read_bytes()[:-100])
    text = tmp_path / "x-1-1-any.pkg.tar.zst"
    text.write_text("x")
    cut, other = collect([deb, text], [], "x86_64", LeftOut(list))
    assert cut.damage and "is not a complete package" in cut.damage.message
    assert other.damage and "is not a package" in other.damage.message
    assert (cut.format, other.format) == (Format.DEB, Format.PACMAN)


def test_collect_takes_downloads_whatever_their_names(tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "hello").rename(tmp_path / "download")
    (found,) = collect((), [deb], "x86_64", LeftOut(list))
    assert (found.name, found.metadata.name) == ("download", "hello")


@pytest.mark.parametrize("name", ["none", "none/*.deb"])
def test_expand_refuses_what_does_not_exist(name: str) -> None:
    with pytest.raises(UsageError, match="is not a file or folder, and matches none"):
        list(expand([name]))


def test_expand_takes_a_name_before_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a[1].deb", "a1.deb"):
        Path(name).touch()
    assert list(expand(["a[1].deb"])) == [Path("a[1].deb")]
    assert list(expand(["a*.deb"])) == [Path("a1.deb"), Path("a[1].deb")]
