"""Files of others that a step has removed or changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind
from postroj.probe.compare.comparison import Compared, wrong_types
from postroj.probe.compare.losses import Change
from postroj.probe.compare.others import Disturbed, disturbed
from postroj.probe.managers.base import Shipped
from postroj.verdict import StepName
from tests.unit.probe.compare.states import file, state

if TYPE_CHECKING:
    from postroj.probe.compare.state import GuestState

FOLDER, LINK = FileKind.FOLDER, FileKind.LINK
GONE = file(FileKind.GONE)
NEWER = file(changed=2)


def change(before: GuestState, now: GuestState, first: GuestState | None = None) -> Change:
    return Change(step=StepName.INSTALL, before=before, now=now, first=first or state())


def test_removed_files_and_all_in_removed_folders_count_if_their_package_stays() -> None:
    paths = ["/etc/one", "/usr/share/o/two", "/usr/share/o", "/etc/kept"]
    before = state(owned=[*paths, "/etc/left"])
    now = state(owned=paths, written={"/etc/one": GONE, "/usr/share/o": GONE})
    found = disturbed(change(before, now))
    assert found.removed == {"/etc/one", "/usr/share/o/two", "/usr/share/o"}
    assert found.unowned == ()


@pytest.mark.parametrize(("is_below", "removed"), [(True, {"/etc/d/one"}), (False, set())])
def test_a_folder_that_was_made_anew_has_lost_its_files(is_below: bool, removed: set[str]) -> None:
    paths = ["/etc/d", "/etc/d/one", "/etc/d/two"]
    folder = file(FOLDER, is_below=is_below, hides_below=True)
    now = state(owned=paths, written={"/etc/d": folder, "/etc/d/two": NEWER})
    found = disturbed(change(state(owned=paths), now))
    assert found.removed == removed
    assert found.changed == {"/etc/d/two"}
    assert found.unowned == ()


def test_files_are_changed_since_the_step_began() -> None:
    paths = ["/usr/a", "/usr/b", "/usr/c", "/var/lib/d", "/usr/own"]
    before = state(owned=paths[:4], own=paths[4:], written={"/usr/a": file(), "/usr/b": file()})
    written = {"/usr/a": file()} | dict.fromkeys(paths[1:], NEWER)
    now = state(owned=paths[:4], own=paths[4:], written=written)
    assert disturbed(change(before, now)).changed == {"/usr/b", "/usr/c"}


def test_files_of_nobody_count_if_they_are_older_than_the_packages() -> None:
    first = state(written={"/srv/old": file()}, settings=frozenset({"/etc/d/mine"}))
    before = state(
        written={"/srv/old": file(), "/srv/new": file()},
        settings=frozenset({"/etc/d/mine", "/etc/made"}),
        versions={"dep": "1"},
    )
    now = state(written={"/opt/below": GONE}, versions={"dep": "1"})
    assert disturbed(change(before, now, first)).unowned == (
        *("/etc/d/mine", "/opt/below", "/srv/old"),
    )
    alone = state(written={"/opt/below": GONE})
    assert disturbed(change(before, alone, first)).unowned == ()


def test_files_in_a_folder_of_another_user_come_and_go() -> None:
    """A database removes files of its own; its whole folder is in one of root."""
    data = replace(file(FOLDER), uid=107)
    written = {"/var": file(FOLDER), "/var/lib/db": data, "/var/lib/db/base": data}
    now = state(written=written | {"/var/lib/db/base/init": GONE, "/var/lib/other": GONE})
    gone = {"/var/lib/db/base/init": file(), "/var/lib/other": file()}
    found = disturbed(change(state(written=gone), now, state(written=gone)))
    assert found.unowned == ("/var/lib/other",)


def test_what_others_write_anew_or_divert_is_left_alone() -> None:
    paths = ["/etc/passwd", "/usr/bin/diverted", "/usr/share/info/dir"]
    gone = ("/var/log/x.1", "/etc/rc2.d/S01x", "/var/cache/y")
    link = "/etc/systemd/system/multi-user.target.wants/x.service"
    written = dict.fromkeys(paths, NEWER) | dict.fromkeys((*gone, link), GONE)
    rules = ["diversion of /usr/bin/diverted to /usr/bin/diverted.real by x"]
    found = disturbed(change(state(owned=paths), state(owned=paths, written=written, rules=rules)))
    assert found == Disturbed(removed=frozenset(), changed=frozenset(), unowned=())


def test_wrong_types_are_folders_for_links_and_own_links_for_folders() -> None:
    kinds = {"/usr/doc": LINK, "/usr/d": FOLDER, "/lib": FOLDER, "/usr/f": FileKind.FILE}
    shipped = Shipped(kinds=kinds, digests={}, kept=frozenset())
    written = {"/usr/doc": FOLDER, "/usr/d": LINK, "/lib": LINK, "/usr/f": FileKind.FILE}
    now = state(own=list(kinds), written={path: file(kind) for path, kind in written.items()})
    both = change(state(own=["/usr/d", "/usr/doc"]), now)
    found = wrong_types(Compared(change=both, found=(), shipped=(shipped,)))
    assert found == ["/usr/doc: a folder, not a link", "/usr/d: a link, not a folder"]
