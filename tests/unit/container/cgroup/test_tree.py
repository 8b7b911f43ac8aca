"""Walks over groups that are deep, absent, or vanish meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.container.cgroup import tree
from tests.unit.container.cgroup.test_group import nested

if TYPE_CHECKING:
    from pathlib import Path


def paths(top: Path) -> list[str]:
    return [node.path for node in tree.walk(top)]


def test_walk_yields_a_group_after_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/d").mkdir()
    (tmp_path / "a/file").touch()
    (tmp_path / "a/link").symlink_to("/usr")
    assert sorted(paths(tmp_path / "a")) == ["", "/b", "/b/c", "/d"]
    assert paths(tmp_path / "a")[-1] == ""
    assert paths(tmp_path / "a/b") == ["/c", ""]
    assert (
        paths(tmp_path / "none") == paths(tmp_path / "none/x") == paths(tmp_path / "a/link") == []
    )


def test_walk_to_the_bottom_of_1500_groups(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    with nested(tmp_path / "top", 1500):
        lengths = [len(path) for path in paths(tmp_path / "top")]
    assert lengths == [level * len("/nested") for level in range(1500, -1, -1)]


def test_walk_leaves_out_a_group_that_vanishes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "top/x").mkdir(parents=True)
    (tmp_path / "top/y").mkdir()
    walk = tree.walk(tmp_path / "top")
    first = next(walk).name
    (tmp_path / "top" / ({"x", "y"} - {first}).pop()).rmdir()
    assert [node.path for node in walk] == [""]
