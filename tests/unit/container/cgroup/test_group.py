"""Control groups: which hierarchies there are, and what to join."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container.cgroup import group as cgroup
from postroj.container.cgroup.limits import Asked, share
from postroj.errors import HostError
from postroj.locking import try_lock

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
            [
                Path("/sys/fs/cgroup/cpu,cpuacct/postroj-1"),
                SYSTEMD / "postroj-1/payload",
                UNIFIED / "postroj-1",
            ],
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


DEAD = "postroj-0000dead"
LIMITS = share(8 << 30, 2)


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Folders stand in for hierarchies and groups: both groups and empty folders go with rmdir."""
    roots = [tmp_path / "unified", tmp_path / "systemd"]
    for root in roots:
        (root / "postroj-other").mkdir(parents=True)
    kinds = ("", "name=systemd")
    monkeypatch.setattr(cgroup, "mounted", lambda: dict(zip(kinds, roots, strict=True)))
    return roots


def names(roots: list[Path]) -> set[str]:
    return {path.name for root in roots for path in root.iterdir()}


def test_make_and_remove(roots: list[Path]) -> None:
    group = cgroup.Group(DEAD, LIMITS, cgroup.mounted())
    assert group.joins == [root / DEAD / "cgroup.procs" for root in roots]
    assert len(group.descriptors) == len(roots)
    (roots[0] / DEAD / "payload/system.slice").mkdir(parents=True)
    group.remove()
    group.remove()
    assert names(roots) == {"postroj-other"}
    assert group.descriptors == []


def test_sweep_removes_the_groups_whose_lock_is_free(roots: list[Path]) -> None:
    alive = cgroup.Group("postroj-0a11fe00", LIMITS, cgroup.mounted())
    for root in roots:
        (root / DEAD / "payload/system.slice").mkdir(parents=True)
    assert cgroup.sweep(dry_run=True) == {DEAD}
    assert DEAD in names(roots)
    assert cgroup.sweep() == {DEAD}
    assert names(roots) == {"postroj-other", "postroj-0a11fe00"}
    alive.remove()
    assert cgroup.sweep() == set()


def test_a_group_that_was_made_anew_is_left_alone(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweep may remove the one that was found, before its lock is had."""
    group = roots[0] / DEAD
    group.mkdir()

    def late(descriptor: int, how: int) -> bool:
        group.rmdir()
        group.mkdir()
        return try_lock(descriptor, how)

    monkeypatch.setattr(cgroup, "try_lock", late)
    assert cgroup.sweep() == set()
    assert group.exists()


def test_a_group_that_is_not_empty_is_left_alone(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "PATIENCE", 0.05)
    alive = roots[0] / DEAD / "process"
    alive.parent.mkdir()
    alive.touch()
    cgroup.sweep()
    assert alive.exists()


def test_a_host_that_does_not_let_us_make_all_groups_keeps_none(roots: list[Path]) -> None:
    (roots[1] / "file").touch()
    roots[1] = roots[1] / "file"
    with pytest.raises(OSError, match=DEAD):
        cgroup.Group(DEAD, LIMITS, cgroup.mounted())
    assert names(roots[:1]) == {"postroj-other"}


ASKED = Asked(memory=1 << 30, cpus=1.5, processes=7).instead_of(LIMITS)


def limited(folder: Path, *files: str) -> None:
    """A group whose hierarchy has these."""
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()


def test_limits_on_v2(roots: list[Path]) -> None:
    folder = roots[0] / DEAD
    limited(folder, "memory.max", "cpu.max", "pids.max")
    group = cgroup.Group(DEAD, ASKED, cgroup.mounted())
    assert group.limited == {"memory", "cpu", "pids"}
    texts = {file.name: file.read_text() for file in folder.iterdir()}
    assert texts == {"memory.max": f"{1 << 30}", "cpu.max": "150000 100000", "pids.max": "7"}


def test_limits_on_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {name: tmp_path / name for name in ("memory", "pids", "cpu")}
    monkeypatch.setattr(cgroup, "mounted", lambda: roots)
    limited(roots["memory"] / DEAD, "memory.limit_in_bytes")
    limited(roots["pids"] / DEAD, "pids.max")
    limited(roots["cpu"] / DEAD, "cpu.cfs_quota_us")
    group = cgroup.Group(DEAD, ASKED, cgroup.mounted())
    assert (roots["cpu"] / DEAD / "cpu.cfs_quota_us").read_text() == "150000"
    assert (roots["memory"] / DEAD / "memory.limit_in_bytes").read_text() == f"{1 << 30}"
    assert roots["cpu"] / DEAD / "cgroup.procs" in group.joins
    assert group.open_devices == "no cgroup v2"


def test_a_guest_without_a_limit_of_time_is_in_no_group_for_it(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it would have to share what one process has otherwise."""
    monkeypatch.setattr(cgroup, "mounted", lambda: {"": roots[0], "cpu": roots[1]})
    group = cgroup.Group(DEAD, LIMITS, cgroup.mounted())
    assert group.joins == [roots[0] / DEAD / "cgroup.procs"]
    group.remove()


@pytest.mark.parametrize(
    ("offered", "hint"),
    [("cpu memory pids", "`echo +cpu | sudo tee"), ("memory pids", "`sudo postroj doctor`")],
)
def test_what_was_asked_for_and_cannot_be_had_is_refused(
    roots: list[Path], offered: str, hint: str
) -> None:
    (roots[0] / "cgroup.controllers").write_text(offered)
    with pytest.raises(HostError, match="cannot limit what was asked for: no cpu") as caught:
        cgroup.Group(DEAD, Asked(cpus=1).instead_of(LIMITS), cgroup.mounted())
    assert caught.value.hint.startswith(hint)
    assert DEAD not in names(roots)


def test_processes_of_a_guest_and_their_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Divided into units in one hierarchy and not in the other, as on a hybrid host."""
    two, one = tmp_path / "unified", tmp_path / "systemd"
    groups = {
        two / "postroj-1/payload/init.scope": "100\n",
        two / "postroj-1/payload/system.slice/x.service": "101\n102\n",
        two / "postroj-1/payload/system.slice": "",
        two / "postroj-1/supervisor": "99\n",
        two / "postroj-2/payload/system.slice/y.service": "201\n",
        one / "postroj-1/payload": "100\n101\n102\n103\n",
    }
    for folder, procs in groups.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(procs)
    monkeypatch.setattr(cgroup, "mounted", lambda: {"": two, "name=systemd": one})
    text = (
        "9:name=systemd:/postroj-1/payload\n4:memory:/x/payload\n0::/postroj-1/payload/init.scope\n"
    )
    assert cgroup.processes(text) == {
        100: "/init.scope",
        101: "/system.slice/x.service",
        102: "/system.slice/x.service",
        103: "",
    }
    assert cgroup.processes("0::/user.slice\n") == {}
    assert cgroup.processes("") == {}
