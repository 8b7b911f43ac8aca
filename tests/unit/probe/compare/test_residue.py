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


@pytest.fixture
def rooted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnteredGuest:
    """A guest whose root directory is the folder of the test."""
    monkeypatch.setattr(Leader, "open", lambda self, name, flags: os.open(tmp_path, flags))
    return EnteredGuest(tmp_path, here.of())


def test_names_are_absolute_and_leave_out_what_does_not_last(
    rooted: EnteredGuest, tmp_path: Path
) -> None:
    for path in ("etc/passwd", "proc/1/stat", "tmp/x/y", "srv/tmp/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "srv/link").symlink_to("/proc")
    assert names(rooted) == {
        *("/etc", "/etc/passwd", "/srv", "/srv/link", "/srv/tmp", "/srv/tmp/x"),
    }


def test_names_stop_at_a_depth(rooted: EnteredGuest, tmp_path: Path) -> None:
    (tmp_path / "/".join(["x"] * (DEEPEST + 20))).mkdir(parents=True)
    assert max(path.count("/") for path in names(rooted)) == DEEPEST + 1


def test_names_raise_if_the_guest_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        guest = here.guest(child.pid)
        child.kill()
        child.wait()
        with pytest.raises(GuestError, match="the guest ended meanwhile"):
            names(guest)
