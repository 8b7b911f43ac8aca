"""What counts as left behind, by its name alone."""

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
def test_left_behind(path: str) -> None:
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
def test_excused(path: str) -> None:
    assert EXCUSED.fullmatch(path)


def test_what_lies_in_a_folder_that_is_left_is_not_named() -> None:
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
def test_it_bears_a_name_of_the_package(word: str, path: str) -> None:
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
def test_it_bears_none(word: str, path: str) -> None:
    assert attributed({path}, (), [word]) == set()
    assert attributed({path}, (), []) == set()


def test_it_lies_in_a_folder_of_the_package() -> None:
    left = {"/opt/x", "/opt/x/y/z", "/opt/x-2/y", "/opt"}
    assert attributed(left, {"/opt/x", "/srv"}, []) == {"/opt/x", "/opt/x/y/z"}


def test_a_count() -> None:
    assert [count(number) for number in (1, 2)] == ["1 file", "2 files"]


def test_names_are_absolute_and_do_not_leave_the_file_system() -> None:
    found = names(here.guest())
    assert "/etc/passwd" in found
    assert not [path for path in found if path.startswith(("/proc/", "/tmp/", "//"))]


def test_a_chain_of_folders_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "/".join(["x"] * (DEEPEST + 20))
    deep.mkdir(parents=True)
    leader = here.of()
    monkeypatch.setattr(Leader, "open", lambda self, name, flags: os.open(tmp_path, flags))
    found = names(EnteredGuest(tmp_path, leader))
    assert max(path.count("/") for path in found) == DEEPEST + 1


def test_a_guest_that_has_ended_is_said() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        guest = here.guest(child.pid)
        child.kill()
        child.wait()
        with pytest.raises(GuestError, match="the guest ended meanwhile"):
            names(guest)
