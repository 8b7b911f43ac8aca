"""Locks and claims, with owners that live, leave and are killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from postroj import locking

OWNER = """
import sys, time
from pathlib import Path
from postroj.locking import Claim
print(Claim.make(Path(sys.argv[1]), "owner").path, flush=True)
time.sleep(1000)
"""


def start_owner(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Return a process that holds a claim below `parent`, and the claimed directory."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(parent)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    with owner.stdout:
        return owner, Path(owner.stdout.readline().strip())


class TestExclusive:
    def test_exclusive_lock_has_one_owner_at_a_time(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        waited, order = threading.Event(), []

        def second() -> None:
            with locking.exclusive(path, waited.set):
                order.append("second")

        with locking.exclusive(path):
            thread = threading.Thread(target=second)
            thread.start()
            assert waited.wait(10), "on_wait was not called"
            order.append("first")
        thread.join(10)
        assert order == ["first", "second"]

    def test_exclusive_calls_on_wait_only_when_locked(self, tmp_path: Path) -> None:
        def fail() -> None:
            pytest.fail("nobody holds the lock")

        for _ in range(2):
            with locking.exclusive(tmp_path / "lock", fail):
                pass

    def test_exclusive_lock_is_released_by_an_exception(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), locking.exclusive(tmp_path / "lock"):
            raise KeyboardInterrupt
        assert self._is_free(tmp_path / "lock")

    def test_exclusive_lock_is_not_inherited_by_a_child(self, tmp_path: Path) -> None:
        with locking.exclusive(tmp_path / "lock"):
            child = subprocess.Popen(["sleep", "1000"], close_fds=False)
        try:
            assert self._is_free(tmp_path / "lock")
        finally:
            child.kill()
            child.wait()

    @staticmethod
    def _is_free(path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR)
        try:
            return locking.try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)


class TestTryLock:
    def test_try_lock_tells_shared_from_exclusive(self, tmp_path: Path) -> None:
        first, second = (
            os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2)
        )
        try:
            assert locking.try_lock(first, fcntl.LOCK_SH)
            assert locking.try_lock(second, fcntl.LOCK_SH)
            assert not locking.try_lock(second, fcntl.LOCK_EX)
        finally:
            os.close(first)
            os.close(second)


class TestClaim:
    def test_claim_exists_as_long_as_its_context(self, tmp_path: Path) -> None:
        with locking.Claim.make(tmp_path / "new" / "state", "guest") as claim:
            assert claim.path.is_dir()
            assert claim.path.stat().st_mode & 0o777 == 0o755
            assert locking.CLAIM_NAME.fullmatch(claim.path.name)
            (claim.path / "deep").mkdir()
            (claim.path / "deep" / "file").write_text("x")
        assert not claim.path.exists()

    def test_claim_removal_follows_no_links(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").write_text("x")
        with locking.Claim.make(tmp_path / "state", "guest") as claim:
            (claim.path / "link").symlink_to(precious)
        assert (precious / "file").exists()

    def test_claim_is_removed_when_an_exception_leaves_the_context(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), locking.Claim.make(tmp_path, "guest") as claim:
            raise KeyboardInterrupt
        assert not claim.path.exists()

    def test_claim_that_cannot_be_locked_leaves_no_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".lock").touch()
        monkeypatch.setattr(locking, "LOCK_NAME", "x" * 300)
        with pytest.raises(OSError, match="too long"):
            locking.Claim.make(tmp_path, "guest")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    def test_claims_of_many_processes_at_once(self, tmp_path: Path) -> None:
        errors: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(50):
                    with locking.Claim.make(tmp_path, "guest") as claim:
                        assert claim.path.is_dir()
                        locking.sweep(tmp_path)
                        assert claim.path.is_dir()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


class TestSweep:
    def test_sweep_of_a_missing_folder(self, tmp_path: Path) -> None:
        assert locking.sweep(tmp_path / "missing") == []
        assert not (tmp_path / "missing").exists()

    def test_sweep_spares_the_living_and_foreign_files(self, tmp_path: Path) -> None:
        (tmp_path / "something").mkdir()
        (tmp_path / "guest-0123456").mkdir()
        target = tmp_path / "elsewhere"
        target.mkdir()
        (tmp_path / "guest-01234567").symlink_to(target)
        with locking.Claim.make(tmp_path, "guest") as claim:
            assert locking.sweep(tmp_path) == []
            assert claim.path.is_dir()
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {".lock", "something", "guest-0123456", "guest-01234567", "elsewhere"}

    def test_sweep_removes_what_a_killed_owner_left(self, tmp_path: Path) -> None:
        owner, path = start_owner(tmp_path)
        try:
            (path / "rest").write_text("x")
            assert locking.sweep(tmp_path) == []
        finally:
            owner.send_signal(signal.SIGKILL)
            owner.wait()
        assert path.is_dir()
        asked: list[str] = []
        assert locking.sweep(tmp_path, asked.append) == [path.name]
        assert asked == [path.name]
        assert not path.exists()

    def test_sweep_removes_a_claim_without_its_lock_file(self, tmp_path: Path) -> None:
        (tmp_path / "guest-01234567" / "half").mkdir(parents=True)
        assert locking.sweep(tmp_path) == ["guest-01234567"]


class TestHeld:
    def test_live_claims_lists_living_owners(self, tmp_path: Path) -> None:
        with locking.Claim.make(tmp_path, "pull") as claim:
            (tmp_path / "pull-00000000").mkdir()
            (tmp_path / "other").mkdir()
            assert locking.live_claims(tmp_path) == [claim.path.name]
        assert locking.live_claims(tmp_path) == []

    def test_live_claims_of_a_missing_folder(self, tmp_path: Path) -> None:
        assert locking.live_claims(tmp_path / "none") == []

    def test_claim_that_stays_lives_with_who_inherited_its_lock(self, tmp_path: Path) -> None:
        with locking.Claim.make(tmp_path, "pull") as claim:
            owner = subprocess.Popen(["sleep", "1000"], pass_fds=[claim.descriptor])
            claim.stays = True
        assert locking.live_claims(tmp_path) == [claim.path.name]
        assert locking.sweep(tmp_path) == []
        owner.kill()
        owner.wait()
        assert locking.live_claims(tmp_path) == []
        assert locking.sweep(tmp_path) == [claim.path.name]
