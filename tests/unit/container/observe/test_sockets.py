"""The kernel's tables of sockets, as text and as they are here; and whose control groups are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import Entry
from postroj.container.held import Held
from postroj.container.observe import processes, sockets
from tests.support import here as stand_in

if TYPE_CHECKING:
    from pathlib import Path

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on little-endian")

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4711 1 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
   2: 0100007F:18EB 0100007F:D431 01 00000000:00000000 00:00000000 00000000   101        0 4713 1 0
   3: 0200A8C0:D432 01020304:0050 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000
   1: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 00000000
   2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000
   3: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  401: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 4714 2
  402: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4715 2
  403: 0100007F:9000 0100007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 4716 2
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
00000000727392ef: 00000003 00000000 00000000 0001 03 505195 /run/systemd/journal/stdout
00000000f9ec50f7: 00000002 00000000 00000000 0002 03 504101
000000006c5d7413: 00000002 00000000 00010000 0001 01  5051 /run/with a blank.sock
000000002b89114c: 00000002 00000000 00010000 0005 01 503989 /run/udev/control
00000000d820d0c1: 00000002 00000000 00010000 0001 01 503476 @abstract
00000000d820d0c2: 00000002 00000000 00010000 0001 01 503477 @a@b@@@@@
00000000d820d0c2: 00000002 00000000 00010000 0001 01 503477
nonsense
"""


@little_endian
@pytest.mark.parametrize(
    ("text", "protocol", "found"),
    [
        (TCP, "tcp", {("127.0.0.1", 6379, 4711), ("0.0.0.0", 80, 4712)}),
        (
            TCP6,
            "tcp",
            {
                ("[::]", 8080, 0),
                ("[::1]", 6379, 0),
                ("[::ffff:127.0.0.1]", 8081, 0),
                ("[2001:db8::1]", 443, 0),
            },
        ),
        (UDP, "udp", {("127.0.0.53", 53, 4714), ("0.0.0.0", 68, 4715)}),
        ("", "tcp", set()),
        (TCP.splitlines()[0] + "\n", "tcp", set()),
    ],
)
def test_parse_inet(text: str, protocol: str, found: set[tuple[str, int, int]]) -> None:
    # how Python writes a mapped address is its own business
    shown = {
        (entry.address.replace("7f00:1]", "127.0.0.1]"), entry.port, entry.inode)
        for entry in sockets.parse_inet(text, protocol)
    }
    assert shown == found


def test_parse_unix() -> None:
    assert sockets.parse_unix(UNIX) == {
        Entry(protocol="stream", address="/run/with a blank.sock", inode=5051),
        Entry(protocol="seqpacket", address="/run/udev/control", inode=503989),
        Entry(protocol="stream", address="@abstract", inode=503476),
        Entry(protocol="stream", address="@a@b@@@@@", inode=503477),
    }


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("/system.slice/redis-server.service", "redis-server.service"),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "postgresql@15-main.service",
        ),
        ("/system.slice/containerd.service/kubepods/x", "containerd.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/mine.service", "user@0.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/machine.slice/m.scope", "m.scope"),
        ("/init.scope", ""),
        ("/system.slice", ""),
        ("", ""),
    ],
)
def test_unit_of(group: str, unit: str) -> None:
    assert processes.unit_of(group) == unit


def test_the_tables_of_this_process(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            expected = {("tcp", "127.0.0.1", tcp.getsockname()[1]), ("stream", path, 0)}
            expected.add(("udp", "127.0.0.1", udp.getsockname()[1]))
            assert expected <= here()
            udp.connect(("127.0.0.1", 9))  # it has a peer now, and waits for no other
            assert not {entry for entry in here() if entry[0] == "udp"} & expected
    assert not here() & expected


def here() -> set[tuple[str, str, int]]:
    entries = [socket.entry for socket in sockets.sockets(stand_in.of(), [])]
    assert all(entry.inode for entry in entries)
    return {(entry.protocol, entry.address, entry.port) for entry in entries}


def test_sockets_of_the_host_have_no_process_of_the_guest() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [one for one in sockets.sockets(stand_in.of(), []) if one.entry.port == port]
    assert (found.process, found.unit, found.opener, found.is_of_init) == ("", "", 0, False)


def test_a_guest_that_has_ended_has_no_sockets() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        leader = stand_in.of(child.pid)
        child.kill()
    assert sockets.sockets(leader, []) == []


def test_process_that_ends_while_its_sockets_are_read_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        held = Held(child.pid)
        opened = held.open("fd", os.O_RDONLY | os.O_DIRECTORY)
        child.kill()
    monkeypatch.setattr(held, "open", lambda name, flags: opened)
    assert list(sockets._open_sockets(held)) == []
