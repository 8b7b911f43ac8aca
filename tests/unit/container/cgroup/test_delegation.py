"""Which control groups a user has, and how a command comes into them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj import process, user
from postroj.container.cgroup import delegation, hierarchies, scope
from postroj.container.cgroup.hierarchies import V2
from postroj.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

UID = 12345
MANAGED = f"user.slice/user-{UID}.slice/user@{UID}.service"
SESSION = f"user.slice/user-{UID}.slice/session-1.scope"


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The top group of a host on which nothing belongs to the user."""
    monkeypatch.setattr(user, "UID", UID)
    monkeypatch.setattr(hierarchies, "mounted", lambda: {V2: tmp_path})
    monkeypatch.setattr(os, "access", lambda path, _: (path.parent / "theirs").exists())
    monkeypatch.setattr(scope, "is_usable", lambda: True)
    return tmp_path


def be_in(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierarchies, "own_group", lambda: group)


def give(group: Path) -> Path:
    """Give a group to the user; the fake of `access` asks for a file beside what it is given."""
    group.mkdir(parents=True, exist_ok=True)
    for folder in (group, group.parent):
        (folder / "theirs").touch()
    return group


def test_home_is_the_group_of_the_users_own_systemd(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_in(top / SESSION, monkeypatch)
    assert hierarchies.homes() == {}
    home = give(top / MANAGED)
    assert hierarchies.homes() == {V2: home}


def test_home_is_else_the_highest_group_above_us_that_is_ours(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = give(top / "given/theirs-too")
    be_in(give(home / "deeper"), monkeypatch)
    assert hierarchies.homes() == {V2: home}
    delegation.settle()


def test_root_has_all_hierarchies(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UID", 0)
    assert hierarchies.homes() == {V2: top}


def test_command_in_a_session_asks_the_users_systemd_for_a_scope(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = give(top / MANAGED)
    be_in(top / SESSION, monkeypatch)
    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> None:
        asked.append(argv)
        be_in(home / "app.slice/postroj.scope", monkeypatch)

    monkeypatch.setattr(process, "run", run)
    delegation.settle()
    delegation.settle()
    (argv,) = asked
    assert argv[:2] == ["busctl", "--user"]
    assert argv[argv.index("PIDs") + 3] == str(os.getpid())


def test_host_without_groups_for_the_user_is_refused(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_in(top / SESSION, monkeypatch)
    with pytest.raises(HostError, match="no control groups of version 2"):
        delegation.settle()
