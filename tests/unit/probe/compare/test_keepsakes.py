"""What an administrator and a user put into a guest before a step, and what it must keep."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind
from postroj.model import Manager
from postroj.probe.compare.keepsakes import (
    DATA,
    LINE,
    LONGEST,
    NAME,
    PLACE,
    SETTINGS,
    Edit,
    is_setting,
    line_for,
    lost_data,
    lost_lines,
    may_change,
    place,
    take_away,
    undo,
)
from postroj.probe.managers import manager_of
from postroj.probe.managers.base import Shipped
from postroj.verdict import Outcome, StepName
from tests.support.fake_guest import FakeGuest
from tests.unit.probe.compare.states import file, state

if TYPE_CHECKING:
    from pathlib import Path

APT = manager_of(Manager.APT)
PATH = "/etc/x.conf"
TEXT = b"# what it is\nkey = 1\n"
ONE = Edit(path=PATH, content=TEXT, line=f"# {LINE}\n".encode(), is_owned=True)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (TEXT, f"# {LINE}\n"),
        (b"#!/bin/sh\nexit 0", f"\n# {LINE}\n"),
        (b"; of php\n[x]\n", f"; {LINE}\n"),
        (b"<?xml version='1.0'?>\n<x/>\n", f"<!-- {LINE} -->\n"),
        (b"// of bind\nx;\n", f"// {LINE}\n"),
        (b"#include <x.h>\n", ""),
        (b"key = 1\n", ""),
        (b"{}\n", ""),
        (b"", ""),
        (b"# \xff\n", ""),
        (b"# goes on \\\n", ""),
        (b"# DO NOT EDIT: made by x\n", ""),
        (b"# This file was automatically generated\n", ""),
    ],
)
def test_line_for(content: bytes, line: str) -> None:
    assert line_for(content).decode() == line


def test_is_setting_wants_files_that_came_with_the_packages() -> None:
    paths = (PATH, "/etc/made", "/etc/others", "/etc/older", "/etc/init.d/x")
    written = dict.fromkeys(paths, file())
    written |= {"/etc/link": file(FileKind.LINK), "/etc/big": file(size=LONGEST)}
    own = (PATH, "/etc/init.d/x", "/etc/link", "/etc/big")
    now = state(own=own, owned=["/etc/others"], written=written)
    first = state(settings=frozenset({"/etc/older"}))
    found = [path for path in written if is_setting(path, now, first)]
    assert found == [PATH, "/etc/made"]


def test_may_change_leaves_alone_what_the_new_package_could_not_replace() -> None:
    same = hashlib.sha256(TEXT).hexdigest()
    kept = Shipped(kinds={}, digests={PATH: "0"}, kept=frozenset({PATH}))
    assert not may_change(PATH, TEXT, [kept])
    assert may_change(PATH, TEXT, [replace(kept, digests={PATH: same})])
    assert may_change(PATH, TEXT, [replace(kept, kept=frozenset())])
    assert may_change(PATH, TEXT, [])


def lines(
    files: dict[str, bytes], *, is_owned: bool = True, step: StepName = StepName.UPGRADE
) -> list[tuple[Outcome, str]]:
    one, now = replace(ONE, is_owned=is_owned), state(own=[PATH] if is_owned else [])
    found = lost_lines(FakeGuest(files=files), APT, [one], now, ["x"], step)
    answers = [*found]
    assert {answer.subject for answer in answers} <= {SETTINGS}
    return [(answer.outcome, answer.reason) for answer in answers]


def test_lost_lines() -> None:
    kept, lost = {PATH: TEXT + ONE.line}, f"{PATH} has lost the administrator's line after the "
    assert lines(kept) == []
    assert lines({PATH: TEXT}) == [(Outcome.FAIL, f"{lost}upgrade")]
    copy = {PATH: TEXT, f"{PATH}.dpkg-old": b""}
    assert lines(copy) == [(Outcome.FAIL, f"{lost}upgrade; a copy is in {PATH}.dpkg-old")]
    assert lines({}) == [(Outcome.FAIL, f"{PATH} is gone after the upgrade")]
    assert lines({}, is_owned=False) == []
    again = StepName.REINSTALL
    assert lines({}, is_owned=False, step=again)[0][1] == f"{PATH} is gone after the reinstall"


def test_lines_that_answers_to_debconf_replace_are_not_judged() -> None:
    files = {PATH: TEXT, "/var/lib/dpkg/info/x.config": b""}
    ((outcome, reason),) = lines(files, is_owned=False)
    assert outcome is Outcome.SKIP
    assert reason.endswith("; it may be written anew from answers to debconf")
    assert lines(files)[0][0] is Outcome.FAIL


def test_undo_cuts_the_line_from_files_that_are_otherwise_as_they_were() -> None:
    guest = FakeGuest(files={PATH: TEXT + ONE.line})
    undo(guest, [ONE, replace(ONE, path="/etc/gone")])
    assert [argv[3:] for argv in guest.ran] == [("sh", str(len(TEXT)), PATH)]
    guest = FakeGuest(files={PATH: b"new\n" + ONE.line})
    undo(guest, [ONE])
    assert guest.ran == []


def test_place_uses_new_folders_of_nobody_else() -> None:
    folders = frozenset({"/var/lib/x", "/var/lib/old", "/var/lib/dep", "/var/lib/private"})
    now = state(own=["/var/lib/x"], owned=["/var/lib/dep"], folders=folders)
    guest = FakeGuest(files={f"/var/lib/x/{NAME}": b""})
    assert place(guest, now, state(folders=frozenset({"/var/lib/old"}))) == ["/var/lib/x"]
    assert [argv[4:] for argv in guest.ran] == [(NAME, "/var/lib/x")]


def test_lost_data_is_what_no_step_has_kept_or_moved() -> None:
    folders, step = ["/var/lib/x"], StepName.REMOVE
    (found,) = lost_data(FakeGuest(), folders, state(), step)
    assert (found.subject, found.outcome) == (DATA, Outcome.FAIL)
    assert found.reason == "a user's file in /var/lib/x is gone after the remove"
    kept = FakeGuest(files={f"/var/lib/x/{NAME}": b""})
    assert [*lost_data(kept, folders, state(), step)] == []
    moved = state(written={f"/var/lib/y/{NAME}": file()})
    assert [*lost_data(FakeGuest(), folders, moved, step)] == []


def test_take_away_removes_folders_that_the_package_would_have_removed() -> None:
    guest = FakeGuest()
    take_away(guest, ["/var/lib/x", "/var/lib/y"], frozenset({"/var/lib/x", "/usr"}))
    assert [argv[0] for argv in guest.ran] == ["rm", "rmdir"]
    assert guest.ran[1][-1] == "/var/lib/x"
    guest = FakeGuest()
    take_away(guest, [], frozenset({"/var/lib/x"}))
    assert guest.ran == []


@pytest.mark.parametrize(
    ("setting", "is_left_alone"),
    [
        ("ConditionPathExistsGlob={}/*", True),
        ("ConditionDirectoryNotEmpty={}", True),
        ("DirectoryNotEmpty={}/", True),
        ("PathExistsGlob={}/*.zone", True),
        ("ConditionPathExists={}/x", False),
        ("ConditionPathExistsGlob={}/below/*", False),
        ("ConditionPathExistsGlob=/other/*", False),
    ],
)
def test_a_folder_that_a_unit_watches_gets_no_file(
    setting: str, tmp_path: Path, *, is_left_alone: bool
) -> None:
    folder, units = tmp_path / "data", tmp_path / "units"
    folder.mkdir()
    units.mkdir()
    (units / "x.service").write_text(f"[Unit]\n{setting.format(folder)}\n")
    script = PLACE.replace("/etc/systemd/system", str(units))
    subprocess.run(["sh", "-c", script, "sh", NAME, str(folder)], check=True)
    assert (folder / NAME).exists() is not is_left_alone
