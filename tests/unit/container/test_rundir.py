"""Run directories: the names that users choose, and what a directory says of its guest."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from postroj import locking
from postroj.container import leftovers, roster, rundir
from postroj.container.boot import idmap
from postroj.container.cgroup import hierarchies
from postroj.container.rundir import FILE, Facts, read_facts, write_facts
from postroj.errors import HostError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.locking import Claim


@pytest.fixture(autouse=True)
def without_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(hierarchies, "mounted", dict)


def test_claim_refuses_a_name_that_a_living_guest_has(tmp_path: Path) -> None:
    with rundir.claim(Facts(given="web")) as web, rundir.claim(Facts(given="db")) as db:
        assert rundir.by_given(tmp_path) == {"web": web.path.name, "db": db.path.name}
        with pytest.raises(UsageError, match=f"'{web.path.name}' already has the name 'web'"):
            rundir.claim(Facts(given="web"))
        assert len(list(tmp_path.glob("postroj-*"))) == 2
        assert roster.require(["db", web.path.name]) == [db.path.name, web.path.name]
    with rundir.claim(Facts(given="web")) as other:
        assert rundir.by_given(tmp_path) == {"web": other.path.name}


def test_claim_without_a_name_as_often_as_one_likes(tmp_path: Path) -> None:
    with rundir.claim(Facts()), rundir.claim(Facts()):
        assert rundir.by_given(tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("machine", [False, True])
def test_long_path(machine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused if a socket does not fit; ssh makes its own under a longer name.

    The name of this test is part of the path, and so as short as can be.
    """
    socket = "/postroj-0a1b2c3d/" + ("ssh.0123456789abcdef" if machine else "notify")
    fits = "x" * (107 - len(str(tmp_path)) - len("/") - len(socket))
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / fits))
    with rundir.claim(Facts(machine=machine)):
        pass
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / f"{fits}x"))
    with pytest.raises(HostError, match="cannot be used") as caught:
        rundir.claim(Facts(machine=machine))
    assert caught.value.evidence == "its path is too long for a socket"


def test_claim_on_a_full_file_system_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(run_dir: Path, facts: Facts) -> None:
        (run_dir / ".guest.json").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208
    monkeypatch.setattr(rundir, "write_facts", fill)
    with pytest.raises(HostError, match="cannot be used") as caught:
        rundir.claim(Facts())
    assert "No space left" in caught.value.evidence
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert os.listdir("/proc/self/fd") == descriptors  # noqa: PTH208


def test_claim_gives_no_two_guests_the_same_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are fewer ranges of users than names."""
    ranges = (idmap.LAST - idmap.FIRST) // idmap.IDS
    twin, of_nspawn, other = f"{ranges:08x}", "00000007", "00000009"
    (tmp_path / "postroj-00000000").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / str(idmap.base(f"postroj-{of_nspawn}"))).touch()
    assert idmap.base(f"postroj-{twin}") == idmap.base("postroj-00000000")
    monkeypatch.setattr(idmap, "TAKEN", tmp_path / "taken")
    monkeypatch.setattr(leftovers, "sweep", list)
    monkeypatch.setattr(locking, "random_digits", iter([twin, of_nspawn, other]).__next__)
    with rundir.claim(Facts()) as claim:
        assert claim.path.name == f"postroj-{other}"


def test_claim_of_one_name_by_many_threads_succeeds_once() -> None:
    start = threading.Barrier(8)
    claims: list[Claim] = []
    refused: list[UsageError] = []

    def want() -> None:
        start.wait()
        try:
            claims.append(rundir.claim(Facts(given="web")))
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for claim in claims:
        claim.release()
    assert (len(claims), len(refused)) == (1, 7)


def test_by_given_ignores_the_file_of_a_dead_guest(tmp_path: Path) -> None:
    with rundir.claim(Facts(given="web")) as web:
        lie = (web.path / "guest.json").read_text()
    dead = tmp_path / "postroj-00000000"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "guest.json").write_text(lie)
    assert rundir.by_given(tmp_path) == {}


def test_facts_are_read_as_written_and_by_root_alone(tmp_path: Path) -> None:
    facts = Facts(image="debian-trixie", purpose="run sh -c 'žluťoučký\n'", kept=True)
    write_facts(tmp_path, Facts())
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts
    assert 0 <= time.time() - facts.began < 60
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"image": "x", "more": 1}',
        '{"image": 1}',
        '{"image": "x", "began": "now"}',
        '{"kept": "yes"}',
        "\udcff",
    ],
)
def test_facts_of_another_form_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
    assert read_facts(tmp_path) is None


def test_facts_of_a_directory_without_the_file_are_none(tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    assert read_facts(tmp_path / "gone") is None
