"""Imports inside of `postroj.image` point from what uses images down to what they are made of."""

from __future__ import annotations

import ast
from pathlib import Path

import postroj.image

FOLDER = Path(postroj.image.__file__).parent

FLOORS = (
    {"architectures", "emulation", "outfile"},
    {"store"},
    {"unpack"},
    {"trust"},
    {"catalog"},
    {"sources"},
    {"export", "importer", "inspect", "obtain", "pull", "selection", "upkeep"},
)
"""Rooms and modules, the lowest first; each may import what is below it or beside it."""

LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room(path: Path) -> str:
    """Return the part of `postroj.image` in which a file lies."""
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the parts of `postroj.image` that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("postroj.image"):
            below = (node.module or "").split(".")[2:]
            found.update(below[:1] or [alias.name for alias in node.names])
    return found


def test_rooms_of_image_import_downward() -> None:
    files = [path for path in FOLDER.rglob("*.py") if path.parent != FOLDER or path.stem in LEVEL]
    upward = {
        f"{path.relative_to(FOLDER)} imports {other}"
        for path in files
        for other in imported(path)
        if LEVEL[other] > LEVEL[room(path)]
    }
    assert not upward


def test_rooms_of_image_are_all_on_a_floor() -> None:
    rooms = {room(path) for path in FOLDER.rglob("*.py")} - {"__init__"}
    assert rooms == set(LEVEL)
