"""List the sockets of a guest that wait for peers, with their owners, from the host's `/proc`.

So a guest needs no ss and no netstat. The tables are those of the guest's network namespace. A
socket belongs to the processes of the guest that have it open, and a process belongs to a unit by
its control group. proc_pid_net(5), unix(7), cgroups(7)
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from postroj.container.guest import UNIX_KINDS, Entry, Socket
from postroj.container.observe import processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.container.held import Held

LISTEN = "0A"
"""State of a TCP socket that listens."""
BOUND = "07"
"""State of a UDP socket that is bound; a connected one has 01."""
ACCEPTS = 0x10000
"""Flag of a unix socket that listens, `__SO_ACCEPTCON`."""

UNIX_LINE = re.compile(
    r"[0-9a-fA-F]+: \w+ \w+ (?P<flags>\w+) (?P<kind>\w+) \w+ +(?P<inode>\d+) (?P<path>.+)"
)
INODE = re.compile(r"socket:\[(\d+)\]")


class Opener(NamedTuple):
    """A process of a guest that has a socket open."""

    pid: int
    """On the host."""
    name: str
    unit: str


NOBODY = Opener(0, "", "")


def sockets(leader: Held, members: Iterable[tuple[Held, str]]) -> list[Socket]:
    """Return the sockets of a guest's network that wait for peers, see `Guest.sockets`.

    `members` are the processes of the guest, each with its control group.
    """
    openers = _openers(members)
    interfaces = _interfaces(leader)
    found: dict[tuple[str, str, str, bool], Socket] = {}
    for entry in sorted(_tables(leader), key=lambda entry: (entry.is_unix, entry)):
        candidates = openers.get(entry.inode, [])
        # the manager also has each socket open that it has passed to a service
        services = [opener for opener in candidates if opener.pid != leader.pid]
        opener = next(iter(services or candidates), NOBODY)
        found.setdefault(
            (entry.protocol, entry.text, opener.unit, bool(opener.pid)),
            Socket(
                entry=entry,
                process=opener.name,
                unit=opener.unit,
                is_of_init=opener.pid == leader.pid,
                interface=interfaces.get(entry.address, ""),
                opener=opener.pid,
            ),
        )
    return list(found.values())


def _tables(leader: Held) -> set[Entry]:
    """Return all sockets that wait for peers in the guest's network namespace."""
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):  # the kernel has no IPv6, or the guest has ended
            found |= parse_inet(leader.read(f"net/{name}"), name.removesuffix("6"))
    with suppress(OSError):
        found |= parse_unix(leader.read_bytes("net/unix").decode(errors="surrogateescape"))
    return found


def parse_inet(text: str, protocol: str) -> set[Entry]:
    """Parse `/proc/PID/net/{tcp,udp}{,6}`."""
    state = LISTEN if protocol == "tcp" else BOUND
    found = set()
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3] == state:
            address, port = words[1].split(":")
            found.add(
                Entry(
                    protocol=protocol,
                    address=_address(address),
                    port=int(port, 16),
                    inode=int(words[9]) if len(words) > 9 else 0,
                )
            )
    return found


def parse_unix(text: str) -> set[Entry]:
    """Parse `/proc/PID/net/unix`; return sockets that accept connections and have a name."""
    found = set()
    for line in text.split("\n")[1:]:
        match = UNIX_LINE.fullmatch(line)
        if match and int(match["flags"], 16) & ACCEPTS and match["kind"] in UNIX_KINDS:
            kind = UNIX_KINDS[match["kind"]]
            found.add(Entry(protocol=kind, address=match["path"], inode=int(match["inode"])))
    return found


def _address(digits: str) -> str:
    """Parse an address: 32-bit words in the byte order of the host."""
    words = [bytes.fromhex(digits[i : i + 8]) for i in range(0, len(digits), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(raw)
    return f"[{address}]" if address.version == 6 else str(address)


def _interfaces(leader: Held) -> dict[str, str]:
    """Return the interface of each link-local IPv6 address; addresses have brackets."""
    with suppress(OSError):  # a kernel without IPv6
        rows = [line.split() for line in leader.read("net/if_inet6").splitlines()]
        local = ((ipaddress.ip_address(bytes.fromhex(row[0])), row[-1]) for row in rows)
        return {f"[{address}]": name for address, name in local if address.is_link_local}
    return {}


def _openers(members: Iterable[tuple[Held, str]]) -> dict[int, list[Opener]]:
    """Map the inode of each open socket to the processes that have it open, by ascending PID."""
    found: dict[int, list[Opener]] = {}
    for held, group in members:
        opener = Opener(held.pid, held.comm, processes.unit_of(group))
        for inode in _open_sockets(held):
            found.setdefault(inode, []).append(opener)
    return {inode: sorted(openers) for inode, openers in found.items()}


def _open_sockets(held: Held) -> Iterator[int]:
    """Yield the inodes of the sockets that a process has open."""
    try:
        folder = held.open("fd", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it has ended
        return
    try:
        with suppress(OSError), os.scandir(folder) as entries:  # it may end meanwhile
            for entry in entries:
                with suppress(OSError):
                    if match := INODE.fullmatch(os.readlink(entry.name, dir_fd=folder)):
                        yield int(match[1])
    finally:
        os.close(folder)
