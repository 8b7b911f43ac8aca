"""Talk to the service manager of a guest, which may be restarting itself.

Packages make it do so, and `systemctl daemon-reexec` does not wait for the end of that. Until then
it refuses connections, and an order is lost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from postroj.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from postroj.process import Completed

NOW = ("start", "--no-block", "--job-mode=replace-irreversibly")
REBOOT = (*NOW, "reboot.target")
"""The job that `systemctl reboot` starts after it has asked logind, systemctl(1). logind may take
25 seconds to answer if D-Bus or logind itself is restarting."""
POWER_OFF = (*NOW, "poweroff.target")
FAILED = 1
"""What systemctl(1) exits with if the manager does not answer, among other reasons."""
ABSENT = b"not been booted with systemd"
"""What it says in a guest without a manager."""
INTERVAL = 0.2
PATIENCE = 5.0
"""Seconds that the manager may take to restart itself."""


def systemctl(
    run: Callable[..., Completed],
    words: Sequence[str],
    *,
    timeout: float,
    ok: Collection[int] = (0,),
) -> Completed:
    """Run `systemctl` in a guest, and again while the manager does not answer.

    `run` is the method of the guest, or a function with the same parameters.

    :raises CommandError: if the status is not one of those that are `ok`.
    """
    argv = ["systemctl", *words]
    deadline = time.monotonic() + PATIENCE
    while (done := run(argv, ok={*ok, FAILED}, timeout=timeout)).status == FAILED:
        if time.monotonic() > deadline or ABSENT in done.stderr:
            return run(argv, ok=ok, timeout=timeout)
        time.sleep(INTERVAL)
    return done


def order(
    run: Callable[..., Completed],
    has_ended: Callable[[float], bool],
    words: Sequence[str],
    timeout: float,
) -> None:
    """Give an order that may end the guest before it gets an answer.

    `run` and `has_ended` are the methods of the guest.

    :raises CommandTimeout: if the manager has not taken it within `timeout` seconds.
    """
    try:
        systemctl(run, words, ok=range(256), timeout=timeout)
    except GuestError:
        if not has_ended(timeout):
            raise
