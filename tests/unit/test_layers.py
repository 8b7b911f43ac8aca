"""Imports point down, doors stay doors, modules stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 350

WORDS = {"errors", "model", "urls", "verdict"}
DOORS = {"process", "streams", "net", "http_errors", "paths", "locking", "console"}
GROUND = WORDS | DOORS
PROBING = GROUND | {"image", "container", "probe"}
MAY_IMPORT = {
    **{room: set() for room in WORDS},
    **dict.fromkeys(DOORS, WORDS | DOORS),
    "image": GROUND - {"verdict"},
    "container": GROUND - {"verdict"},
    "probe": PROBING,
    "capacity": GROUND,
    "prepare": GROUND - {"verdict"} | {"image", "container"},
    "transfer": GROUND - {"verdict"} | {"image", "container"},
    "warm": PROBING,
    "handover": set(),
    "matrix": PROBING | {"prepare", "capacity", "handover", "warm"},
    "selftest": PROBING | {"prepare", "matrix"},
    "doctor": GROUND | {"container"},
    "ci_matrix": WORDS,
    "project": PROBING,
    "report": WORDS,
    "cli": PROBING
    | {"prepare", "matrix", "selftest", "doctor", "ci_matrix", "project", "report"}
    | {"transfer"},
    "__main__": {"cli"},
}
"""Which rooms of the house a room may import, beside itself and the version in `postroj`."""

DOOR_OF = {
    "subprocess": {"process"},
    "requests": {"net", "http_errors"},
    "urllib3": {"net", "http_errors"},
    "tqdm": {"console"},
    "platformdirs": {"paths"},
    "click": {"cli"},
}
"""Which rooms may import what leads outside."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "postroj").rglob("*.py"))
}


def room(module: str) -> str:
    """Return the part of the layout in which a module lies; '' for the package itself."""
    return module.split(".")[1] if "." in module else ""


def names(node: ast.AST, module: str) -> list[str]:
    """Return what an import statement could mean, as dotted names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module} has a relative import"
        assert node.module
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports(module: str, *, for_types: bool = True) -> set[str]:
    """Return all that a module imports, anywhere in it; perhaps not what only types need."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while waiting:
        node = waiting.pop()
        found.update(names(node, module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return found


def ours(module: str) -> set[str]:
    """Return the modules of postroj that a module imports."""
    found = set()
    for name in imports(module):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", module}


def test_the_layout_is_known() -> None:
    assert {room(module) for module in MODULES} - {""} <= set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    allowed = MAY_IMPORT.get(room(module), set()) | {room(module), ""}
    upward = {name for name in ours(module) if room(name) not in allowed}
    assert not upward, f"{module} may import {sorted(allowed)} only"


def test_no_cycles() -> None:
    # A module and the package around it are one import; `postroj` itself holds the version only.
    graph = {module: ours(module) - {"postroj"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_one_door_to_the_outside(module: str) -> None:
    for name in imports(module, for_types=False):
        doors = DOOR_OF.get(name.partition(".")[0])
        assert doors is None or room(module) in doors, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= LONGEST


def test_command_line_starts_without_what_is_slow() -> None:
    script = "import sys, postroj.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "click" in loaded
    assert not loaded & {"requests", "urllib3", "tqdm", "platformdirs"}
