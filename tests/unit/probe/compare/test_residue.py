"""Which paths count as residue, judged by their names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind, Written
from postroj.probe.compare.residue import (
    EXCUSED,
    appeared,
    count,
    is_covered,
    is_of_user,
    is_private,
    outermost,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    "path",
    [
        "/etc/redis",
        "/etc/systemd/system/multi-user.target.wants/x.service",
        "/etc/alternatives/x",
        "/var/lib/x/state",
        "/var/log/x.log",
        "/var/lib/systemd/deb-systemd-helper-enabled/x.service.dsh-also",
        "/etc/passwd.d/x",
        "/var/lib/rpmx",
        "/usr/share/mime",
    ],
)
def test_paths_that_are_residue(path: str) -> None:
    assert not EXCUSED.fullmatch(path)


@pytest.mark.parametrize(
    "path",
    [
        "/var/cache/ldconfig/aux-cache",
        "/var/log/journal/ab/system.journal",
        "/var/log/apt/term.log",
        "/var/log/dpkg.log",
        "/var/lib/dpkg/info/x.list",
        "/var/lib/rpm/rpmdb.sqlite",
        "/var/lib/systemd/timers/stamp-x.timer",
        "/var/lib/ucf/registry",
        "/etc/passwd-",
        "/etc/group",
        "/etc/ld.so.cache",
        "/etc/machine-id",
        "/usr/lib/python3/dist-packages/__pycache__/six.pyc",
        "/var/tmp/x/y",
    ],
)
def test_paths_that_are_excused(path: str) -> None:
    assert EXCUSED.fullmatch(path)


def test_is_of_user_in_a_folder_of_a_user_that_was_there_before() -> None:
    folder = partial(Written, kind=FileKind.FOLDER, mode=0o755, gid=0, size=0)
    owners = {"/var": 7, "/var/lib": 7, "/var/lib/db": 107, "/var/lib/mine": 108, "/srv/db": 107}
    written = {path: folder(path=path, uid=uid) for path, uid in owners.items()}
    paths = ["/var/lib/db/base/1/x", "/var/lib/mine/x", "/var/lib/x", "/srv/db/x"]
    found = [path for path in paths if is_of_user(path, written, {"/var/lib/mine"})]
    assert found == ["/var/lib/db/base/1/x"]


def test_is_private_of_a_link_to_the_data_of_a_dynamic_user() -> None:
    def made(path: str, kind: FileKind = FileKind.LINK) -> Written:
        return Written(path=path, kind=kind, mode=0o755, uid=0, gid=0, size=0)

    found = [made("/var/lib/x"), made("/var/log/x"), made("/srv/x")]
    found.append(made("/var/lib/private/x", FileKind.FOLDER))
    written = {one.path: one for one in found}
    assert [path for path in written if is_private(path, written)] == ["/var/lib/x"]


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("/var/lib/x", True),
        ("/var/lib/*", True),
        ("/var/lib/x/data", True),
        ("/var/lib/x/other", False),
        ("/var/lib/xy", False),
        ("x", False),
    ],
)
def test_is_covered_by_a_pattern_of_the_path_or_of_a_folder_above(
    pattern: str, *, covered: bool
) -> None:
    assert is_covered("/var/lib/x/data", ["/nowhere", pattern]) is covered


def test_outermost_leaves_out_the_content_of_a_folder() -> None:
    left = {"/a/b", "/a", "/a-b", "/a/b/c", "/ab", "/c/d/e"}
    assert outermost(left) == ["/a", "/a-b", "/ab", "/c/d/e"]


def test_count_of_files() -> None:
    assert [count(number) for number in (1, 2)] == ["1 file", "2 files"]


def listed(*gone: str, below: Sequence[str] = (), there: Sequence[str] = ()) -> dict[str, Written]:
    """Return what a guest has written; `below` are paths that its layers have as well."""
    kinds = dict.fromkeys(there, FileKind.FILE) | dict.fromkeys(gone, FileKind.GONE)
    return {
        path: Written(
            path=path, kind=kind, mode=0o644, uid=0, gid=0, size=0, is_below=path in below
        )
        for path, kind in kinds.items()
    }


def test_appeared_compares_with_layers_and_with_what_was_written_before() -> None:
    before = listed("/removed", below=["/removed"], there=["/made", "/changed"])
    after = listed(
        *("/made", "/gone"),
        below=["/removed", "/over", "/gone"],
        there=["/removed", "/changed", "/new", "/over"],
    )
    assert appeared(before, after) == {"/new", "/removed"}
