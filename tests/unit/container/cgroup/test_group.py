"""The control groups of one guest: made, limited, locked and swept."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from postroj.container.cgroup import group, hierarchies
from postroj.container.cgroup.group import Group, sweep
from postroj.container.limits import Asked, share
from postroj.errors import HostError
from postroj.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEAD = "postroj-0000dead"
LIMITS = share(8 << 30, 2)


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Folders stand in for hierarchies and groups: both groups and empty folders go with rmdir."""
    roots = [tmp_path / "unified", tmp_path / "systemd"]
    for root in roots:
        (root / "postroj-other").mkdir(parents=True)
    kinds = ("", "name=systemd")
    monkeypatch.setattr(hierarchies, "mounted", lambda: dict(zip(kinds, roots, strict=True)))
    return roots


@contextmanager
def nested(folder: Path, levels: int) -> Iterator[None]:
    """Make folders in each other, as deep as no path of the kernel's reaches."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("nested", dir_fd=here)
        below = os.open("nested", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        yield
    finally:  # pytest could not remove what is left
        subprocess.run(["rm", "-rf", folder], check=True)


def names(roots: list[Path]) -> set[str]:
    return {path.name for root in roots for path in root.iterdir()}


def test_group_is_made_and_removed(roots: list[Path]) -> None:
    made = Group(DEAD, LIMITS, hierarchies.mounted())
    groups = [roots[0] / DEAD / group.HELPERS, roots[1] / DEAD]
    assert made.joins == [folder / "cgroup.procs" for folder in groups]
    assert all(folder.is_dir() for folder in groups)
    assert made.divided == roots[0] / DEAD
    assert len(made.descriptors) == len(roots)
    (roots[0] / DEAD / "payload/system.slice").mkdir(parents=True)
    made.remove()
    made.remove()
    assert names(roots) == {"postroj-other"}
    assert made.descriptors == []


def test_sweep_removes_groups_that_are_not_locked(roots: list[Path]) -> None:
    alive = Group("postroj-0a11fe00", LIMITS, hierarchies.mounted())
    for root in roots:
        (root / DEAD / "payload/system.slice").mkdir(parents=True)
    assert sweep(dry_run=True) == {DEAD}
    assert DEAD in names(roots)
    assert sweep() == {DEAD}
    assert names(roots) == {"postroj-other", "postroj-0a11fe00"}
    alive.remove()
    assert sweep() == set()


def test_sweep_removes_groups_nested_deeper_than_python_recurses_and_paths_reach(
    roots: list[Path],
) -> None:
    (roots[0] / DEAD).mkdir()
    with nested(roots[0] / DEAD, 1500):
        assert sweep() == {DEAD}
        assert names(roots) == {"postroj-other"}


def test_sweep_leaves_a_group_that_was_made_anew(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweep may remove the one that was found, before its lock is had."""
    folder = roots[0] / DEAD
    folder.mkdir()

    def late(descriptor: int, how: int) -> bool:
        folder.rmdir()
        folder.mkdir()
        return try_lock(descriptor, how)

    monkeypatch.setattr(group, "try_lock", late)
    assert sweep() == set()
    assert folder.exists()


def test_sweep_leaves_a_group_with_a_process(roots: list[Path]) -> None:
    alive = roots[0] / DEAD / "process"
    alive.parent.mkdir()
    alive.touch()
    sweep(patience=0)
    assert alive.exists()


def test_group_that_cannot_be_made_everywhere_leaves_none(roots: list[Path]) -> None:
    (roots[1] / "file").touch()
    roots[1] = roots[1] / "file"
    with pytest.raises(OSError, match=DEAD):
        Group(DEAD, LIMITS, hierarchies.mounted())
    assert names(roots[:1]) == {"postroj-other"}


ASKED = Asked(memory=1 << 30, cpus=1.5, processes=7).instead_of(LIMITS)


def limited(folder: Path, *files: str) -> None:
    """A group whose hierarchy has these."""
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()


def test_limits_on_v2(roots: list[Path]) -> None:
    folder = roots[0] / DEAD
    limited(folder, "memory.max", "memory.swap.max", "cpu.max", "pids.max")
    made = Group(DEAD, ASKED, hierarchies.mounted())
    assert made.limited == {"memory", "swap", "cpu", "pids"}
    assert made.unlimited == []
    texts = {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}
    assert texts == {
        "memory.max": f"{1 << 30}",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "7",
    }


def test_limits_on_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {name: tmp_path / name for name in ("memory", "pids", "cpu")}
    monkeypatch.setattr(hierarchies, "mounted", lambda: roots)
    both = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    limited(roots["memory"] / DEAD, *both)
    limited(roots["pids"] / DEAD, "pids.max")
    limited(roots["cpu"] / DEAD, "cpu.cfs_quota_us")
    made = Group(DEAD, ASKED, hierarchies.mounted())
    assert (roots["cpu"] / DEAD / "cpu.cfs_quota_us").read_text() == "150000"
    assert [(roots["memory"] / DEAD / name).read_text() for name in both] == [f"{1 << 30}"] * 2
    assert roots["cpu"] / DEAD / "cgroup.procs" in made.joins
    assert made.open_devices == "no cgroup v2"


@pytest.mark.parametrize("swap", [True, False])
def test_unlimited_names_what_no_hierarchy_limits(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    monkeypatch.setattr(group, "has_swap", lambda: swap)
    limited(roots[0] / DEAD, "pids.max")
    made = Group(DEAD, LIMITS, hierarchies.mounted())
    assert made.unlimited == ["memory", *(["swap"] if swap else [])]
    made.remove()
    (roots[0] / "cgroup.controllers").write_text("cpu memory")
    assert Group(DEAD, LIMITS, {}).unlimited == ["pids"]
    (roots[0] / DEAD / "memory.max").touch()
    made = Group(DEAD, LIMITS, hierarchies.mounted())
    assert made.unlimited == (["swap"] if swap else [])


def test_group_without_cpus_joins_no_cpu_hierarchy(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it would have to share what one process has otherwise."""
    monkeypatch.setattr(hierarchies, "mounted", lambda: {"": roots[0], "cpu": roots[1]})
    made = Group(DEAD, LIMITS, hierarchies.mounted())
    assert made.joins == [roots[0] / DEAD / group.HELPERS / "cgroup.procs"]
    made.remove()


def refused() -> str:
    """The hint of the error when `--cpus` cannot be enforced."""
    with pytest.raises(HostError, match="cannot limit what was asked for: no cpu") as caught:
        Group(DEAD, Asked(cpus=1).instead_of(LIMITS), hierarchies.mounted())
    return caught.value.hint


def test_group_refuses_a_limit_that_the_host_cannot_enforce(roots: list[Path]) -> None:
    assert refused().startswith("`postroj doctor`")
    assert DEAD not in names(roots)


@pytest.mark.parametrize("is_container", [False, True])
def test_group_names_the_command_that_hands_a_controller_down(
    roots: list[Path], is_container: bool
) -> None:
    """In a container the top group has processes, and has to be left first."""
    top = roots[0]
    (top / "cgroup.controllers").write_text("cpu memory pids")
    (top / "cgroup.procs").write_text("1\n17\n")
    if is_container:
        (top / "cgroup.events").touch()
    _, command, rest = refused().split("`")
    assert rest == " hands them to guests"
    subprocess.run(["sh", "-ec", command], check=True)
    assert (top / "cgroup.subtree_control").read_text() == "+cpu\n"
    moved = top / "init" / "cgroup.procs"
    assert moved.exists() is is_container
    assert not is_container or moved.read_text() == "1\n17\n"
