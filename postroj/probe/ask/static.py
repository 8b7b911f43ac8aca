"""Judge what an idle unit needs, by its properties and without starting it.

The properties of org.freedesktop.systemd1(5) have specifiers, drop-ins and resets already resolved.
Everything here is a pure function; `postroj.probe.discover.idle` asks the guest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

EXECUTED = ("ExecStartPre", "ExecStart", "ExecStartPost")
"""Commands without which a unit fails; without that of ExecCondition= it is skipped."""
REQUIRED = ("Requires", "Requisite", "BindsTo")
PROPERTIES = (
    *EXECUTED,
    *REQUIRED,
    "BindPaths",
    "BindReadOnlyPaths",
    "CacheDirectory",
    "ConfigurationDirectory",
    "DropInPaths",
    "DynamicUser",
    "Environment",
    "EnvironmentFiles",
    "ExecSearchPath",
    "ExtensionDirectories",
    "ExtensionImages",
    "FragmentPath",
    "Group",
    "Id",
    "LoadState",
    "LogsDirectory",
    "MountImages",
    "RootDirectory",
    "RootImage",
    "RuntimeDirectory",
    "SocketGroup",
    "SocketUser",
    "StateDirectory",
    "SupplementaryGroups",
    "TemporaryFileSystem",
    "Triggers",
    "User",
    "WorkingDirectory",
)
NEEDS_NO_FILE = (".slice", ".scope", ".device")
"""Types of units that exist without a file."""
OTHER_ROOT = (
    *("RootDirectory", "RootImage", "MountImages", "ExtensionImages", "ExtensionDirectories"),
    "TemporaryFileSystem",
)
"""Settings by which a unit sees other files than the guest."""
FOLDERS = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "ConfigurationDirectory": "/etc",
}
"""Folders that systemd makes before it starts a program, systemd.exec(5)."""
SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
INSTANCE = "postroj"
"""Instance of templates whose properties are read; what contains it depends on the instance."""

SHIPPED = re.compile(r"/(?:usr|s?bin|lib\w*|opt)/.+", re.DOTALL)
"""Where programs come from packages, not from the administrator or at run time."""
LASTING = re.compile(r"/(?:usr|etc|opt|s?bin|lib\w*)/.+", re.DOTALL)
"""Where nothing is made at run time."""
COMMAND = re.compile(
    r"^(?P<by>Exec\w+)=\{ path=(?P<path>.*?) ; argv\[\]=.*? ; ignore_errors=(?P<ignored>yes|no) ;",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"(?P<path>/.*) \(ignore_errors=(?P<ignored>yes|no)\)")
CONDITION = re.compile(
    r"(?:Condition|Assert)(?:Path|File|Directory)\w+\s*=\s*(?P<how>[|!]*)\s*(?P<path>/.*)"
)
KERNELS = re.compile(r"/(?:sys|proc|dev|run)(?:/|$)")
"""Conditions on these are about a machine, not about what is installed."""
OWN_PATH = re.compile(r"(?:^|[ \"'])PATH=")
OF_A_KERNEL = ("modprobe", "insmod", "rmmod", "depmod", "kmod", "udevadm")
"""Programs that every machine has and a container need not have."""
GLOB = re.compile(r"[*?\[]")


class Kind(StrEnum):
    """What a unit may need."""

    PROGRAM = "program"
    USER = "user"
    GROUP = "group"
    FILE = "file"
    FOLDER = "folder"
    UNIT = "unit"


class Supplier(StrEnum):
    """Who has to supply what a unit needs."""

    PACKAGE = "package"
    """The package, or one that it depends on: no configuration can supply it."""
    ADMINISTRATOR = "administrator"
    """An administrator may, but only before a unit that does not start by itself."""
    ANYBODY = "anybody"
    """Other programs may, at run time."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing that a unit needs."""

    kind: Kind
    name: str
    """A path, an account, a unit, or the name of a program to search for."""
    by: str
    """The setting that names it."""
    supplier: Supplier = Supplier.PACKAGE


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one unit needs in order to start."""

    unit: str
    files: tuple[str, ...] = ()
    """The files of the unit, its drop-ins last."""
    needs: tuple[Need, ...] = ()
    search: tuple[str, ...] = SEARCH
    """Folders in which its programs are searched; () if that is not known."""
    loads_elsewhere: bool = False
    """Whether it names folders for libraries."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a guest has of all that was asked for."""

    modes: Mapping[str, int] = field(default_factory=dict)
    """The `st_mode` of the files that exist."""
    users: Collection[str] = ()
    groups: Collection[str] = ()
    missing_units: Collection[str] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    """Programs that exist and cannot be executed, with a sentence that says why."""


