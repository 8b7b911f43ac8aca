"""The testbed that postroj serves to autopkgtest: a guest that this process has started.

It is not kept, so it ends with this process, whatever ends that. The commands of autopkgtest in it
are processes of their own, which find the guest by its name.
"""

from __future__ import annotations

import logging
import shlex
import signal
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import process
from postroj.autopkgtest import files
from postroj.autopkgtest.terminal import at_terminal
from postroj.container.enter.nsenter import LOGIN_SHELL
from postroj.container.guest import Command
from postroj.container.start import start_guest
from postroj.errors import PostrojError, UsageError
from postroj.model import Manager
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.plan import Plan
from postroj.transfer import copy
from postroj.transfer.copy import Place
from postroj.warm import warmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType
    from typing import Self

    from postroj.container.guest import OwnGuest
    from postroj.container.spec import GuestSpec
    from postroj.model import Image

log = logging.getLogger(__name__)

CAPABILITIES = (
    "isolation-container",
    "reboot",
    "revert",
    "revert-full-system",
    "root-on-testbed",
)
SCRATCH = "/var/tmp/autopkgtest"  # noqa: S108 in a guest, where it outlives a reboot
"""The folder in the guest that anybody may use."""
MARK = "/run/autopkgtest-reboot-prepare-mark"
"""A file in the guest; a test that reboots the guest by itself waits until it is gone."""
USERS = range(1000, 60000)
"""Numbers of the users that are people, Debian Policy 9.2.2."""
PASSWD, LONGEST = "/etc/passwd", 1 << 20
SETUP = Path(__file__).with_name("setup.sh")
SETUP_TIMEOUT = 900.0
"""Seconds for a command that sets the image up, and for apt to download package lists."""
PROXY_FILE = "/etc/apt/apt.conf.d/90postroj-proxy"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user asked for."""

    image: str
    architecture: str
    """As `uname -m` has it; '' for this host's."""
    spec: GuestSpec
    """Of the guests, but for what comes from the image."""
    setup: tuple[str, ...]
    """Shell commands that change the image first."""
    enter: tuple[str, ...]
    """The command of the host that runs a command in the guest whose name follows."""
    copy_timeout: float
    """Seconds for one copy."""


class GuestTestbed:
    """Implements `protocol.Testbed`; a context that ends the guest and frees the image."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._in_use = ExitStack()
        """Holds the image, which stays the same after a revert."""
        self._image: Image | None = None
        self._running = ExitStack()
        self._guest: OwnGuest | None = None
        self._user = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._in_use:
            self.close()

    @property
    def capabilities(self) -> Sequence[str]:
        """See `protocol.Testbed`."""
        return [*CAPABILITIES, *([f"suggested-normal-user={self._user}"] if self._user else [])]

    @property
    def execute_argv(self) -> Sequence[str]:
        """See `protocol.Testbed`."""
        return [*self._wanted.enter, self._open_guest().name]

    def open(self) -> str:
        """See `protocol.Testbed`."""
        if self._guest:
            message = "autopkgtest opened a testbed that is open already"
            raise UsageError(message)
        image = self._image = self._image or self._obtain()
        spec = replace(
            self._wanted.spec,
            layers=image.layers,
            image=image.name,
            systemd=image.systemd,
            emulated=image.emulated,
        )
        guest = self._guest = self._running.enter_context(start_guest(spec))
        guest.run(["install", "--directory", "--mode=777", SCRATCH])
        if guest.proxies:
            text = proxy_lines(guest.proxies.get("http_proxy"), guest.proxies.get("https_proxy"))
            guest.run(["sh", "-c", 'cat >"$1"', "sh", PROXY_FILE], stdin=text.encode())
        self._user = usual_user(guest.read_file(PASSWD, LONGEST).decode(errors="replace"))
        return SCRATCH

    def _obtain(self) -> Image:
        """Return the image with the user's set-up and recent package lists.

        :raises UsageError: if it has no apt.
        """
        wanted, spec = self._wanted, self._wanted.spec
        image = self._in_use.enter_context(obtain(wanted.image, wanted.architecture))
        if image.manager is not Manager.APT:
            message = f"the image '{image.name}' has no apt, which autopkgtest needs"
            raise UsageError(message, hint="`postroj list-images` shows the manager of each image")
        plan = Plan(
            questions=(),
            manners=Manners(),
            network=spec.network,
            timeout=SETUP_TIMEOUT,
            boot_timeout=spec.boot_timeout,
            proxies=spec.proxies,
            setup=(SETUP.read_text(encoding="utf-8"), *wanted.setup),
        )
        return warmed(image, (), plan, self._in_use)

    def close(self) -> None:
        """See `protocol.Testbed`."""
        self._guest = None
        self._running.close()

    def revert(self) -> str:
        """See `protocol.Testbed`."""
        self._open_guest()
        self.close()
        return self.open()

    def reboot(self, *, by_test: bool) -> None:
        """See `protocol.Testbed`."""
        guest = self._open_guest()
        guest.reboot(partial(guest.run, ["rm", "-f", MARK]) if by_test else None)

    def copy_in(self, source: str, target: str) -> None:
        """See `protocol.Testbed`."""
        guest = self._open_guest()
        with _time_limit(self._wanted.copy_timeout):
            if source.endswith("/"):
                place = Place(guest.name, target.rstrip("/") or "/")
                copy.copy_in(guest, f"{source}.", place, owners=False)
            else:
                with Path(source).open("rb") as file:
                    files.send_file(guest, file, target)

    def copy_out(self, source: str, target: str) -> None:
        """See `protocol.Testbed`."""
        guest = self._open_guest()
        with _time_limit(self._wanted.copy_timeout):
            if source.endswith("/"):
                copy.copy_out(guest, Place(guest.name, f"{source}."), target, owners=False)
            else:
                with Path(target).open("wb") as file:
                    files.fetch_file(guest, source, file)

    def shell(self, folder: str, variables: Sequence[str]) -> None:
        """See `protocol.Testbed`."""
        command = Command(argv=LOGIN_SHELL, env=dict(map(assignment, variables)), chdir=folder)
        guest = self._open_guest()
        try:
            with at_terminal():
                guest.attach(command)
        except (PostrojError, OSError) as error:
            log.warning("no shell: %s", error)

    def explain(self) -> None:
        """See `protocol.Testbed`."""
        if self._guest:
            with suppress(OSError):
                lines = filter(str.strip, self._guest.console(process.LIMIT).splitlines())
                log.warning("%s", process.last_lines("\n".join(lines)))

    def _open_guest(self) -> OwnGuest:
        if self._guest is None:
            message = "autopkgtest used a testbed that is not open"
            raise UsageError(message)
        return self._guest


def usual_user(passwd: str) -> str:
    """Return the person with the lowest number in a passwd(5); '' if there is none."""
    found = [
        (int(fields[2]), fields[0])
        for fields in (line.split(":") for line in passwd.splitlines())
        if len(fields) > 2 and fields[2].isdecimal() and int(fields[2]) in USERS
    ]
    return min(found)[1] if found else ""


def assignment(text: str) -> tuple[str, str]:
    """Return name and value of a variable that autopkgtest wrote for a shell: `NAME="value"`."""
    name, _, value = text.partition("=")
    return name, "".join(shlex.split(value))


def proxy_lines(http: str | None, https: str | None) -> str:
    """Return a configuration of apt with these proxies."""
    ways = {"http": http, "https": https}
    return "".join(f'Acquire::{kind}::Proxy "{url}";\n' for kind, url in ways.items() if url)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise a `TimeoutError` in this thread, the main one, if a block takes longer."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
