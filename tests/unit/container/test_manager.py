"""A manager that does not answer is asked again, unless there is none."""

from __future__ import annotations

import itertools

import pytest

from postroj.container import manager
from postroj.container.manager import order, systemctl
from postroj.errors import CommandError, GuestError
from tests.support.fake_guest import FakeGuest

SHOW = ["show", "--property=SystemState"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "INTERVAL", 0)


def guest(*answers: tuple[int, str] | Exception) -> FakeGuest:
    """Return a guest that gives these answers, and the last one for ever."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))
    return FakeGuest(answer=lambda argv: next(left))


def test_manager_that_restarts_itself_is_asked_again() -> None:
    fake = guest((1, ""), (1, ""), (0, "SystemState=running\n"))
    assert systemctl(fake.run, SHOW, timeout=1).text == "SystemState=running"
    assert fake.ran == [("systemctl", *SHOW)] * 3


def test_manager_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "PATIENCE", 0)
    with pytest.raises(CommandError, match="ended with status 1"):
        systemctl(guest((1, "Connection refused")).run, SHOW, timeout=1)
    assert systemctl(guest((1, "")).run, SHOW, ok=range(256), timeout=1).status == 1


@pytest.mark.parametrize("status", [3, 127])
def test_other_failures_are_answers(status: int) -> None:
    fake = guest((status, ""))
    assert systemctl(fake.run, SHOW, ok=range(256), timeout=1).status == status
    with pytest.raises(CommandError, match=f"status {status}"):
        systemctl(fake.run, SHOW, timeout=1)
    assert len(fake.ran) == 2


def test_order_is_given_again_until_the_manager_takes_it() -> None:
    fake = guest((1, ""), (0, ""))
    order(fake.run, fake.has_ended, manager.REBOOT, 1)
    assert len(fake.ran) == 2


@pytest.mark.parametrize("ended", [True, False])
def test_order_may_end_the_guest(ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = guest(GuestError("the guest ended meanwhile"))
    monkeypatch.setattr(fake, "has_ended", lambda patience=0: ended)
    if ended:
        order(fake.run, fake.has_ended, manager.POWER_OFF, 1)
    else:
        with pytest.raises(GuestError, match="ended meanwhile"):
            order(fake.run, fake.has_ended, manager.POWER_OFF, 1)
