"""The processes of a guest, found by its control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container.cgroup import hierarchies, processes
from tests.unit.container.cgroup.test_hierarchies import (
    HYBRID,
    PURE_V2,
    SYSTEMD,
    UNIFIED,
    V1_ONLY,
    V2,
)


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
def test_joins(
    monkeypatch: pytest.MonkeyPatch, mounts: str, groups: str, joins: list[Path]
) -> None:
    monkeypatch.setattr(hierarchies, "mounts", lambda: hierarchies.parse(mounts))
    assert processes.joins(groups, "postroj-1") == [join / "cgroup.procs" for join in joins]


def test_processes_beside_a_leader_with_their_groups(
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
    mounts = {"": hierarchies.Mount(two, "/"), "name=systemd": hierarchies.Mount(one, "/")}
    monkeypatch.setattr(hierarchies, "mounts", lambda: mounts)
    text = (
        "9:name=systemd:/postroj-1/payload\n4:memory:/x/payload\n0::/postroj-1/payload/init.scope\n"
    )
    assert processes.beside(text) == {
        100: "/init.scope",
        101: "/system.slice/x.service",
        102: "/system.slice/x.service",
        103: "",
    }
    assert processes.beside("0::/user.slice\n") == {}
    assert processes.beside("") == {}


@pytest.mark.parametrize(
    ("place", "is_inside"),
    [
        ("/1/payload", True),
        ("/12/payload/system.slice/x.service", True),
        ("/payload/init.scope", True),  # version 1
        ("", False),
        ("/helpers", False),
        ("/1/supervisor", False),
        ("/1/payloads", False),
    ],
)
def test_groups_of_the_guest_are_told_from_those_beside_it(place: str, is_inside: bool) -> None:
    assert processes.is_in_payload(place) is is_inside


def test_freezer_is_the_payload_of_the_leaders_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hierarchies, "mounts", lambda: {"": hierarchies.Mount(tmp_path, "/")})
    for boot in ("1", "2"):
        (tmp_path / "postroj-1" / boot / "payload").mkdir(parents=True)
        (tmp_path / "postroj-1" / boot / "payload" / "cgroup.freeze").touch()
    found = processes.freezer("0::/postroj-1/2/payload/init.scope\n")
    assert found == tmp_path / "postroj-1" / "2" / "payload"
    assert processes.freezer("9:name=systemd:/postroj-1/payload\n") is None