def parse(block: str) -> Needs:
    """Parse what `systemctl show` prints about one unit."""
    block = block.replace("\0", "")
    rows = [line.partition("=")[::2] for line in block.splitlines()]
    values: dict[str, str] = {}
    for key, value in rows:
        values.setdefault(key, value)
    name = values.get("Id", "")
    if values.get("LoadState") != "loaded":
        return Needs(unit=name)
    environment = values.get("Environment", "")
    is_path_known = not OWN_PATH.search(environment) and not values.get("ExecSearchPath")
    found = [*_accounts(values), *_units(values)]
    if not any(values.get(key) for key in OTHER_ROOT):
        bound = _bound(values)
        paths = [*_programs(block), *_files(rows), *_folder(values)]
        found += [need for need in paths if not _is_below(need.name, bound)]
    once: dict[tuple[Kind, str], Need] = {}
    for need in found:
        once.setdefault((need.kind, need.name), need)
    is_template = f"@{INSTANCE}." in name
    return Needs(
        unit=name,
        files=tuple(f"{values.get('FragmentPath', '')} {values.get('DropInPaths', '')}".split()),
        needs=tuple(need for need in once.values() if not is_template or INSTANCE not in need.name),
        search=SEARCH if is_path_known else (),
        loads_elsewhere="LD_" in environment,
    )


def _programs(block: str) -> Iterator[Need]:
    for match in COMMAND.finditer(block):
        path = match["path"]
        if match["by"] in EXECUTED and match["ignored"] == "no" and path:
            yield Need(
                kind=Kind.PROGRAM, name=path, by=match["by"], supplier=supplier_of_program(path)
            )


def supplier_of_program(path: str) -> Supplier:
    """Return who has to supply a program, by its path or name."""
    if path.rpartition("/")[2] in OF_A_KERNEL:
        return Supplier.ANYBODY
    is_shipped = "/" not in path or bool(SHIPPED.fullmatch(path))
    return Supplier.PACKAGE if is_shipped else _supplier(path)


def _files(rows: Collection[tuple[str, str]]) -> Iterator[Need]:
    for key, value in rows:
        match = FILE.fullmatch(value) if key == "EnvironmentFiles" else None
        if match and match["ignored"] == "no" and not GLOB.search(path := match["path"]):
            by = "EnvironmentFile"
            yield Need(kind=Kind.FILE, name=path, by=by, supplier=_supplier(path))


def _folder(values: Mapping[str, str]) -> Iterator[Need]:
    path = values.get("WorkingDirectory", "")  # "!" stands for a "-" before it, "~" for a home
    made = {
        f"{root}/{name.partition(':')[0]}"
        for key, root in FOLDERS.items()
        for name in values.get(key, "").split()
    }
    if path.startswith("/") and not _is_below(path, made):
        by = "WorkingDirectory"
        yield Need(kind=Kind.FOLDER, name=path, by=by, supplier=_supplier(path))


def _supplier(path: str) -> Supplier:
    return Supplier.ADMINISTRATOR if LASTING.fullmatch(path) else Supplier.ANYBODY


