"""Guest ports that are published on the host: read them, and check that they are free."""

from __future__ import annotations

import errno
import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.errors import HostError, UsageError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
PORTS = r"([0-9]{1,5})(?:-([0-9]{1,5}))?"
FORM = re.compile(rf"(?:(\[[^]]*\]|[^][:]*):)?{PORTS}:{PORTS}(?:/(tcp|udp))?")
EXAMPLE = "`--publish 8080:80` publishes port 80 of the guest as port 8080 of 127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A range of guest ports, and the range of the same length on the host."""

    address: str
    """Of the host."""
    host: range
    guest: range
    protocol: str
    """`tcp` or `udp`."""

    @property
    def options(self) -> tuple[str, str]:
        """Return pasta's option and its value, pasta(1)."""
        ports = ":".join(f"{ports[0]}-{ports[-1]}" for ports in (self.host, self.guest))
        return f"--{self.protocol}-ports", f"{self.address}/{ports}"


def read(texts: Sequence[str], mode: NetworkMode) -> tuple[Published, ...]:
    """Read values of the form `[ADDRESS:]HOST:GUEST[/PROTOCOL]`, as docker's, but on loopback.

    :raises UsageError: if one has another form, or the guest has no network of its own.
    """
    if texts and mode is not NetworkMode.PRIVATE:
        message = f"`--publish` needs a private network, not `--network={mode}`"
        lacks = {
            NetworkMode.HOST: "its ports are ports of the host",
            NetworkMode.NONE: "it cannot be reached at all",
        }
        raise UsageError(message, hint=f"{lacks[mode]}; leave `--network` or `--publish` out")
    published = tuple(_read(text) for text in texts)
    taken: set[tuple[str, int]] = set()
    for one in published:
        for port in one.host:
            if (one.protocol, port) in taken:
                message = f"`--publish` names port {port}/{one.protocol} of the host twice"
                raise UsageError(message, hint="pasta publishes a port only once, on any address")
            taken.add((one.protocol, port))
    return published


def _read(text: str) -> Published:
    found = FORM.fullmatch(text)
    if found is None:
        raise _refused(text, "is not of the form [ADDRESS:]HOST:GUEST[/tcp|/udp]")
    address, *numbers, protocol = found.groups()
    first, last, guest_first, guest_last = (int(number or 0) for number in numbers)
    host = range(first, (last or first) + 1)
    guest = range(guest_first, (guest_last or guest_first) + 1)
    if not all(ports and ports[0] > 0 and ports[-1] < 1 << 16 for ports in (host, guest)):
        raise _refused(text, "names a port that is not between 1 and 65535")
    if len(host) != len(guest):
        raise _refused(text, f"has {len(host)} ports of the host and {len(guest)} of the guest")
    if protocol == "udp" and host != guest:
        # pasta of Debian 12 loses datagrams that are sent to another number
        hint = f"`--publish 127.0.0.2:{numbers[2]}:{numbers[2]}/udp` takes another address"
        raise _refused(text, "has another number on the host, which works for tcp only", hint)
    return Published(
        address=_address(text, address), host=host, guest=guest, protocol=protocol or "tcp"
    )


def _address(text: str, address: str | None) -> str:
    if address is None:
        return LOOPBACK
    import ipaddress

    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        raise _refused(text, f"names '{address}', which is not an address") from None


def _refused(text: str, why: str, hint: str = EXAMPLE) -> UsageError:
    return UsageError(f"`--publish {text}` {why}", hint=hint)


def require_free(published: Sequence[Published]) -> None:
    """Refuse ports that are in use; if one is taken after this check, pasta fails.

    :raises HostError: if a port is in use; the message has the first.
    """
    with ExitStack() as stack:
        for one in published:
            for port in one.host:
                try:
                    stack.enter_context(_bound(one, port))
                except OSError as error:
                    raise _taken(one, port, error) from None


def _bound(one: Published, port: int) -> socket.socket:
    """Bind a port as pasta will."""
    family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
    if one.protocol == "tcp":
        return socket.create_server((one.address, port), family=family)
    taken = socket.socket(family, socket.SOCK_DGRAM)
    try:
        taken.bind((one.address, port))
    except OSError:
        taken.close()
        raise
    return taken


def _taken(one: Published, port: int, error: OSError) -> HostError:
    what = f"port {port}/{one.protocol} of {one.address} cannot be published"
    match error.errno:
        case errno.EADDRINUSE:
            hint = f"`ss -lnp 'sport = :{port}'` shows its process; or choose another port"
            return HostError(f"{what}: it is in use on this host", hint=hint)
        case errno.EACCES:
            hint = (
                f"`sudo sysctl net.ipv4.ip_unprivileged_port_start={port}` lets users without root"
            )
            return HostError(what, evidence=str(error.strerror), hint=hint)
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            hint = "`ip address` shows the addresses of this host"
            return HostError(f"{what}: this host has no such address", hint=hint)
        case _:
            return HostError(what, evidence=str(error))
