"""Imports point down, doors stay doors, modules stay short."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 350

WORDS = {"causes", "errors", "model", "urls", "verdict"}
DOORS = {
    "away",
    "user",
    "process",
    "streams",
    "net",
    "http_errors",
    "http_get",
    "paths",
    "locking",
    "console",
}
GROUND = WORDS | DOORS
PROBING = GROUND | {"image", "container", "probe", "guests"}
MAY_IMPORT = {
    **{room: set() for room in WORDS},
    **dict.fromkeys(DOORS, WORDS | DOORS),
    "image": GROUND - {"verdict"},
    "container": GROUND - {"verdict"},
    "probe": PROBING,
    "machine": GROUND - {"verdict"} | {"image", "container"},
    "guests": GROUND - {"verdict"} | {"image", "container", "machine", "kernels"},
    "kernels": GROUND - {"verdict"} | {"image", "container", "machine", "prepare"},
    "capacity": GROUND | {"container"},
    "prepare": GROUND - {"verdict"} | {"image", "container"},
    "transfer": GROUND - {"verdict"} | {"image", "container"},
    "warm": PROBING,
    "attempts": PROBING | {"warm"},
    "handover": set(),
    "tasks": PROBING | {"prepare", "capacity", "handover", "attempts"},
    "matrix": PROBING | {"tasks"},
    "selftest": PROBING | {"prepare"},
    "autopkgtest": PROBING | {"prepare", "warm", "transfer"},
    "remote": GROUND - {"verdict"} | {"transfer"},
    "doctor": GROUND | {"container", "image", "machine"},
    "ci_matrix": WORDS,
    "project": PROBING,
    "report": WORDS,
    "cli": PROBING
    | {"prepare", "matrix", "selftest", "doctor", "ci_matrix", "project", "report"}
    | {"transfer", "tasks", "autopkgtest", "remote"},
    "windows": set(),
    "__main__": {"cli", "windows", "remote"},
    "api": {"locking", "image", "probe"},
    "testing": {"api", "errors", "verdict", "project"},
}
"""Which rooms of the house a room may import, beside itself and the version in `postroj`."""

FLOORS = {
    "image": (
        "architectures outfile emulation",
        "store",
        "unpack",
        "trust",
        "catalog",
        "sources",
        "pull importer export inspect obtain selection upkeep catalog_check",
    ),
    "container": (
        "apart capabilities disk kernel naming lifeline layer held manager",
        "guest cgroup.hierarchies cgroup.memory",
        "host limits",
        "cgroup network",
        "spec user_namespace",
        "boot",
        "failure leader",
        "enter observe",
        "entered leftovers rundir roster launched started start reboot frozen",
    ),
    "probe": (
        "ask.question ask.goss ask.deadline managers operations package audience course",
        "ask",
        "discover",
        "compare",
        "evidence excuse reproduce circumstances",
        "configuration giving_up versions dependencies bench steps survey plan",
        "announce recourse startable judging starting walk probe",
    ),
}
"""Inside a room, from the ground up: a part imports from its own floor and from those below it."""

CLOSED = {
    "container.cgroup": ("container.guest",),
    "container.network": ("container.guest",),
    "container.kernel": tuple(GROUND),
    "probe": ("container.enter", "container.cgroup", "container.network"),
}
"""What a part never imports, wherever both of them lie."""

EXCEPTIONS = {
    "postroj.probe.compare.administrator imports postroj.probe.steps": "the type of a journey",
}
"""Imports that these tables forbid, and why they are there."""

DOOR_OF = {
    "subprocess": {"process", "api", "testing", "machine"},
    "requests": {"net", "http_errors", "http_get"},
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


@cache
def imports(module: str, *, for_types: bool = True) -> frozenset[str]:
    """Return all that a module imports, anywhere in it; perhaps not what only types need."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while waiting:
        node = waiting.pop()
        found.update(names(node, module))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return frozenset(found)


@cache
def ours(module: str) -> frozenset[str]:
    """Return the modules of postroj that a module imports."""
    found: set[str] = set()
    for name in imports(module):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return frozenset(found - {"", module})


def within(module: str, part: str) -> bool:
    """Return whether a module is a part of the house, or lies in it."""
    return f"{module}.".startswith(f"postroj.{part}.")


def floor(module: str) -> int | None:
    """Return the floor of its room on which a module lies; None for what the table lacks."""
    parts = [
        (len(part), height)
        for height, names_of_parts in enumerate(FLOORS[room(module)])
        for part in names_of_parts.split()
        if within(module, f"{room(module)}.{part}")
    ]
    return max(parts)[1] if parts else None


def test_the_layout_is_known() -> None:
    assert {room(module) for module in MODULES} - {""} <= set(MAY_IMPORT)
    inside = [module for module in MODULES if room(module) in FLOORS and module.count(".") > 1]
    assert [module for module in inside if floor(module) is None] == []
    parts = {f"{name}.{part}" for name in FLOORS for part in " ".join(FLOORS[name]).split()}
    parts |= {part for one, others in CLOSED.items() for part in (one, *others)}
    assert {part for part in parts if not any(within(one, part) for one in MODULES)} == set()


def test_imports_point_down_from_room_to_room() -> None:
    upward = {
        f"{module} imports {name}"
        for module in MODULES
        for name in ours(module)
        if room(name) not in MAY_IMPORT.get(room(module), set()) | {room(module), ""}
    }
    assert upward == set()


def test_imports_point_down_inside_of_a_room() -> None:
    upward = {
        f"{module} imports {name}"
        for module in MODULES
        if room(module) in FLOORS and (own := floor(module)) is not None
        for name in ours(module)
        if room(name) == room(module) and (other := floor(name)) is not None and other > own
    }
    assert upward - set(EXCEPTIONS) == set()


def test_closed_parts_are_not_imported() -> None:
    imported = {
        f"{module} imports {name}"
        for part, closed in CLOSED.items()
        for module in MODULES
        if within(module, part)
        for name in ours(module)
        if any(within(name, other) for other in closed)
    }
    assert imported - set(EXCEPTIONS) == set()


def test_exceptions_are_needed() -> None:
    imported = {f"{module} imports {name}" for module in MODULES for name in ours(module)}
    assert set(EXCEPTIONS) - imported == set()


def test_no_cycles() -> None:
    # A module and the package around it are one import; `postroj` itself holds the version only.
    graph = {module: ours(module) - {"postroj"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_one_door_to_the_outside() -> None:
    around = {
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module, for_types=False)
        if room(module) not in DOOR_OF.get(name.partition(".")[0], {room(module)})
    }
    assert around == set()


def test_modules_are_short() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


def test_unit_tests_mirror_the_house() -> None:
    tests = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    house = {path.parent.relative_to(ROOT / "postroj") for path in MODULES.values()}
    assert folders - house == set()


def test_command_line_starts_without_what_is_slow() -> None:
    script = "import sys, postroj.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "click" in loaded
    assert not loaded & {"requests", "urllib3", "tqdm", "platformdirs"}


def test_the_architecture_page_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.rst").read_text()
    named = re.findall(r"``((?:tests/)?[a-z_/]+\.(?:py|sh))``", page)
    assert len(named) > 20
    missing = {
        name for name in named if not any((ROOT / top / name).exists() for top in ("", "postroj"))
    }
    assert missing == set()
