"""What postroj knows of one package manager stands in that manager's folder."""

from __future__ import annotations

import re
from pathlib import Path

from postroj import probe
from postroj.model import Manager
from postroj.probe.managers import MANAGERS

ROOM = Path(probe.__file__).parent
NAMED = re.compile(rf"\bManager\.({'|'.join(Manager.__members__)})\b")


def test_no_file_of_probe_names_a_manager_outside_of_managers() -> None:
    files = {
        str(path.relative_to(ROOM)) for path in ROOM.rglob("*.py") if NAMED.search(path.read_text())
    }
    assert files == {"managers/__init__.py"}


def test_each_manager_of_the_model_has_its_line() -> None:
    assert set(MANAGERS) == set(Manager)
