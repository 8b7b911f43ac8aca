"""What goes to the other machine: files at their own paths, and nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from postroj.remote.freight import Freight, Kind, pack, unpack


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "near"
    (folder / "dist").mkdir(parents=True)
    for name in ("a.deb", "b.deb"):
        (folder / "dist" / name).write_text(name)
    monkeypatch.chdir(folder)
    return folder


def carried(load: Freight, tmp_path: Path) -> Path:
    """Carry everything, and return the copy of the working directory."""
    file = io.BytesIO()
    load.write(file)
    file.seek(0)
    root = tmp_path / "far"
    root.mkdir()
    unpack(file, root)
    return root / load.folder.lstrip("/")


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_send_takes_one_file_with_the_folders_above(near: Path, tmp_path: Path) -> None:
    load = Freight()
    load.send("dist/a.deb")
    load.send(str(near / "dist/a.deb"))
    assert list(load.files.values()) == [f"{near}/dist/a.deb"]
    far = carried(load, tmp_path)
    assert names(far) == ["dist", "dist/a.deb"]
    assert (far / "dist/a.deb").read_text() == "a.deb"


def test_send_of_a_folder_takes_nothing_in_it(near: Path, tmp_path: Path) -> None:
    load = Freight()
    load.send("dist")
    load.send("missing")
    assert names(carried(load, tmp_path)) == ["dist"]


def test_send_follows_links_and_keeps_the_way_that_was_typed(near: Path, tmp_path: Path) -> None:
    (near / "link").symlink_to("dist/a.deb")
    (near / "aside").symlink_to("dist")
    load = Freight()
    for text in ("link", "aside/b.deb", "dist/../link", "../near/dist/a.deb"):
        load.send(text)
    far = carried(load, tmp_path)
    assert not (far / "link").is_symlink()
    assert (far / "link").read_text() == "a.deb"
    assert (far / "aside/b.deb").read_text() == "b.deb"
    assert (far / "dist/../link").exists()


def test_send_gives_files_to_whoever_unpacks_them(near: Path, tmp_path: Path) -> None:
    load = Freight()
    load.send("dist/a.deb")
    file = io.BytesIO()
    load.write(file)
    assert load.files and b"uname" not in file.getvalue()


def test_send_tree_keeps_links_and_leaves_out_devices(near: Path, tmp_path: Path) -> None:
    (near / "dist/link").symlink_to("/etc/passwd")
    os.mkfifo(near / "dist/pipe")
    (near / "other").symlink_to("dist")
    load = Freight()
    load.send_tree("dist", follow=True)
    load.send_tree("other", follow=False)
    far = carried(load, tmp_path)
    assert names(far) == ["dist", "dist/a.deb", "dist/b.deb", "dist/link", "other"]
    assert (far / "dist/link").readlink() == Path("/etc/passwd")
    assert (far / "other").readlink() == Path("dist")


def test_expect_shows_that_a_file_exists_and_not_what_is_in_it(near: Path, tmp_path: Path) -> None:
    (near / "report.json").write_text("secret")
    load = Freight()
    load.expect("report.json", Kind.FILE)
    load.expect("dist/new.xml", Kind.FILE)
    load.expect("/dev/stdout", Kind.FILE)
    far = carried(load, tmp_path)
    assert names(far) == ["dist", "report.json"]
    assert (far / "report.json").read_bytes() == b""
    assert [one.path for one in load.expected] == [
        *(f"{near}/report.json", f"{near}/dist/new.xml", "/dev/stdout")
    ]


def test_expect_of_a_file_that_is_sent_keeps_its_content(near: Path, tmp_path: Path) -> None:
    (near / "postroj.lock").write_text("locked")
    load = Freight()
    load.expect("postroj.lock", Kind.FILE)
    load.send("postroj.lock")
    assert (carried(load, tmp_path) / "postroj.lock").read_text() == "locked"


def test_place_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroj.remote.freight.WINDOWS", True)
    load = Freight(folder="C:\\Users\\me")
    monkeypatch.setattr("os.path.join", lambda folder, text: f"{folder}\\{text}")
    assert load.place("dist\\a.deb") == "C/Users/me/dist/a.deb"
    assert load.place("..\\x.deb") == "C/Users/x.deb"


def test_pack_of_a_file_has_its_name_and_of_a_folder_its_content(near: Path) -> None:
    for path, expected in ((near / "dist/a.deb", b"a.deb"), (near / "dist", b"./b.deb")):
        file = io.BytesIO()
        pack(path, file)
        assert expected in file.getvalue()