def _accounts(values: Mapping[str, str]) -> Iterator[Need]:
    users = {"User": values.get("User", ""), "SocketUser": values.get("SocketUser", "")}
    groups = {key: values.get(key, "") for key in ("Group", "SocketGroup", "SupplementaryGroups")}
    if values.get("DynamicUser") == "yes":
        users["User"] = groups["Group"] = ""
    for kind, settings in ((Kind.USER, users), (Kind.GROUP, groups)):
        for by, names in settings.items():
            for name in names.split():
                if not name.isdigit():
                    yield Need(kind=kind, name=name, by=by)


def _units(values: Mapping[str, str]) -> Iterator[Need]:
    for by in (*REQUIRED, "Triggers"):
        # a socket may wait for a service of another package, as systemd's syslog.socket does
        is_own = by == "Triggers" and values.get("Id", "").endswith((".timer", ".path"))
        supplier = Supplier.PACKAGE if is_own else Supplier.ADMINISTRATOR
        for name in values.get(by, "").split():
            if name.endswith(NEEDS_NO_FILE):
                continue
            yield Need(kind=Kind.UNIT, name=name, by=by, supplier=supplier)


def _bound(values: Mapping[str, str]) -> set[str]:
    """Return the places at which a unit sees something else than the guest."""
    words = " ".join(values.get(key, "") for key in ("BindPaths", "BindReadOnlyPaths")).split()
    return {word.split(":")[1] if ":" in word else word for word in words}


def _is_below(path: str, folders: Collection[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def may_be_elsewhere(need: Need, search: Collection[str], facts: Facts) -> bool:
    """Whether another package may have what is missing."""
    return need.kind is not Kind.PROGRAM or not any(
        path in facts.modes for path in places(need, search)
    )


def places(need: Need, search: Collection[str]) -> list[str]:
    """Return the paths at which a file, folder or program may be."""
    if need.kind not in (Kind.PROGRAM, Kind.FILE, Kind.FOLDER):
        return []
    return [need.name] if "/" in need.name else [f"{folder}/{need.name}" for folder in search]


def fault(need: Need, search: Collection[str], facts: Facts) -> str:
    """Describe what is wrong with a thing that a unit needs; '' if nothing is."""
    name, by = need.name, need.by
    match need.kind:
        case Kind.PROGRAM:
            return _program_fault(need, search, facts)
        case Kind.USER | Kind.GROUP:
            known = facts.users if need.kind is Kind.USER else facts.groups
            return "" if name in known else f"its {need.kind} '{name}' does not exist ({by}=)"
        case Kind.UNIT if name in facts.missing_units:
            verb = "triggers" if by == "Triggers" else "requires"
            setting = "" if by == "Triggers" else f" ({by}=)"
            return f"it {verb} '{name}', which does not exist{setting}"
        case Kind.FILE | Kind.FOLDER if name not in facts.modes:
            return f"its {by} '{name}' does not exist"
        case _:
            return ""


def _program_fault(need: Need, search: Collection[str], facts: Facts) -> str:
    possible = places(need, search)
    there = [path for path in possible if path in facts.modes]
    if not possible:
        return ""
    if not there:
        where = "" if "/" in need.name else f" in {', '.join(search)}"
        return f"its program '{need.name}' does not exist{where} ({need.by}=)"
    if any(is_executable(facts.modes[path]) for path in there):
        path = next(path for path in there if is_executable(facts.modes[path]))
        return facts.broken.get(path, "")
    return f"its program '{there[0]}' is not an executable file ({need.by}=)"


def is_executable(mode: int) -> bool:
    """Whether an `st_mode` is that of a file that somebody may execute."""
    return mode & 0o170000 == 0o100000 and bool(mode & 0o111)


def conditions(text: str) -> list[tuple[str, bool]]:
    """Return paths that must exist, or must not (False), for a unit to start.

    `text` is that of all files of the unit. Conditions about the machine are left out.
    """
    found: list[tuple[str, bool]] = []
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if re.fullmatch(r"(?:Condition|Assert)\w+\s*=", stripped):
            found.clear()
        elif (match := CONDITION.fullmatch(stripped)) and not KERNELS.match(match["path"]):
            found.append((match["path"].strip(), "!" not in match["how"]))
    return found
