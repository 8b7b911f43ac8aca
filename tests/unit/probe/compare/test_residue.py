"""Which paths count as residue, judged by their names."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.container.entered import EnteredGuest
from postroj.container.leader import Leader
from postroj.errors import GuestError
from postroj.probe.compare.residue import DEEPEST, EXCUSED, attributed, count, names, outermost
from tests.support import here

if TYPE_CHECKING:
    from pathlib import Path


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


def test_outermost_leaves_out_the_content_of_a_folder() -> None:
    left = {"/a/b", "/a", "/a-b", "/a/b/c", "/ab", "/c/d/e"}
    assert outermost(left) == ["/a", "/a-b", "/ab", "/c/d/e"]


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("at", "/var/spool/at"),
        ("at", "/var/log/at.log"),
        ("bc", "/etc/default/bc-2"),
        ("redis-server", "/etc/redis-server"),
        ("g++", "/etc/g++.conf"),
        ("jq", "/srv/old_jq_state"),
    ],
)
def test_attributed_by_a_delimited_word(word: str, path: str) -> None:
    assert attributed({path}, (), [word, "other"]) == {path}


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("at", "/var/lib/data/x"),
        ("bc", "/etc/abcd"),
        ("jq", "/usr/share/jquery"),
        ("x.y", "/etc/x-y"),
        ("", "/var/lib/other"),
    ],
)
def test_not_attributed_by_a_part_of_a_word(word: str, path: str) -> None:
    assert attributed({path}, (), [word]) == set()
    assert attributed({path}, (), []) == set()


def test_attributed_by_a_folder_of_the_package() -> None:
    left = {"/opt/x", "/opt/x/y/z", "/opt/x-2/y", "/opt"}
    assert attributed(left, {"/opt/x", "/srv"}, []) == {"/opt/x", "/opt/x/y/z"}


def test_count_of_files() -> None:
    assert [count(number) for number in (1, 2)] == ["1 file", "2 files"]


def test_names_are_absolute_and_do_not_leave_the_file_system() -> None:
    found = names(here.guest())
    assert "/etc/passwd" in found
    assert not [path for path in found if path.startswith(("/proc/", "/tmp/", "//"))]


def test_names_stop_at_a_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "/".join(["x"] * (DEEPEST + 20))
    deep.mkdir(parents=True)
    leader = here.of()
    monkeypatch.setattr(Leader, "open", lambda self, name, flags: os.open(tmp_path, flags))
    found = names(EnteredGuest(tmp_path, leader))
    assert max(path.count("/") for path in found) == DEEPEST + 1


def test_names_raise_if_the_guest_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        guest = here.guest(child.pid)
        child.kill()
        child.wait()
        with pytest.raises(GuestError, match="the guest ended meanwhile"):
            names(guest)
