"""Names that users choose: one guest has one, of those that live."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from postroj.container import roster, rundir
from postroj.container.cgroup import group
from postroj.container.facts import Facts
from postroj.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.locking import Claim


@pytest.fixture(autouse=True)
def without_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(group, "mounted", dict)


def test_a_name_is_had_once_and_is_free_again(tmp_path: Path) -> None:
    with rundir.claim(Facts(given="web")) as web, rundir.claim(Facts(given="db")) as db:
        assert rundir.by_given(tmp_path) == {"web": web.path.name, "db": db.path.name}
        with pytest.raises(UsageError, match=f"'{web.path.name}' is named 'web' already"):
            rundir.claim(Facts(given="web"))
        assert len(list(tmp_path.glob("postroj-*"))) == 2
        assert roster.require(["db", web.path.name]) == [db.path.name, web.path.name]
    with rundir.claim(Facts(given="web")) as other:
        assert rundir.by_given(tmp_path) == {"web": other.path.name}


def test_guests_without_a_name_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    with rundir.claim(Facts()), rundir.claim(Facts()):
        assert rundir.by_given(tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_of_many_that_want_it_at_once_one_has_it() -> None:
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


def test_what_a_file_says_of_a_dead_guest_names_nobody(tmp_path: Path) -> None:
    with rundir.claim(Facts(given="web")) as web:
        lie = (web.path / "guest.json").read_text()
    dead = tmp_path / "postroj-00000000"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "guest.json").write_text(lie)
    assert rundir.by_given(tmp_path) == {}
