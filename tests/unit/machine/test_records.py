"""Records of what a machine has answered, which need not be the truth."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.guest import Entry, File, FileKind, Process, Socket, Written
from postroj.errors import GuestError
from postroj.machine import records

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = File(path="/etc/x", kind=FileKind.FILE, mode=0o644, uid=0, gid=0, size=3, digest="ab")
WRITTEN = Written(**asdict(FILE), is_below=True)
PROCESS = Process(
    pid=7,
    name="x",
    group="/system.slice/x.service",
    unit="x.service",
    arguments=("x", "-f"),
    started=5.0,
)
SOCKET = Socket(entry=Entry(protocol="tcp", address="127.0.0.1", port=80, inode=9), process="x")
NONSENSE = "the guest gave an answer that makes no sense"


def sent(record: Any) -> Any:
    """Return a record as it comes through the line."""
    return json.loads(json.dumps(asdict(record)))


def test_records_come_through_the_line_unchanged() -> None:
    assert records.files([sent(FILE)]) == [FILE]
    assert records.written([sent(WRITTEN)]) == {"/etc/x": WRITTEN}
    assert records.sockets([sent(SOCKET)]) == [SOCKET]
    assert records.processes([sent(PROCESS)], 0) == [PROCESS]
    assert isinstance(records.files([sent(FILE)])[0].kind, FileKind)


def test_processes_have_times_of_this_host() -> None:
    (found,) = records.processes([sent(PROCESS)], 100.5)
    assert found.started == 105.5


def of_processes(found: list[Any]) -> object:
    return records.processes(found, 0)


@pytest.mark.parametrize(
    ("make", "record", "change"),
    [
        (records.files, FILE, {"kind": "door"}),
        (records.files, FILE, {"path": 5}),
        (records.files, FILE, {"mode": "0644"}),
        (records.files, FILE, {"mode": None}),
        (records.files, FILE, {"size": 1.5}),
        (records.files, FILE, {"unknown": 1}),
        (records.written, WRITTEN, {"is_below": "yes"}),
        (records.written, WRITTEN, {"path": []}),
        (of_processes, PROCESS, {"started": "now"}),
        (of_processes, PROCESS, {"arguments": 7}),
        (of_processes, PROCESS, {"arguments": [7]}),
        (of_processes, PROCESS, {"pid": "7"}),
        (of_processes, PROCESS, {"pid": True}),
        (records.sockets, SOCKET, {"entry": None}),
        (records.sockets, SOCKET, {"entry": {"protocol": "tcp", "address": "x", "port": "80"}}),
        (records.sockets, SOCKET, {"process": {}}),
    ],
)
def test_a_record_with_a_value_of_another_type(
    make: Callable[[list[Any]], object], record: Any, change: dict[str, Any]
) -> None:
    make([sent(record)])
    with pytest.raises(GuestError) as caught:
        make([{**sent(record), **change}])
    assert caught.value.message == NONSENSE


@pytest.mark.parametrize("garbage", [None, 3, "x", [], ["x"], {}, {"path": "/"}])
@pytest.mark.parametrize("make", [records.files, records.written, of_processes, records.sockets])
def test_what_is_no_record(make: Callable[[list[Any]], object], garbage: Any) -> None:
    with pytest.raises(GuestError) as caught:
        make([garbage])
    assert caught.value.message == NONSENSE


def test_content() -> None:
    assert records.content(base64.b64encode(b"\0x").decode(), 9) == b"\0x"
    assert records.content(base64.b64encode(b"more than asked").decode(), 4) == b"more"
    for garbage in ("%", "abc", "é"):
        with pytest.raises(GuestError) as caught:
            records.content(garbage, 9)
        assert caught.value.message == NONSENSE
