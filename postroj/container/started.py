"""What a guest can that this process has started, whatever kind of guest it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from postroj.container.enter import nsenter
from postroj.container.failure import unready
from postroj.container.guest import STOP_TIMEOUT, OwnGuest
from postroj.container.manager import POWER_OFF, order
from postroj.errors import CommandError

if TYPE_CHECKING:
    from postroj.container.guest import Command
    from postroj.container.spec import GuestSpec

log = logging.getLogger(__name__)


class Launched(Protocol):
    """The launch script of a guest, and everything on the host that was set up for it."""

    @property
    def spec(self) -> GuestSpec:
        """What was asked for."""

    def console(self) -> str:
        """Return the last lines of the guest's console."""

    def keep(self) -> bool:
        """Let the guest live on by itself; return whether it does."""


L = TypeVar("L", bound=Launched)


class Started(OwnGuest, Generic[L]):
    """A guest that this process has started."""

    def __init__(self, launched: L) -> None:
        self.state = ""
        self.failed_at_boot = ()
        self.kept = False
        self.proxies = launched.spec.proxies
        self._launched = launched

    def read_state(self) -> None:
        """Read the state of the manager after a boot.

        :raises GuestError: if the guest is not usable in this state.
        """
        spec, console = self._launched.spec, self._launched.console
        if not spec.boot:
            return
        self.state = self.system_state()
        if self.state in ("maintenance", "stopping"):
            raise unready.unusable(self, self.state, console())
        if self.state == "degraded":
            if spec.emulated and not self.is_active("systemd-journald.service"):
                raise unready.without_services(console())
            self.failed_at_boot = tuple(self.failed_units())
            log.info("guest '%s' is degraded: %s", self.name, " ".join(self.failed_at_boot))

    def begin(self, command: Command) -> None:
        """Start a command as a unit that runs on by itself; if it cannot start, end the guest.

        :raises CommandError: if the command cannot start.
        """
        try:
            argv, timeout = nsenter.unit_argv(command), self._launched.spec.boot_timeout
            self.run(argv, secrets=command.secrets, timeout=timeout)
        except CommandError:
            self.kill()
            self.has_ended(STOP_TIMEOUT)
            raise

    def keep(self) -> None:
        """Keep the guest, if that was requested and it has not ended."""
        if self._launched.spec.keep and not self.has_ended():
            self.kept = self._launched.keep()

    def power_off(self, patience: float) -> None:
        """See `OwnGuest.power_off`."""
        order(self.run, self.has_ended, POWER_OFF, patience)
        if not self.has_ended(patience * self.slowness):
            log.info("guest '%s' did not shut down within %g s", self.name, patience)
            self.kill()
