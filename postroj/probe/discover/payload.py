"""Classify the files of a package by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.probe.ask.unitstate import template_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# The package chooses these names, so only those that systemd allows are accepted: no blanks, no
# control characters, nothing that a command could take for an option. systemd.unit(5)
NAME = r"[\w:.\\@][\w:.\\@-]*\.(?:service|socket|timer|path|mount|automount|swap|target)"
FOLDER = r"(?:/usr|/usr/local)?/(?:lib|etc)/systemd"
UNIT = re.compile(rf"{FOLDER}/system/(?P<name>{NAME})", re.ASCII)
USER_UNIT = re.compile(rf"(?:{FOLDER}|/usr/share/systemd)/user/(?P<name>{NAME})", re.ASCII)
DROP_IN = re.compile(rf"{FOLDER}/(?P<of>system|user)/(?P<name>[^/]+)\.d/[^/]+\.conf")
GENERATOR = re.compile(rf"{FOLDER}/(?:system|user)-(?:environment-)?generators/[^/]+")
BUS_SERVICE = re.compile(r"/usr/share/dbus-1/(?:system-)?services/[^/]+\.service")
SCRIPT = re.compile(r"/etc/(?:rc\.d/)?init\.d/(?P<name>\w[\w.+-]*)", re.ASCII)
PROGRAM = re.compile(r"(?:/usr(?:/local)?)?/(?:s?bin|games|libexec)/.+", re.DOTALL)
SYSUSERS = re.compile(r"(?:/usr(?:/local)?)?/(?:lib|etc)/sysusers\.d/[^/\n]+\.conf")
TMPFILES = re.compile(r"(?:/usr(?:/local)?)?/(?:lib|etc)/tmpfiles\.d/[^/\n]+\.conf")
CRON = re.compile(r"/etc/cron\.(?:d|hourly|daily|weekly|monthly|yearly)/[^/.][^/]*")
LOGROTATE = re.compile(r"/etc/logrotate\.d/[^/]+")


@dataclass(frozen=True, kw_only=True)
class Payload:
    """The files of a package that concern a running system, by type: paths, except where said."""

    units: tuple[str, ...] = ()
    """Names of units, including templates and aliases."""
    unit_files: tuple[str, ...] = ()
    """The files of these units."""
    user_unit_files: tuple[str, ...] = ()
    """Units of the managers of users."""
    drop_ins: tuple[str, ...] = ()
    """Files that change units of other packages."""
    generators: tuple[str, ...] = ()
    bus_services: tuple[str, ...] = ()
    """Services that D-Bus starts on demand, of the system and of sessions."""
    scripts: tuple[str, ...] = ()
    """Names of SysV scripts."""
    superseded: frozenset[str] = frozenset()
    """Those in whose place systemd has a unit of somebody else."""
    configuration: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    sysusers: tuple[str, ...] = ()
    """Files that declare users and groups."""
    tmpfiles: tuple[str, ...] = ()
    cron: tuple[str, ...] = ()
    logrotate: tuple[str, ...] = ()

    @property
    def all_units(self) -> frozenset[str]:
        """The names of units, also of those that systemd makes of SysV scripts."""
        scripts = (name for name in self.scripts if name not in self.superseded)
        return frozenset([*self.units, *(f"{name}.service" for name in scripts)])

    @property
    def changed_units(self) -> tuple[str, ...]:
        """The names of the units of other packages that drop-ins change."""
        found = (match["name"] for path in self.drop_ins if (match := DROP_IN.fullmatch(path)))
        return tuple(dict.fromkeys(found))


def classify(files: Sequence[str], configuration: Collection[str] = ()) -> Payload:
    """Classify the paths of a package; folders are left out.

    `configuration` are the paths that the package manager calls configuration files.
    """
    folders = {path.rpartition("/")[0] for path in files}
    leaves = sorted(set(files) - folders)

    def paths(pattern: re.Pattern[str]) -> tuple[str, ...]:
        return tuple(path for path in leaves if pattern.fullmatch(path))

    def names(pattern: re.Pattern[str]) -> tuple[str, ...]:
        found = (match["name"] for path in leaves if (match := pattern.fullmatch(path)))
        return tuple(dict.fromkeys(found))

    own = {"system": names(UNIT), "user": names(USER_UNIT)}
    drop_ins = [match for path in leaves if (match := DROP_IN.fullmatch(path))]
    foreign = (m for m in drop_ins if not {m["name"], template_of(m["name"])} & {*own[m["of"]]})
    return Payload(
        units=own["system"],
        unit_files=paths(UNIT),
        user_unit_files=paths(USER_UNIT),
        drop_ins=tuple(match[0] for match in foreign),
        generators=paths(GENERATOR),
        bus_services=paths(BUS_SERVICE),
        scripts=names(SCRIPT),
        configuration=tuple(
            path for path in leaves if path.startswith("/etc/") or path in configuration
        ),
        programs=paths(PROGRAM),
        sysusers=paths(SYSUSERS),
        tmpfiles=paths(TMPFILES),
        cron=paths(CRON),
        logrotate=paths(LOGROTATE),
    )


def unit_names(paths: Iterable[str]) -> Iterator[str]:
    """Yield the names of the system's unit files among some paths."""
    return (match["name"] for path in paths if (match := UNIT.fullmatch(path)))
