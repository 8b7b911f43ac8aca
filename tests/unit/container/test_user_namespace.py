"""Which numbers of the host a user's guests get, and what is said to a user who gets none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from postroj import process, user
from postroj.container import kernel, user_namespace
from postroj.container.cgroup import delegation
from postroj.container.user_namespace import NotAllowedError, mapping, ranges
from postroj.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

UID = 12345
"""Of no user of this host."""


@pytest.fixture
def subuid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the subordinate numbers of all users, here the same for groups."""
    file = tmp_path / "subuid"
    file.touch()
    monkeypatch.setattr(user_namespace, "RANGES", {"uid": file, "gid": file})
    monkeypatch.setattr(user, "UID", UID)
    monkeypatch.setattr(user, "GID", UID)
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    monkeypatch.setattr(user_namespace, "_outcome", [])
    monkeypatch.setattr(delegation, "settle", lambda: None)
    monkeypatch.setattr(user_namespace, "THREADS", tmp_path / "threads")
    (tmp_path / "threads/1").mkdir(parents=True)
    monkeypatch.setattr(user_namespace, "APPARMOR", tmp_path / "apparmor")
    monkeypatch.setattr(user_namespace, "LABEL", tmp_path / "label")
    return file


def test_ranges_of_a_user_are_those_of_its_name_or_number() -> None:
    lines = ["me:1:2", "you:3:4", "", "# me:5:6", "12345:7:8", "me:x:9", "me:9"]
    assert [*ranges(lines, {"me", "12345"})] == [(1, 2), (7, 8)]
    assert [*ranges(lines)] == [(1, 2), (3, 4), (7, 8)]


def test_mapping_takes_as_many_numbers_as_a_guest_needs(subuid: Path) -> None:
    subuid.write_text(f"{UID}:100000:65536\n")
    assert mapping("uid") == [1, 100000, 65535]


def test_mapping_joins_ranges_until_there_are_enough(subuid: Path) -> None:
    subuid.write_text(f"{UID}:100000:60000\n{UID}:300000:60000\n{UID}:900000:60000\n")
    assert mapping("gid") == [1, 100000, 60000, 60001, 300000, 5535]


@pytest.mark.parametrize("text", ["", f"{UID}:100000:65534\n", "other:100000:65536\n"])
def test_user_with_too_few_numbers_gets_the_command_that_gives_more(
    subuid: Path, text: str
) -> None:
    subuid.write_text(text)
    with pytest.raises(NotAllowedError, match="65535 are needed") as caught:
        user_namespace.enter()
    first = 165536 if text.startswith("other") else 165534 if text else 100000
    numbers = f"{first}-{first + 65535}"
    assert caught.value.fix == (
        *("usermod", f"--add-subuids={numbers}", f"--add-subgids={numbers}", str(UID)),
    )
    assert caught.value.hint.startswith(f"`sudo usermod --add-subuids={numbers} ")


def refuse(*_: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    ("switch", "fix"), [("0\n", ("sysctl", "kernel.unprivileged_userns_clone=1")), ("1\n", ())]
)
def test_kernel_that_makes_no_namespace_is_explained_by_its_switch(
    switch: str,
    fix: tuple[str, ...],
    subuid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subuid.write_text(f"{UID}:100000:65536\n")
    (tmp_path / "clone").write_text(switch)
    switches = {tmp_path / "clone": "kernel.unprivileged_userns_clone=1"}
    monkeypatch.setattr(user_namespace, "SWITCHES", switches)
    monkeypatch.setattr(user_namespace, "MAP_WHEN_TOLD", "read -r _")
    monkeypatch.setattr(process, "tool", lambda name: f"/bin/{name}")
    monkeypatch.setattr(kernel, "own_users", refuse)
    with pytest.raises(NotAllowedError, match="lets users without root make no") as caught:
        user_namespace.enter()
    assert caught.value.fix == fix


@pytest.mark.parametrize(("label", "refused"), [("unconfined\n", True), ("postroj (x)\n", False)])
def test_apparmor_is_asked_before_it_takes_all_rights_away(
    label: str, refused: bool, subuid: Path, tmp_path: Path
) -> None:
    (tmp_path / "apparmor").write_text("1\n")
    (tmp_path / "label").write_text(label)
    with pytest.raises(HostError) as caught:
        user_namespace.enter()
    assert ("AppArmor" in caught.value.message) is refused


def test_threads_are_named(subuid: Path, tmp_path: Path) -> None:
    (tmp_path / "threads/2").mkdir()
    with pytest.raises(HostError, match="has threads"):
        user_namespace.enter()


def test_what_has_failed_once_is_not_tried_again(
    subuid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may be in a namespace that is not complete."""
    with pytest.raises(NotAllowedError) as first:
        user_namespace.enter()
    subuid.write_text(f"{UID}:100000:65536\n")
    with pytest.raises(NotAllowedError) as second:
        user_namespace.enter()
    assert second.value is first.value


def test_root_of_the_host_enters_nothing(subuid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UID", 0)
    monkeypatch.setattr(kernel, "own_users", refuse)
    user_namespace.enter()


def test_who_is_inside_stays_there(subuid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_namespace, "_outcome", [None])
    monkeypatch.setattr(kernel, "own_users", refuse)
    user_namespace.enter()
