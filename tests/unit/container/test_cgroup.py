"""Control groups: which hierarchies there are, and what to join."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container import cgroup

PURE_V2 = """\
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0
"""
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid,nodev,noexec,relatime 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,nodev,noexec,relatime,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
"""
V1_ONLY = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/openrc cgroup rw,relatime,name=openrc 0 0
"""
V2 = Path("/sys/fs/cgroup")
UNIFIED = Path("/sys/fs/cgroup/unified")
SYSTEMD = Path("/sys/fs/cgroup/systemd")


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        (PURE_V2, {"": V2}),
        (HYBRID, {"": UNIFIED, "name=systemd": SYSTEMD}),
        (V1_ONLY, {"name=systemd": SYSTEMD}),
        ("", {}),
        ("proc /proc proc rw 0 0\n", {}),
    ],
)
def test_hierarchies(mounts: str, found: dict[str, Path]) -> None:
    assert cgroup.hierarchies(mounts) == found


def test_this_host_has_what_it_says() -> None:
    assert all(path.is_dir() for path in cgroup.mounted().values())


@pytest.mark.parametrize(
    ("mounts", "groups", "joins"),
    [
        (PURE_V2, "0::/postroj-1/payload/init.scope\n", [V2 / "postroj-1/payload/init.scope"]),
        (
            HYBRID,
            "4:cpu,cpuacct:/postroj-1\n1:name=systemd:/postroj-1/payload\n0::/postroj-1\n",
            [SYSTEMD / "postroj-1/payload", UNIFIED / "postroj-1"],
        ),
        (HYBRID, "1:name=systemd:/\n0::/postroj-1/payload\n", [UNIFIED / "postroj-1/payload"]),
        # another guest whose name begins alike, and a colon in a group's name
        (PURE_V2, "0::/postroj-12/payload\n", []),
        (PURE_V2, "0::/a:b/postroj-1\n", [V2 / "a:b/postroj-1"]),
        (V1_ONLY, "0::/postroj-1\n", []),
        (PURE_V2, "", []),
    ],
)
def test_members(
    monkeypatch: pytest.MonkeyPatch, mounts: str, groups: str, joins: list[Path]
) -> None:
    monkeypatch.setattr(cgroup, "mounted", lambda: cgroup.hierarchies(mounts))
    assert cgroup.members(groups, "postroj-1") == [join / "cgroup.procs" for join in joins]


def test_create_and_remove(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders stand in for groups: both go with rmdir."""
    roots = {"": tmp_path / "unified", "name=systemd": tmp_path / "systemd"}
    for root in roots.values():
        (root / "other").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "mounted", lambda: roots)
    joins = cgroup.create("postroj-1")
    assert joins == [root / "postroj-1" / "cgroup.procs" for root in roots.values()]
    assert cgroup.create("postroj-1") == joins
    (roots[""] / "postroj-1/payload/system.slice").mkdir(parents=True)
    cgroup.remove("postroj-1")
    cgroup.remove("postroj-1")
    assert {path.name for path in tmp_path.glob("*/*")} == {"other"}


def test_a_group_that_is_not_empty_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroup, "mounted", lambda: {"": tmp_path})
    monkeypatch.setattr(cgroup, "PATIENCE", 0.05)
    alive = tmp_path / "postroj-1" / "process"
    alive.parent.mkdir()
    alive.touch()
    cgroup.remove("postroj-1")
    assert alive.exists()
