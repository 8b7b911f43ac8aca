"""The run directory of a guest: it has the guest's name, and a file that describes the guest.

The file is shown to users, and maps the names that users chose to guests (see `roster`). No process
is ever found by what it says.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from postroj import locking, paths
from postroj.container import leftovers, naming
from postroj.container.boot import idmap
from postroj.errors import HostError, UsageError
from postroj.locking import Claim

if TYPE_CHECKING:
    from pathlib import Path

SOCKET_PATH = 108
"""Bytes of a socket's path with its NUL, unix(7)."""

MACHINE_SOCKET = "ssh.0123456789abcdef"
"""A name as ssh gives its socket at first."""

GIVEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A name that a user may give a guest: a label of a host name."""
NAMING = ".naming"
"""Lock file for giving a guest a name."""

FILE = "guest.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the run directory says of its guest."""

    image: str = ""
    purpose: str = ""
    """What the guest is for, as `pkgprobe hello_1.0_all.deb`."""
    given: str = ""
    """The name that the user chose; '' if the user chose none."""
    kept: bool = False
    machine: bool = False
    """Whether it has a kernel of its own."""
    slowness: float = 1.0
    """By how much longer postroj waits for it than for a container."""
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""


def write_facts(run_dir: Path, facts: Facts) -> None:
    """Write the facts, which only root can read; a reader gets all old or all new ones."""
    unfinished = run_dir / f".{FILE}"
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(facts)))
    unfinished.replace(run_dir / FILE)


def read_facts(run_dir: Path) -> Facts | None:
    """Read the facts; None if the file is missing or is not as `write_facts` writes it."""
    try:
        facts = Facts(**json.loads((run_dir / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    kinds = {
        "image": str,
        "purpose": str,
        "given": str,
        "kept": bool,
        "machine": bool,
        "slowness": float,
        "began": float,
    }
    is_valid = all(isinstance(getattr(facts, name), kind) for name, kind in kinds.items())
    return facts if is_valid else None


def require_valid(given: str) -> None:
    """Refuse a user's name for a guest that is not a host name, or has the form of postroj's own.

    :raises UsageError: if it is refused.
    """
    if not GIVEN.fullmatch(given) or naming.is_guest(given):
        message = f"'{given}' is not a valid name for a guest"
        hint = "use small letters, digits and dashes, at most 63, and no dash at the start"
        raise UsageError(message, hint=hint)


def claim(facts: Facts) -> Claim:
    """Make a run directory with these facts in it, and lock it.

    :raises HostError: if the state directory cannot be used.
    :raises UsageError: if a living guest has the name that the user chose.
    """
    state_dir = paths.state_dir()
    longest = state_dir / naming.generate() / (MACHINE_SOCKET if facts.machine else "notify")
    message = f"the state directory '{state_dir}' cannot be used"
    hint = "`POSTROJ_STATE_DIR` names another one"
    if len(os.fsencode(longest)) >= SOCKET_PATH:
        raise HostError(message, evidence="its path is too long for a socket", hint=hint)
    try:
        leftovers.sweep()
        state_dir.mkdir(parents=True, exist_ok=True)
        # locked until the facts are written, or two guests could get the same name
        lock = locking.exclusive(state_dir / NAMING) if facts.given else nullcontext()
        with lock:
            if facts.given:
                _require_free(state_dir, facts.given)
            claimed = Claim.make(state_dir, naming.PREFIX, partial(_has_free_users, state_dir))
            try:
                write_facts(claimed.path, facts)
            except OSError:
                claimed.release()
                raise
            return claimed
    except OSError as error:
        raise HostError(message, evidence=str(error), hint=hint) from None


def _has_free_users(state_dir: Path, name: str) -> bool:
    """Whether no other guest has the users that this one gets if they are private."""
    first = idmap.base(name)
    others = (path.name for path in state_dir.iterdir() if naming.is_guest(path.name))
    return first not in map(idmap.base, others) and not idmap.is_taken(first)


def living(state_dir: Path) -> list[str]:
    """Return the names of the guests that live, or are about to boot or to be gone."""
    return [name for name in locking.live_claims(state_dir) if naming.is_guest(name)]


def by_given(state_dir: Path) -> dict[str, str]:
    """Return the names of the guests that live by the names that users chose for them."""
    found = {name: read_facts(state_dir / name) for name in living(state_dir)}
    return {facts.given: name for name, facts in found.items() if facts and facts.given}


def _require_free(state_dir: Path, given: str) -> None:
    if name := by_given(state_dir).get(given):
        message = f"the guest '{name}' already has the name '{given}'"
        raise UsageError(message, hint=f"`postroj stop {given}` ends it")
