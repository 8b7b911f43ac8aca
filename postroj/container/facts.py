"""What a run directory says of its guest. It is shown, and names it to those who ask: see `roster`.

No process is ever looked for by what it says.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE = "guest.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a guest is for."""

    image: str = ""
    purpose: str = ""
    """As `pkgprobe hello_1.0_all.deb`."""
    given: str = ""
    """The name that the user chose; '' if none was."""
    kept: bool = False
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""


def write_facts(run_dir: Path, facts: Facts) -> None:
    """Write them so that who reads sees all of them, old or new; for root alone."""
    unfinished = run_dir / f".{FILE}"
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(facts)))
    unfinished.replace(run_dir / FILE)


def read_facts(run_dir: Path) -> Facts | None:
    """Read them; None where there are none, or not as we write them."""
    try:
        facts = Facts(**json.loads((run_dir / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    kinds = {"image": str, "purpose": str, "given": str, "kept": bool, "began": float}
    fine = all(isinstance(getattr(facts, name), kind) for name, kind in kinds.items())
    return facts if fine else None
