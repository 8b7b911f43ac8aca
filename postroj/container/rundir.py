"""The run directory of a guest, which bears its name and is gone with it."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING

from postroj import locking, paths
from postroj.container import garbage
from postroj.container.cgroup import group
from postroj.container.facts import read_facts, write_facts
from postroj.errors import HostError, UsageError
from postroj.locking import Claim

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.container.facts import Facts

PREFIX = "postroj"
SOCKET_PATH = 108
"""Bytes of the path of a socket with its NUL, unix(7)."""

GIVEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What a user may name a guest: a label of a host name."""
NAMING = ".naming"
"""Lock of those who give a guest a name."""


def judge_given(given: str) -> None:
    """Refuse a name that is none, or of the kind that guests have anyway.

    :raises UsageError: always then.
    """
    if not GIVEN.fullmatch(given) or group.NAME.fullmatch(given):
        message = f"'{given}' cannot be the name of a guest"
        hint = "small letters, digits and dashes can, 63 at most, and no dash comes first"
        raise UsageError(message, hint=hint)


def claim(facts: Facts) -> Claim:
    """Make the run directory, with the facts in it.

    :raises HostError: if there is no way to.
    :raises UsageError: if a guest that lives has the name that was given.
    """
    state_dir = paths.state_dir()
    longest = state_dir / f"{PREFIX}-12345678" / "notify"
    message = f"the state directory '{state_dir}' cannot be used"
    hint = "`POSTROJ_STATE_DIR` names another one"
    if len(os.fsencode(longest)) >= SOCKET_PATH:
        raise HostError(message, evidence="its path is too long for a socket", hint=hint)
    try:
        garbage.sweep()
        state_dir.mkdir(parents=True, exist_ok=True)
        # held until the facts are there, or two could be given one name at once
        lock = locking.exclusive(state_dir / NAMING) if facts.given else nullcontext()
        with lock:
            if facts.given:
                _require_free(state_dir, facts.given)
            claimed = Claim.make(state_dir, PREFIX)
            write_facts(claimed.path, facts)
            return claimed
    except OSError as error:
        raise HostError(message, evidence=str(error), hint=hint) from None


def by_given(state_dir: Path) -> dict[str, str]:
    """Names of the guests that live, by those that users chose for them."""
    names = [name for name in locking.live_claims(state_dir) if group.NAME.fullmatch(name)]
    told = {name: read_facts(state_dir / name) for name in names}
    return {facts.given: name for name, facts in told.items() if facts and facts.given}


def _require_free(state_dir: Path, given: str) -> None:
    if name := by_given(state_dir).get(given):
        message = f"the guest '{name}' is named '{given}' already"
        raise UsageError(message, hint=f"`postroj stop {given}` ends it")
