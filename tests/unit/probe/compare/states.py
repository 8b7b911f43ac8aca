"""States of a guest for the tests of comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postroj.container.guest import FileKind, Written
from postroj.probe.ask.unitstate import UnitState
from postroj.probe.compare.gone import Belongings
from postroj.probe.compare.state import GuestState, Listed, by_name
from postroj.probe.discover import payload
from postroj.probe.discover.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postroj.container.guest import Socket

UP = UnitState(
    name="x.service",
    names=("x.service",),
    load="loaded",
    active="active",
    sub="running",
    main_pid=7,
    started=7.0,
    file_state="enabled",
    file="/usr/lib/systemd/system/x.service",
)


def state(
    *units: UnitState,
    own: Iterable[str] = (),
    owned: Iterable[str] = (),
    files: dict[str, str] | None = None,
    identities: dict[str, str] | None = None,
    sockets: tuple[Socket, ...] = (),
    written: Mapping[str, Written] | None = None,
    versions: dict[str, str] | None = None,
    **more: Any,
) -> GuestState:
    """Make a state: `own` and `owned` are paths of the packages under test, and of others."""

    paths = frozenset(own) | frozenset(owned)
    ours = Belongings(units=frozenset(payload.unit_names(own)), paths=frozenset(own))
    return GuestState(
        snapshot=Snapshot(
            unit_files={unit.name: unit.file_state for unit in units} if files is None else files,
            units=frozenset(more.get("active", ())),
            users=frozenset(),
            groups=frozenset(),
            sockets=sockets,
            identities=identities or {},
        ),
        units=by_name(units),
        written=written or {},
        folders=more.get("folders", frozenset()),
        settings=more.get("settings", frozenset()),
        has_shell=more.get("has_shell", True),
        rules=frozenset(more.get("rules", ())),
        listed=Listed(
            own=ours,
            names=frozenset(more.get("names", ())),
            paths=paths,
            units=frozenset(payload.unit_names(paths)),
            versions=versions or {},
        ),
        moment=more.get("moment", 0.0),
    )


def file(
    kind: FileKind = FileKind.FILE,
    *,
    changed: int = 1,
    size: int = 9,
    is_below: bool = False,
    hides_below: bool = False,
) -> Written:
    """Make what was written at a path."""
    return Written(
        path="",
        kind=kind,
        mode=0o644,
        uid=0,
        gid=0,
        size=size,
        changed=changed,
        is_below=is_below or kind is FileKind.GONE,
        hides_below=hides_below,
    )
