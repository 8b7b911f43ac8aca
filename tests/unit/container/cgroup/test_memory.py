"""The memory of a host, or of the control groups of postroj; folders stand in for both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postroj import capacity
from postroj.container import limits
from postroj.container.cgroup import hierarchies, memory

HOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def limit(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{value}\n")


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Hierarchies of both versions, each with a group that limits nothing."""
    roots = {"": tmp_path / "unified", "memory": tmp_path / "memory", "pids": tmp_path / "pids"}
    monkeypatch.setattr(hierarchies, "mounted", lambda: roots)
    limit(roots[""] / "job" / "memory.max", "max")
    limit(roots["memory"] / "memory.limit_in_bytes", (1 << 63) - 4096)
    return roots


def in_groups(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have `/proc/self/cgroup` say where we are."""
    real = Path.read_text
    shown = {"/proc/self/cgroup": text}
    monkeypatch.setattr(Path, "read_text", lambda path: shown.get(str(path)) or real(path))


@pytest.mark.parametrize("groups", ["", "0::/\n", "0::/job\n", "4:memory:/\n0::/job/step\n"])
def test_available_is_the_memory_of_a_host_that_limits_no_group(
    roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch, groups: str
) -> None:
    in_groups(monkeypatch, groups)
    assert memory.available() == HOST


@pytest.mark.parametrize(
    ("groups", "limited"),
    [
        ("0::/job/step\n", "unified/job/step/memory.max"),
        ("0::/job/step\n", "unified/job/memory.max"),
        # a container whose mount is its own group: with a namespace, or one of another place
        ("0::/\n", "unified/memory.max"),
        ("0::/../../other\n", "unified/memory.max"),
        ("8:pids:/x\n4:memory:/docker/0123\n0::/\n", "memory/memory.limit_in_bytes"),
        ("4:cpu,memory:/docker/0123\n", "memory/docker/memory.limit_in_bytes"),
    ],
)
def test_available_is_the_limit_of_a_group_or_of_one_above_it(
    roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch, groups: str, limited: str
) -> None:
    limit(roots[""].parent / limited, 64 * MIB)
    limit(roots[""] / "beside" / "memory.max", MIB)
    in_groups(monkeypatch, groups)
    assert memory.available() == 64 * MIB
    assert limits.of_host(2) == limits.share(64 * MIB, 2)
    assert capacity.jobs_here() == 1


def test_available_is_the_memory_of_a_host_whose_groups_have_more(
    roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(roots[""] / "job" / "memory.max", 2 * HOST)
    in_groups(monkeypatch, "0::/job\n")
    assert memory.available() == HOST
