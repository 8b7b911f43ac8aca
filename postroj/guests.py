"""Start a guest, or get at a running one: a container, or a machine with a kernel of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from postroj.container.guest import Guest
    from postroj.container.spec import GuestSpec, Machine
    from postroj.container.start import StartedGuest
    from postroj.machine.start import StartedMachine
    from postroj.model import Image


def start_guest(spec: GuestSpec) -> AbstractContextManager[StartedGuest | StartedMachine]:
    """Start a guest; leaving the context ends it, unless `spec.keep` is set.

    :raises HostError: if this host cannot run such guests.
    :raises GuestError: if the guest does not become ready.
    """
    if spec.machine:
        from postroj.machine.start import start_machine

        return start_machine(spec, spec.machine)
    from postroj.container.start import start_guest

    return start_guest(spec)


@contextmanager
def machine_for(image: Image, *, wanted: bool) -> Iterator[tuple[Image, Machine | None]]:
    """Yield an image and the machine for it; the same image and None if no machine is `wanted`.

    :raises PostrojError: as `kernels.with_kernel`.
    """
    if not wanted:
        yield image, None
        return
    from postroj.kernels import with_kernel

    with with_kernel(image) as found:
        yield found


def is_machine(own: str) -> bool:
    """Whether a guest, by its own name, has a kernel of its own."""
    from postroj import paths
    from postroj.container.rundir import read_facts

    facts = read_facts(paths.state_dir() / own)
    return bool(facts and facts.machine)


def enter(name: str) -> Guest:
    """Return a guest that another process started, by either name, to run commands in it.

    :raises UsageError: if there is no such guest.
    :raises GuestError: if it cannot be entered now, since it boots or ends.
    """
    from postroj.container import roster, user_namespace

    (own,) = roster.require([name])
    if is_machine(own):
        from postroj.machine import roster as machines

        user_namespace.enter()  # files that are copied have owners of such a namespace
        return machines.enter(own)
    return roster.enter(own)


def stop(own: str, patience: float = 0) -> None:
    """Stop a guest by its own name, and wait until nothing is left of it.

    The guest may take `patience` seconds to shut down; after that it is killed.

    :raises GuestError: if something of it is left.
    """
    from postroj.container import roster

    if patience and is_machine(own):
        from postroj.machine import roster as machines

        machines.shut_down(own, patience)
        patience = 0
    roster.stop(own, patience)


def reboot(own: str, patience: float, boot_timeout: float) -> None:
    """Reboot a kept guest with all its files, and wait until it is ready.

    The guest may take `patience` seconds to shut down; after that it is rebooted by force.

    :raises GuestError: if it is not ready within `boot_timeout` seconds.
    """
    if is_machine(own):
        from postroj.machine import roster as machines

        machines.reboot(own, patience, boot_timeout)
        return
    from postroj.container.reboot import reboot

    reboot(own, patience, boot_timeout)
