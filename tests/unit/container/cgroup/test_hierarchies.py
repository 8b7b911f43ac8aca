"""Hierarchies of control groups, as `/proc/self/mounts` shows them on different hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container.cgroup import hierarchies

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
        (
            HYBRID,
            {
                "": UNIFIED,
                "name=systemd": SYSTEMD,
                "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
            },
        ),
        (V1_ONLY, {"name=systemd": SYSTEMD, "memory": Path("/sys/fs/cgroup/memory")}),
        (f"{PURE_V2}cgroup2 /run/agent/cgroup2 cgroup2 rw 0 0\n", {"": V2}),
        ("cgroup2 /elsewhere/cgroup cgroup2 rw 0 0\n", {}),
        ("", {}),
        ("proc /proc proc rw 0 0\n", {}),
    ],
)
def test_parse_mounts(mounts: str, found: dict[str, Path]) -> None:
    assert hierarchies.parse(mounts) == found


def test_this_host_has_what_it_says() -> None:
    assert all(path.is_dir() for path in hierarchies.mounted().values())
