"""Start a guest from its spec, wait until it is ready, and end or keep it."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from postroj import process
from postroj.container import layer, user_namespace
from postroj.container.boot import launch
from postroj.container.entered import EnteredGuest
from postroj.container.failure import ending
from postroj.container.guest import STOP_TIMEOUT
from postroj.container.launched import Launched, launch_guest, ready_again_when, ready_when
from postroj.container.manager import REBOOT, order
from postroj.container.started import Started
from postroj.errors import GuestError, GuestLost, PostrojError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from postroj.container.guest import Written
    from postroj.container.leader import Leader
    from postroj.container.spec import GuestSpec

SHUTDOWN_TIMEOUT = 1800.0 + 90.0
"""Seconds after which a manager reboots by force, and systemd-shutdown kills what is left.

`JobTimeoutSec=` of reboot.target
"""

log = logging.getLogger(__name__)


@contextmanager
def start_guest(spec: GuestSpec) -> Iterator[StartedGuest]:
    """Start a guest; leaving the context ends it, unless `spec.keep` is set.

    :raises HostError: if this host cannot run guests.
    :raises GuestError: if the guest does not become ready.
    """
    with ExitStack() as stack:
        deadline = time.monotonic() + spec.boot_timeout
        launched = launch_guest(spec, stack)
        try:
            leader = launched.await_ready(ready_when(spec), deadline, None)
            guest = StartedGuest(launched, leader)
            guest.read_state()
        except GuestError as error:
            error.console = launched.console()
            raise
        if (guest.run_dir / launch.UNPACKED).exists():
            text = "no squashfs can be mounted on this host: guest '%s' has its image in memory"
            log.warning(text, guest.name)
        try:
            yield guest
        except PostrojError:
            guest.keep()
            raise
        guest.keep()


def become_root() -> None:
    """Become root of a user namespace, which guests need, unless root of the host runs postroj.

    This process must not have more than one thread.

    :raises HostError: if this host does not let this user.
    """
    user_namespace.enter()


class StartedGuest(EnteredGuest, Started[Launched]):
    """A guest that this process has started."""

    def __init__(self, launched: Launched, leader: Leader) -> None:
        super().__init__(launched.run_dir, leader)
        Started.__init__(self, launched)

    def reboot(self, begin: Callable[[], object] | None = None) -> None:
        """See `OwnGuest.reboot`."""
        self._launched.listener.open()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        if begin:
            begin()
        else:
            order(self.run, self.has_ended, REBOOT, self._launched.spec.boot_timeout)
        try:
            missing = ready_again_when(self._launched.spec)
            self.leader = self._launched.await_ready(missing, deadline, self.leader)
            self.read_state()
        except GuestError as error:
            # the script outlives a guest that ends by itself
            script_ended = process.wait(self._launched.script, ending.AFTERMATH) is not None
            from_outside = ending.was_killed(self.run_dir) or script_ended
            kind = GuestError if from_outside else GuestLost
            message = f"after a reboot {error.message}"
            raise kind(message, evidence=error.evidence, hint=error.hint) from None

    def is_stopping(self) -> bool:
        """See `Guest.is_stopping`; always false without a manager."""
        return self._launched.spec.boot and super().is_stopping()

    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        """See `OwnGuest.layer_argv`; the script's mount namespace still has the mounts."""
        self.kill()
        if not self.has_ended(STOP_TIMEOUT):
            message = "the guest does not end, so its files may still change"
            raise GuestError(message)
        return layer.tar_argv(self.upper, only)

    @property
    def upper(self) -> Path:
        """Path of the writable layer on the host."""
        return self._launched.written

    def written(self) -> dict[str, Written]:
        """See `OwnGuest.written`."""
        from postroj.container.observe import written

        self.require()
        try:
            return written.written(self.upper, self._launched.lowers)
        except OSError:
            if self.has_ended(ending.AFTERMATH):  # and its files with it
                raise self._ended_error() from None
            raise

    def _ended_error(self, output: str = "") -> GuestError:
        launched = self._launched
        return ending.explain(launched.script, launched.spec, launched.run_dir, output)
