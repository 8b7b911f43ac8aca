"""Start or enter a guest: a container, or a machine."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from postroj import guests
from postroj.container import rundir, user_namespace
from postroj.container.rundir import Facts
from postroj.container.spec import Accelerator, GuestSpec, Machine
from postroj.errors import GuestError, UsageError
from postroj.machine import qemu
from postroj.machine.guest import MachineGuest
from postroj.model import Image, Manager

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINE = Machine(
    architecture="x86_64",
    accelerator=Accelerator.TCG,
    kernel=Path("/kernel"),
    tools=(),
)
IMAGE = Image(name="x", architecture="x86_64", layers=(Path("/x"),), manager=Manager.APT)


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Answer the only question of who enters: how long the machine has been up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as lines:
                    for _ in lines:
                        value = time.monotonic() - 100
                        connection.sendall(json.dumps({"value": value}).encode() + b"\n")

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("given", ["", "box"])
def test_enter_a_machine_by_either_name(given: str) -> None:
    with (
        rundir.claim(Facts(given=given, machine=True, slowness=8.0)) as claim,
        answering(claim.path / qemu.ANSWERS),
    ):
        guest = guests.enter(given or claim.path.name)
        assert guest.name == claim.path.name
        assert isinstance(guest, MachineGuest)
        assert guest.has_own_kernel
        assert guest.slowness == 8.0
        assert guest.clock_offset == pytest.approx(100, abs=1)
        assert not guest.has_ended()
        guest.line.close()


def test_enter_a_machine_as_root_of_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user gets the owners of files in the guest only there."""
    calls: list[str] = []
    monkeypatch.setattr(user_namespace, "enter", lambda: calls.append("namespace"))
    monkeypatch.setattr("postroj.machine.roster.enter", calls.append)
    with rundir.claim(Facts(machine=True)) as claim:
        guests.enter(claim.path.name)
        assert calls == ["namespace", claim.path.name]


def test_enter_a_machine_that_does_not_answer() -> None:
    with rundir.claim(Facts(machine=True)) as claim:
        with pytest.raises(GuestError) as caught:
            guests.enter(claim.path.name)
        name = claim.path.name
    assert caught.value.message == (
        f"the guest '{name}' cannot be entered: it is not ready yet, or is ending"
    )


def test_enter_a_container_is_left_to_its_roster(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    monkeypatch.setattr("postroj.container.roster.enter", entered.append)
    with rundir.claim(Facts()) as claim:
        guests.enter(claim.path.name)
        assert entered == [claim.path.name]


def test_enter_a_guest_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as caught:
        guests.enter("box")
    assert caught.value.message == "no guest is named 'box'"


@pytest.mark.parametrize(("machine", "started"), [(None, "container"), (MACHINE, "machine")])
def test_start_guest_of_either_kind(
    monkeypatch: pytest.MonkeyPatch, machine: Machine | None, started: str
) -> None:
    monkeypatch.setattr("postroj.container.start.start_guest", lambda spec: "container")
    monkeypatch.setattr("postroj.machine.start.start_machine", lambda spec, machine: "machine")
    found: object = guests.start_guest(GuestSpec(layers=(), machine=machine))
    assert found == started


def test_machine_for_an_image_that_wants_none() -> None:
    with guests.machine_for(IMAGE, wanted=False) as found:
        assert found == (IMAGE, None)


def test_machine_for_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def with_kernel(image: Image) -> Iterator[tuple[Image, Machine]]:
        yield image, MACHINE

    monkeypatch.setattr("postroj.kernels.with_kernel", with_kernel)
    with guests.machine_for(IMAGE, wanted=True) as found:
        assert found == (IMAGE, MACHINE)
