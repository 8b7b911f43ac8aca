"""What comes back from a function that is called in a process of its own."""

from __future__ import annotations

import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import user
from postroj.container.apart import apart
from postroj.container.held import Held
from postroj.errors import CommandError, HostError, Interrupted
from tests.support import victims

if TYPE_CHECKING:
    from types import FrameType


@pytest.fixture(autouse=True)
def without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UID", 12345)


def test_apart_returns_what_another_process_returns() -> None:
    assert apart(lambda: [os.getppid(), None]) == [os.getpid(), None]


def test_apart_stays_in_this_process_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UID", 0)
    assert apart(os.getpid) == os.getpid()


def test_apart_raises_errors_with_all_that_they_tell() -> None:
    def fail() -> None:
        raise CommandError(["tool", "--option"], 3, "last words")

    with pytest.raises(CommandError, match="'tool' ended with status 3") as caught:
        apart(fail)
    error = caught.value
    assert (error.argv, error.status, error.evidence) == (("tool", "--option"), 3, "last words")


def test_apart_raises_errors_about_files() -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        apart(Path("/nowhere").stat)


def test_apart_says_that_its_process_was_killed() -> None:
    with pytest.raises(HostError, match=r"the process \d+ of this command was killed"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_apart_ends_its_process_when_this_one_is_interrupted() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        # not while Python forks, when it would not be raised
        if any(one.f_code.co_name == "recv" for one, _ in traceback.walk_stack(frame)):
            raise Interrupted(number)

    def disturb() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            signal.pidfd_send_signal(this.pidfd, signal.SIGTERM)
            time.sleep(0.02)

    this = Held(os.getpid())
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            apart(disturb)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert victims.descendants(os.getpid()) == []
