"""The time that a machine gets to reboot and to shut down; the guests are fakes."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.spec import Accelerator
from postroj.errors import GuestError
from postroj.machine import client, roster
from postroj.machine.start import Launched, StartedMachine

if TYPE_CHECKING:
    from pathlib import Path


class FakeMachine:
    """Notes how long it may take to end, and does not reset in less."""

    def __init__(self, run_dir: Path, slowness: float) -> None:
        self.name = run_dir.name
        self.run_dir = run_dir
        self.slowness = slowness
        self.patience = 0.0

    def run(self, argv: list[str], **options: object) -> object:
        return SimpleNamespace(status=0)

    def has_ended(self, patience: float = 0) -> bool:
        self.patience = patience
        return True

    def console(self, limit: int) -> str:
        return "the end"


@pytest.fixture
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeMachine:
    """Return the machine that is entered by any name."""
    found = FakeMachine(tmp_path, request.param)
    monkeypatch.setattr(roster, "enter", lambda name: found)
    monkeypatch.setattr("postroj.locking.exclusive", lambda path: nullcontext())
    return found


FACTORS = pytest.mark.parametrize("machine", [1.0, 8.0], indirect=True)


@FACTORS
def test_reboot_has_more_time_where_the_machine_is_emulated(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[float] = []

    def connect(path: Path, deadline: float, has_ended: object) -> object:
        granted.append(deadline - time.monotonic())
        raise TimeoutError

    monkeypatch.setattr(client, "connect", connect)
    waited = f"was not ready within {60 * machine.slowness:g} s after a reboot"
    with pytest.raises(GuestError, match=waited):
        roster.reboot("box", 10, 60)
    assert machine.patience == pytest.approx(10 * machine.slowness, abs=1)
    assert granted == [pytest.approx(60 * machine.slowness, abs=1)]


@FACTORS
def test_shut_down_has_more_time_where_the_machine_is_emulated(machine: FakeMachine) -> None:
    roster.shut_down("box", 10)
    assert machine.patience == pytest.approx(10 * machine.slowness, abs=1)


@pytest.mark.parametrize("accelerator", Accelerator)
def test_reboot_of_a_probe_has_more_time_where_the_machine_is_emulated(
    accelerator: Accelerator,
) -> None:
    """Or the package would be blamed for the slowness of the host."""
    granted: list[float] = []

    def await_ready(deadline: float) -> object:
        granted.append(deadline - time.monotonic())
        raise KeyboardInterrupt

    fake: Any = SimpleNamespace(
        spec=SimpleNamespace(boot_timeout=60.0), machine=SimpleNamespace(accelerator=accelerator)
    )
    launched = SimpleNamespace(
        boot_timeout=Launched.boot_timeout.__get__(fake), await_ready=await_ready
    )
    started: Any = SimpleNamespace(
        has_ended=lambda patience: True,
        line=SimpleNamespace(close=lambda: None),
        _launched=launched,
    )
    with suppress(KeyboardInterrupt):
        StartedMachine.reboot(started, lambda: None)
    assert granted == [pytest.approx(60 * accelerator.slowness, abs=1)]
