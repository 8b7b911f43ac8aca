from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from postroj import paths
from postroj.image import architectures
from postroj.image.store import store
from postroj.locking import Claim
from postroj.model import SourceKind
from tests.support import images
from tests.support.cli import POSTROJ, postroj

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record

ARCH = architectures.of_this_host()
FOREIGN = "s390x"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("POSTROJ_LOCK", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def put(name: str, content: bytes = b"x" * 3_000_000, architecture: str = ARCH) -> Record:
    return images.put(name, content, architecture, source=SourceKind.BOOTSTRAP)


def squashfs(folder: Path) -> bytes:
    """Return a small squashfs file."""
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text("some\n")
    (tree / "etc/large").write_bytes(os.urandom(1_000_000))
    (tree / "etc/again").hardlink_to(tree / "etc/hostname")
    tar = subprocess.run(["tar", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    file = folder / "real.squashfs"
    subprocess.run(["tar2sqfs", "-q", file], input=tar, check=True)
    return file.read_bytes()


def damage(record: Record) -> None:
    record.path.write_bytes(b"y" * record.size)


class TestVerify:
    def test_clean(self) -> None:
        put("debian-trixie")
        put("my-own", architecture=FOREIGN)
        done = postroj("verify")
        assert done.returncode == 0
        assert done.stdout == f"debian-trixie: clean, 3 MB\nmy-own ({FOREIGN}): clean, 3 MB\n"
        assert done.stderr == "verify ...\n"

    def test_damaged(self) -> None:
        put("debian-sid")
        record = put("debian-trixie")
        damage(record)
        done = postroj("verify")
        assert done.returncode == 4
        clean, damaged = done.stdout.splitlines()
        assert clean == "debian-sid: clean, 3 MB"
        assert damaged.startswith(f"debian-trixie: damaged, '{record.path.name}' was changed, its ")
        assert done.stderr == (
            "verify ...\n"
            "error: 1 of 2 images is damaged\n"
            "  | debian-trixie\n"
            "\nhint: `postroj pull --force debian-trixie` builds it again\n"
        )
        assert postroj("verify", "debian-sid").returncode == 0
        assert postroj("verify", "debian-13").returncode == 4

    def test_an_architecture(self) -> None:
        damage(put("debian-trixie"))
        put("debian-trixie", architecture=FOREIGN)
        done = postroj("verify", "--arch", FOREIGN, "debian-trixie")
        assert done.stdout == f"debian-trixie ({FOREIGN}): clean, 3 MB\n"
        assert postroj("verify", "--arch", FOREIGN).stdout == done.stdout
        assert postroj("verify", "--arch", "vax").stdout == ""

    def test_what_nobody_names(self) -> None:
        record = put("debian-trixie")
        record.path.with_name("other.squashfs").write_bytes(b"z" * 2_000_000)
        done = postroj("verify")
        assert done.returncode == 0
        assert "1 file, 2 MB, used by no image: `postroj prune` deletes unused files" in done.stderr

    def test_as_json(self) -> None:
        record = put("debian-trixie")
        damage(record)
        record.path.with_name("other.squashfs").touch()
        done = postroj("verify", "--json")
        assert done.returncode == 4
        found = json.loads(done.stdout)
        assert found["unused"] == ["other.squashfs"]
        (image,) = found["images"]
        assert (image["name"], image["architecture"]) == ("debian-trixie", ARCH)
        assert (image["size"], image["clean"]) == (3_000_000, False)
        assert "was changed" in image["faults"][0]

    def test_a_bar_in_bytes(self) -> None:
        put("debian-trixie")
        main, worker = pty.openpty()
        termios.tcsetwinsize(worker, (24, 80))
        argv = [*POSTROJ, "verify"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=worker, check=True, timeout=60)
        os.set_blocking(main, False)
        said = os.read(main, 100_000).decode()
        os.close(worker)
        os.close(main)
        assert done.stdout == b"debian-trixie: clean, 3 MB\n"
        assert "verify: debian-trixie: " in said
        assert "B/s" in said

    @pytest.mark.parametrize("command", ["verify", "remove", "lock", "export"])
    def test_an_image_that_is_not_there(self, command: str, here: Path) -> None:
        file = ["a.tar"] if command == "export" else []
        done = postroj(command, "debian-trixie", *file)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the image 'debian-trixie' is not cached" in done.stderr
        done = postroj(command, "debian-bokworm", *file)
        assert (done.returncode, done.stdout) == (2, "")
        assert "did you mean 'debian-bookworm'?" in done.stderr
        assert list(here.iterdir()) == []


def own_lines(output: str, guest: str = "") -> list[str]:
    """Return what `prune` says, but for control groups that other tests leave meanwhile."""
    others = re.compile(rf"(?!{guest or 'none'}:)postroj-[0-9a-f]{{8}}: (would be )?deleted")
    return [line for line in output.splitlines() if not others.fullmatch(line)]


class TestRemoveAndPrune:
    def test_remove_of_what_was_imported(self) -> None:
        put("my-own")
        put("my-own", architecture=FOREIGN)
        assert postroj("remove", "my-own").stdout == "my-own: removed, 3 MB freed\n"
        assert [record.architecture for record in store.records()] == [FOREIGN]
        done = postroj("remove", "my-own", "--arch", FOREIGN)
        assert done.stdout == f"my-own ({FOREIGN}): removed, 3 MB freed\n"

    def test_remove_of_what_cannot_be_read(self) -> None:
        record = put("debian-trixie")
        (record.path.parent / f"debian-trixie-{ARCH}.json").write_text("{")
        done = postroj("remove", "debian-trixie")
        assert done.stdout == "debian-trixie: removed, 3 MB freed\n"
        assert list(record.path.parent.iterdir()) == []

    def test_prune(self) -> None:
        record = put("debian-trixie")
        orphan = record.path.with_name("other.squashfs")
        orphan.write_bytes(b"z" * 2_000_000)
        guest = Claim.make(paths.state_dir(), "postroj")
        os.close(guest.descriptor)
        done = postroj("prune", "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert own_lines(done.stdout, guest.path.name) == [
            "other.squashfs: would be deleted",
            f"{guest.path.name}: would be deleted",
            "2 MB would be freed",
        ]
        assert orphan.exists() and guest.path.exists()
        done = postroj("prune")
        assert own_lines(done.stdout, guest.path.name) == [
            "other.squashfs: deleted",
            f"{guest.path.name}: deleted",
            "2 MB freed",
        ]
        assert not orphan.exists() and not guest.path.exists()
        assert own_lines(postroj("prune").stdout) == ["0 MB freed"]
        assert store.records() == [record]

    def test_prune_all(self) -> None:
        held = put("debian-trixie")
        put("my-own", architecture=FOREIGN)
        with store.use(held.as_image()):
            done = postroj("prune", "--all")
        assert own_lines(done.stdout) == [
            f"my-own ({FOREIGN}): removed",
            "debian-trixie: in use by a guest or another command",
            "3 MB freed",
        ]
        assert store.records() == [held]

    def test_prune_as_json(self) -> None:
        put("my-own")
        done = json.loads(postroj("prune", "--all", "--dry-run", "--json").stdout)
        assert done | {"guests": []} == {
            "files": [],
            "leftovers": [],
            "images": [{"name": "my-own", "architecture": ARCH}],
            "layers": [],
            "held": [],
            "freed": 3_000_000,
            "guests": [],
            "dry_run": True,
        }


class TestLock:
    def test_export_refuses_an_image_that_is_not_the_locked_one(self, here: Path) -> None:
        put("debian-trixie")
        assert postroj("lock").returncode == 0
        put("debian-trixie", b"another")
        done = postroj("export", "debian-trixie", str(here / "image.squashfs"))
        assert done.returncode == 4
        assert "error: the image 'debian-trixie' is not the one in the lock file" in done.stderr
        assert not (here / "image.squashfs").exists()

    def test_lock_and_check(self, here: Path) -> None:
        record = images.put("debian-trixie", b"hsqs", ARCH, epoch=1_700_000_000)
        put("my-own")
        done = postroj("lock")
        assert done.returncode == 0
        assert "my-own: cannot be made again, as its record lacks" in done.stderr
        assert "debian-trixie: cannot" not in done.stderr
        assert done.stdout.splitlines()[0] == f"debian-trixie: locked, {record.sha256[:16]}"
        text = (here / "postroj.lock").read_text()
        assert text.count("[[image]]") == 2
        done = postroj("lock", "--check")
        assert done.stdout == "debian-trixie: as locked\nmy-own: as locked\n"
        put("debian-trixie", b"another")
        postroj("remove", "my-own")
        done = postroj("lock", "--check")
        assert done.returncode == 4
        assert "debian-trixie: cached " in done.stdout
        assert "my-own: not cached" in done.stdout
        assert "error: 2 images differ from 'postroj.lock'" in done.stderr.replace(f"{here}/", "")
        assert (here / "postroj.lock").read_text() == text

    def test_names_are_written_and_the_others_stay(self, here: Path) -> None:
        for name in ("a", "b"):
            put(name)
        postroj("lock", "a", "--file", "other.lock")
        assert not (here / "postroj.lock").exists()
        postroj("lock", "b", "--file", "other.lock")
        put("a", b"another")
        postroj("--lock", "other.lock", "lock", "b")
        done = postroj("lock", "--check", "--file", "other.lock")
        assert done.stdout.startswith("a: cached ")
        assert done.stdout.endswith("b: as locked\n")
        assert postroj("lock", "--check", "--file", "other.lock", "b").returncode == 0
        put("c")
        done = postroj("lock", "--check", "--file", "other.lock", "c")
        assert (done.returncode, done.stdout) == (4, "c: not in the file\n")

    def test_a_lock_file_holds_unless_it_is_ignored(self, here: Path) -> None:
        put("debian-trixie")
        postroj("lock")
        assert postroj("pull", "debian-trixie").returncode == 0
        (here / "postroj.lock").write_text("schema = 99\n")
        done = postroj("pull", "debian-trixie")
        assert done.returncode == 2
        assert "is damaged, or of another version of postroj" in done.stderr
        assert "its schema is 99, not 1" in done.stderr
        assert postroj("--ignore-lock", "pull", "debian-trixie").returncode == 0
        (here / "postroj.lock").rename(here / "other.lock")
        assert postroj("pull", "debian-trixie").returncode == 0
        assert postroj("--lock", "other.lock", "pull", "debian-trixie").returncode == 2


class TestExport:
    def test_a_tar(self, here: Path) -> None:
        put("my-own", squashfs(here))
        done = postroj("export", "my-own", "out.tar")
        assert (done.returncode, done.stdout) == (0, "my-own: tar in 'out.tar', 1 MB\n")
        argv = ["tar", "-tvf", "out.tar"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert "./etc/hostname" in listed
        assert " link to " in listed
        done = postroj("export", "my-own", "out.tar")
        assert done.returncode == 2
        assert done.stderr.endswith("error: 'out.tar' exists\n\nhint: `--force` replaces it\n")
        assert postroj("export", "--force", "my-own", "out.tar").returncode == 0

    def test_stdout(self, here: Path) -> None:
        put("my-own", squashfs(here))
        for options, unpack in (([], "-t"), (["--format", "tar.zst"], "-tI zstd")):
            out = subprocess.run(
                [*POSTROJ, "export", *options, "my-own", "-"], capture_output=True, check=True
            )
            argv = ["tar", *unpack.split()]
            listed = subprocess.run(argv, input=out.stdout, capture_output=True, check=True).stdout
            assert b"etc/hostname" in listed
        done = postroj("export", "--format", "disk", "my-own", "-")
        assert done.returncode == 2
        assert "error: only a tar can go to stdout" in done.stderr

    def test_a_reader_that_has_had_enough(self, here: Path) -> None:
        put("my-own", squashfs(here))
        script = f"{sys.executable} -m postroj -q export my-own - | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("141\n", "")

    def test_a_squashfs(self, here: Path) -> None:
        content = squashfs(here)
        put("my-own", content)
        assert postroj("export", "my-own", "out.sqfs").returncode == 0
        assert (here / "out.sqfs").read_bytes() == content

    def test_a_name_that_tells_no_format(self, here: Path) -> None:
        put("my-own")
        done = postroj("export", "my-own", "out")
        assert done.returncode == 2
        assert "the name 'out' implies no format" in done.stderr
        assert list(here.iterdir()) == []

    def test_an_image_that_cannot_be_read(self, here: Path) -> None:
        put("my-own")
        done = postroj("export", "my-own", "out.tar")
        assert done.returncode == 4
        assert "error: the image could not be exported" in done.stderr
        assert list(here.iterdir()) == []
