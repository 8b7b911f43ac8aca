"""Code above `container` asks a guest through `container.guest` alone, whatever kind it is."""

from __future__ import annotations

import re
from pathlib import Path

HOUSE = Path(__file__).parents[2] / "postroj"
ABOVE = [
    *sorted((HOUSE / "probe").rglob("*.py")),
    *sorted((HOUSE / "transfer").rglob("*.py")),
    *(HOUSE / f"{name}.py" for name in ("matrix", "warm", "prepare", "selftest")),
]
WORDS_OF_PACKAGES = ("probe/ask/kernel.py", "probe/ask/lacking.py")
"""Tables of what packages say; they ask no guest."""
KIND_OF_GUEST = re.compile(
    r"/proc\b|pidfd|nsenter|setns|namespace|\bleader\b"
    r"|postroj\.container\.(?:enter|observe|cgroup(?!\.limits)|network|failure|leader)\b"
)
"""What only a guest has that shares the host's kernel; limits are part of what is asked for."""


def test_nothing_above_container_knows_how_a_guest_is_entered() -> None:
    assert len(ABOVE) > 50
    found = [
        f"{path.relative_to(HOUSE)}:{number}: {line.strip()}"
        for path in ABOVE
        if str(path.relative_to(HOUSE)) not in WORDS_OF_PACKAGES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if KIND_OF_GUEST.search(line)
    ]
    assert found == []
