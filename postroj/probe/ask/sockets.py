"""Which sockets of a guest listen, and whose they are: read from the host's `/proc` alone.

So a guest needs no ss and no netstat. The kernel's tables are those of the guest's network
namespace; a socket belongs to the processes of the guest that hold it, and these, by their control
group, to a unit. proc_pid_net(5), unix(7), cgroups(7)
"""

from __future__ import annotations

import ipaddress
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.cgroup import group as cgroup

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTEN = "0A"
"""State of a TCP socket that listens; a UDP socket that is bound has 07, a connected one 01."""
BOUND = "07"
ACCEPTS = 0x10000
"""Flag of a unix socket that listens, `__SO_ACCEPTCON`."""
UNIX_KINDS = {"0001": "stream", "0005": "seqpacket"}

UNIT = re.compile(r"_?(?P<name>[^/]+\.(?:service|socket|scope|mount|automount|swap))")
"""A control group that is a unit; one that could be taken for a controller begins with `_`."""
UNIX_LINE = re.compile(
    r"[0-9a-fA-F]+: \w+ \w+ (?P<flags>\w+) (?P<kind>\w+) \w+ +(?P<inode>\d+) (?P<path>.+)"
)
INODE = re.compile(r"socket:\[(\d+)\]")
SHOWN = 6
"""As many addresses of a unit are told."""


@dataclass(frozen=True, kw_only=True, order=True)
class Entry:
    """A line of one of the kernel's tables: a socket that waits for peers."""

    protocol: str
    """`tcp`, `udp`, `stream` and `seqpacket` (both unix)."""
    address: str
    """`127.0.0.1`, `[::1]`; or a path, or `@` and a name that is in no file system."""
    port: int = 0
    inode: int = 0

    @property
    def is_unix(self) -> bool:
        """Whether it is a unix socket."""
        return self.protocol in UNIX_KINDS.values()

    @property
    def text(self) -> str:
        """As people write it: `127.0.0.1:80`, `udp 0.0.0.0:53`, `/run/x.sock`."""
        if self.is_unix:
            return self.address
        where = f"{self.address}:{self.port}"
        return where if self.protocol == "tcp" else f"{self.protocol} {where}"


@dataclass(frozen=True, kw_only=True)
class Socket:
    """A socket that waits for peers, and who holds it."""

    entry: Entry
    pid: int
    """Of one that holds it, as the host numbers it; 0 if no process of the guest does."""
    process: str = ""
    """Its name, comm(5)."""
    unit: str = ""
    """The unit in whose control group it is; '' if it is in none, or is the guest's init."""


def listening(leader: int) -> list[Socket]:
    """Sockets of a guest that wait for peers, unix ones last; none of others on the host's network.

    Where several are bound to one address there is one of them for each unit.
    """
    groups = _groups(leader)
    holders = _holders(groups)
    found: dict[tuple[str, str, str], Socket] = {}
    for entry in sorted(tables(leader), key=lambda entry: (entry.is_unix, entry)):
        pids = holders.get(entry.inode, [])
        # the manager keeps a socket that it has given to a service
        pid = next((pid for pid in pids if pid != leader), pids[0] if pids else 0)
        if pid:
            unit = unit_of(groups[pid])
            found.setdefault(
                (entry.protocol, entry.text, unit),
                Socket(entry=entry, pid=pid, process=_name(pid), unit=unit),
            )
    return list(found.values())


def tables(leader: int) -> set[Entry]:
    """What the kernel lists in the guest's network namespace, whoever holds it."""
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):  # a kernel without IPv6 has no such file, a dead guest none
            text = Path(f"/proc/{leader}/net/{name}").read_text()
            found |= parse_inet(text, name.removesuffix("6"))
    with suppress(OSError):
        text = Path(f"/proc/{leader}/net/unix").read_bytes().decode(errors="surrogateescape")
        found |= parse_unix(text)
    return found


def parse_inet(text: str, protocol: str) -> set[Entry]:
    """Read `/proc/PID/net/{tcp,udp}{,6}`."""
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
    """Read `/proc/PID/net/unix`: what accepts connections and has a name."""
    found = set()
    for line in text.split("\n")[1:]:
        match = UNIX_LINE.fullmatch(line)
        if match and int(match["flags"], 16) & ACCEPTS and match["kind"] in UNIX_KINDS:
            kind = UNIX_KINDS[match["kind"]]
            found.add(Entry(protocol=kind, address=match["path"], inode=int(match["inode"])))
    return found


def _address(digits: str) -> str:
    """Read an address: 32-bit words in the byte order of the host."""
    words = [bytes.fromhex(digits[i : i + 8]) for i in range(0, len(digits), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(raw)
    return f"[{address}]" if address.version == 6 else str(address)


def scoped(leader: int, host: str) -> str:
    """Add to a link-local IPv6 address which interface it is of, without which it is none."""
    if host.lower().startswith("fe80:"):
        with suppress(OSError):
            digits = ipaddress.IPv6Address(host).packed.hex()
            for line in Path(f"/proc/{leader}/net/if_inet6").read_text().splitlines():
                if line.startswith(digits):
                    return f"{host}%{line.split()[-1]}"
    return host


def unit_of(group: str) -> str:
    """Return the unit of a control group: `redis.service` of `/system.slice/redis.service`.

    The outermost one: what runs below a user's manager belongs to `user@UID.service`. The guest's
    init, and what entered the guest beside it, is in no unit.
    """
    for part in group.split("/"):
        match = UNIT.fullmatch(part)
        if match and match["name"] != "init.scope":
            return match["name"]
    return ""


def of_units(sockets: Iterable[Socket], names: Iterable[str]) -> list[Socket]:
    """Return the sockets that are held by processes of these units."""
    wanted = set(names)
    return [socket for socket in sockets if socket.unit in wanted]


def told(sockets: Iterable[Socket]) -> str:
    """Say where something listens: `127.0.0.1:80, /run/x.sock`; '' if nowhere."""
    texts = list(dict.fromkeys(socket.entry.text for socket in sockets))
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _groups(leader: int) -> dict[int, str]:
    try:
        return cgroup.processes(Path(f"/proc/{leader}/cgroup").read_text())
    except OSError:  # it has ended
        return {}


def _holders(pids: Iterable[int]) -> dict[int, list[int]]:
    """Which processes hold a socket: inode to process numbers, the lowest first."""
    found: dict[int, list[int]] = {}
    for pid in sorted(pids):
        with suppress(OSError):  # it has ended
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    match = INODE.fullmatch(str(descriptor.readlink()))
                    if match:
                        found.setdefault(int(match[1]), []).append(pid)
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    return ""
