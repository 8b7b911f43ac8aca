"""Hierarchies of control groups, as `/proc/self/mountinfo` shows them on different hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container.cgroup import hierarchies

PURE_V2 = """\
22 1 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
HYBRID = """\
30 23 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
32 30 0:27 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
33 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct
"""
V1_ONLY = """\
30 23 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:26 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
32 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:28 / /sys/fs/cgroup/openrc rw,relatime - cgroup cgroup rw,name=openrc
"""
BOUND = """\
40 30 0:26 /agent /sys/fs/cgroup/agent rw - cgroup2 cgroup2 rw
41 30 0:26 /agent /run/agent/cgroup rw - cgroup2 cgroup2 rw
"""
"""A part of cgroup v2, bound elsewhere."""
V2 = Path("/sys/fs/cgroup")
UNIFIED = Path("/sys/fs/cgroup/unified")
SYSTEMD = Path("/sys/fs/cgroup/systemd")


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        (PURE_V2, {"": V2}),
        (
            HYBRID,
            {
                "": UNIFIED,
                "name=systemd": SYSTEMD,
                "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
            },
        ),
        (V1_ONLY, {"name=systemd": SYSTEMD, "memory": Path("/sys/fs/cgroup/memory")}),
        (PURE_V2 + BOUND, {"": V2}),
        (f"{PURE_V2}50 23 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", {}),
        ("30 23 0:26 / /elsewhere/cgroup rw - cgroup2 cgroup2 rw\n", {}),
        ("", {}),
        ("22 1 0:21 / /proc rw - proc proc rw\n", {}),
    ],
)
def test_parse_mounts(mounts: str, found: dict[str, Path]) -> None:
    assert {name: mount.point for name, mount in hierarchies.parse(mounts).items()} == found


@pytest.mark.parametrize(
    ("top", "path", "place"),
    [
        ("/", "/postroj-1/payload", "postroj-1/payload"),
        ("/", "/", ""),
        # a container that shares the namespace of control groups with its host
        ("/docker/1f", "/docker/1f/postroj-1", "postroj-1"),
        ("/docker/1f", "/docker/1f", ""),
        # a hierarchy that was mounted outside of the namespace of control groups
        ("/../..", "/../../postroj-1", "postroj-1"),
    ],
)
def test_place_of_a_group_where_a_part_of_the_hierarchy_is_mounted(
    top: str, path: str, place: str
) -> None:
    (mount,) = hierarchies.parse(PURE_V2.replace(" / /sys", f" {top} /sys")).values()
    assert hierarchies.place(mount, path) == V2 / place


def test_this_host_has_what_it_says() -> None:
    assert all(path.is_dir() for path in hierarchies.mounted().values())
