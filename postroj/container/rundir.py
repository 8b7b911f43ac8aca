"""The run directory of a guest, which bears its name and is gone with it."""

from __future__ import annotations

import os

from postroj import paths
from postroj.container import garbage
from postroj.errors import HostError
from postroj.locking import Claim

PREFIX = "postroj"
SOCKET_PATH = 108
"""Bytes of the path of a socket with its NUL, unix(7)."""


def claim() -> Claim:
    """Make the run directory.

    :raises HostError: if there is no way to.
    """
    state_dir = paths.state_dir()
    longest = state_dir / f"{PREFIX}-12345678" / "notify"
    message = f"the state directory '{state_dir}' cannot be used"
    hint = "`POSTROJ_STATE_DIR` names another one"
    if len(os.fsencode(longest)) >= SOCKET_PATH:
        raise HostError(message, evidence="its path is too long for a socket", hint=hint)
    try:
        garbage.sweep()
        return Claim.make(state_dir, PREFIX)
    except OSError as error:
        raise HostError(message, evidence=str(error), hint=hint) from None
